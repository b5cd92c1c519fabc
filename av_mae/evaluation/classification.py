"""Scores of a classifier on a split: top-k accuracy, or mAP and d' where clips have many labels."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from av_mae.config import schema
from av_mae.evaluation import batches
from av_mae.experiment.run import Run
from av_mae.report import writer
from av_mae.tasks import Batch, metrics


class Evaluator:
    """Merges the views of each clip, by mean logit or mean probability, and scores the result."""

    tasks = ("classify",)

    def __init__(self, name: str, config: schema.Evaluator, run: Run, _: writer.Reporter):
        self._task: Any = run.task  # a classify task, as `tasks` above makes sure
        self._clips = batches.Batches(name, config, run, config.split)
        self._scores = run.eval_step(functools.partial(scores, run.task, config.merge))

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        del step
        total = None
        results = (self._scores(params, rest, batch) for batch in self._clips)
        for scored in batches.fetched(results):
            part = self._task.measure(*scored)
            total = part if total is None else {k: m.merge(part[k]) for k, m in total.items()}
        assert total is not None  # an empty split is refused
        for metric in total.values():
            yield from metric.compute().items()


def scores(task: Any, merge: str, model: Any, batch: Batch) -> tuple[jax.Array, ...]:
    """(scores `[b k]`, labels `[b k]`, counted `[b]`) of a batch of clips with views.

    Padding does not count, nor does a clip without any of the batch's modalities: its logits say
    nothing.
    """
    logits = task.predict(model, batches.fold_views(batch))
    views_bvk = logits.reshape(batch["valid"].shape[0], -1, logits.shape[-1])
    counted_b = jnp.stack(list(batches.present(batch).values())).any(0)
    return metrics.merge_views(views_bvk, merge), batch["label"], counted_b
