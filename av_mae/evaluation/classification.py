"""Scores of a classifier on a split: top-k accuracy, or mAP and d' where clips have many labels.

After the last step, and in an evaluation by itself, also what became of every clip and class.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from av_mae.config import schema
from av_mae.evaluation import batches, clip_by_clip
from av_mae.experiment.run import Run
from av_mae.report import history, writer
from av_mae.tasks import Batch, metrics


class Evaluator:
    """Merges the views of each clip, by mean logit or mean probability, and scores the result."""

    tasks = ("classify",)

    def __init__(self, name: str, config: schema.Evaluator, run: Run, reporter: writer.Reporter):
        self._name, self._config, self._run, self._reporter = name, config, run, reporter
        self._task: Any = run.task  # a classify task, as `tasks` above makes sure
        self._clips = batches.Batches(name, config, run, config.split)

        def judged(model: Any, batch: Batch) -> tuple[Any, ...]:
            return scores(run.task, config.merge, model, batch), batch["index"], batch["valid"]

        self._judged = run.eval_step(judged)
        one = np.eye(1, len(run.info.labels))
        measured = self._task.measure(one, one, np.ones(1, bool))
        names = [name for metric in measured.values() for name in metric.compute()]
        self.metrics = [name for name in names if history.is_score(name)]

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        total, judged, clips = None, [], 0
        results = (self._judged(params, rest, batch) for batch in self._clips)
        for (scores_bk, labels_bk, counted_b), *rows in batches.fetched(results):
            part = self._task.measure(scores_bk, labels_bk, counted_b)
            total = part if total is None else {k: m.merge(part[k]) for k, m in total.items()}
            clips += int(counted_b.sum())
            if self._reporter.wants_clips(step):
                judged.append(clip_by_clip.judged(self._task, scores_bk, counted_b, *rows))
        assert total is not None  # an empty split is refused
        yield "clips", clips
        for metric in total.values():
            yield from metric.compute().items()
        if judged:
            found = clip_by_clip.breakdown(self._name, self._config, self._run, step, judged, total)
            self._reporter.breakdown(found)


def scores(task: Any, merge: str, model: Any, batch: Batch) -> tuple[jax.Array, ...]:
    """(scores `[b k]`, labels `[b k]`, counted `[b]`) of a batch of clips with views.

    Padding does not count, nor does a clip without any of the batch's modalities: its logits say
    nothing.
    """
    logits = task.predict(model, batches.fold_views(batch))
    views_bvk = logits.reshape(batch["valid"].shape[0], -1, logits.shape[-1])
    counted_b = jnp.stack(list(batches.present(batch).values())).any(0)
    return metrics.merge_views(views_bvk, merge), batch["label"], counted_b
