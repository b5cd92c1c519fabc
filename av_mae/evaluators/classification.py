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
        self._task: Any = plan.task  # a classify task, as `tasks` above makes sure
        self._clips = batches.Split(name, evaluator, plan, evaluator.split)
        merge = functools.partial(merge_views, merge=evaluator.merge)
        self._step = jax.jit(
            functools.partial(scores, plan.task, plan.graphdef, merge),
            out_shardings=sharding.replicated(plan.mesh),
        )

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        del step
        total = None
        for batch in self._clips:
            scores, labels, counted = jax.device_get(self._step(params, rest, batch))
            part = self._task.measure(scores, labels, counted)
            total = part if total is None else {k: m.merge(part[k]) for k, m in total.items()}
        assert total is not None  # an empty split is refused
        for metric in total.values():
            yield from metric.compute().items()


def scores(
    task: Any, graphdef: Any, merge: Any, params: Any, rest: Any, batch: state.Batch
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(scores `[b k]`, labels `[b k]`, counted `[b]`) of a batch of clips with views.

    Padding does not count, nor does a clip without any of the batch's modalities: its logits say
    nothing. `merge` takes logits `[b v k]` to scores.
    """
    model = nnx.merge(graphdef, params, rest)
    logits = task.predict(model, batches.fold_views(batch))
    views_bvk = logits.reshape(batch["valid"].shape[0], -1, logits.shape[-1])
    counted_b = jnp.stack(list(batches.present(batch).values())).any(0)
    return merge(views_bvk), batch["label"], counted_b


def merge_views(logits_bvk: jax.Array, *, merge: str) -> jax.Array:
    """Scores `[b k]` of clips: the mean logit, or (`softmax`) log of the mean probability."""
    if merge == "softmax":
        return jnp.log(jax.nn.softmax(logits_bvk).mean(1))
    return logits_bvk.mean(1)
