"""Scores of a classifier on a split: top-k accuracy, or mAP and d' where clips have many labels."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from av_mae import config, sharding, state
from av_mae.evaluators import batches
from av_mae.report import writer
from av_mae.run import Run


class Classification:
    """Merges the views of each clip, by mean logit or mean probability, and scores the result."""

    tasks = ("classify",)

    def __init__(self, name: str, evaluator: config.Evaluator, plan: Run, _: writer.Reporter):
        self._name, self._evaluator, self._plan = name, evaluator, plan
        self._task: Any = plan.task  # a classify task, as `tasks` above makes sure
        batches.modalities(name, evaluator, plan)
        self._step = jax.jit(
            functools.partial(scores, plan.task, plan.graphdef, evaluator.merge),
            out_shardings=sharding.replicated(plan.mesh),
        )

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        del step
        total = None
        every = batches.of_split(self._name, self._evaluator, self._plan, self._evaluator.split)
        for batch in every:
            scores, labels, valid = jax.device_get(self._step(params, rest, batch))
            part = self._task.measure(scores, labels, valid)
            total = part if total is None else {k: m.merge(part[k]) for k, m in total.items()}
        assert total is not None  # eval_batches refuses an empty split
        for metric in total.values():
            yield from metric.compute().items()


def scores(
    task: Any, graphdef: Any, merge: str, params: Any, rest: Any, batch: state.Batch
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(scores `[b k]`, labels `[b k]`, valid `[b]`) of a batch of clips with views."""
    model = nnx.merge(graphdef, params, rest)
    rows = batch["valid"].shape[0]
    logits = task.predict(model, batches.fold_views(batch))
    views = logits.reshape(rows, -1, logits.shape[-1])
    if merge == "softmax":
        scores = jnp.log(jax.nn.softmax(views).mean(1))
    else:
        scores = views.mean(1)
    return scores, batch["label"], batch["valid"]
