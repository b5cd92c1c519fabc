"""What became of every clip and every class of a split that a classifier was scored on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from av_mae import tasks
from av_mae.config import schema
from av_mae.experiment.run import Run
from av_mae.inference import shown
from av_mae.input import pipeline, skim
from av_mae.report import breakdown as breakdown_lib
from av_mae.report import progress
from av_mae.tasks import by_class, metrics

PAIRS, SHOWN = 6, 2  # of classes that are confused most, and clips of each
SECONDS, SHORT_SIDE = 10.0, 144  # of a clip that is shown


@dataclasses.dataclass(frozen=True)
class Judged:
    """The clips of a batch, or of a split.

    Attributes:
        index: position in the split `[n]`.
        counted: False of clips without anything to be judged by `[n]`.
        classes, scores: the best predictions and their probabilities `[n BEST]`, best first.
    """

    index: np.ndarray
    counted: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def judged(
    task: tasks.Task,
    scores_bk: np.ndarray,
    counted_b: np.ndarray,
    index_b: np.ndarray,
    valid_b: np.ndarray,
) -> Judged:
    """The clips of a batch by their scores (logits or log-probabilities), without padding."""
    # Equal scores in the order of the classes, as accuracies have them.
    classes = np.argsort(-scores_bk, axis=1, kind="stable")[:, : breakdown_lib.BEST]
    probable = jax.nn.softmax if task.one_label else jax.nn.sigmoid
    best = np.take_along_axis(np.asarray(probable(jnp.asarray(scores_bk))), classes, axis=1)
    return Judged(*(x[valid_b] for x in (index_b, counted_b, classes, best)))


def breakdown(
    name: str,
    config: schema.Evaluator,
    run: Run,
    step: int,
    parts: Sequence[Judged],
    measured: Mapping[str, Any],
) -> breakdown_lib.Breakdown:
    """All clips of the split, their classes, and some that are taken for others.

    Args:
        parts: the batches of the split.
        measured: the metrics of all of it, as `measure` of the task names them.

    Raises:
        DataError: a record of the split is damaged.
    """
    fields = [f.name for f in dataclasses.fields(Judged)]
    whole = Judged(*(np.concatenate([getattr(part, f) for part in parts]) for f in fields))
    e, split, labels = run.experiment, run.info.split(config.split), run.info.labels
    facts = list(skim.clips(e.dataset, split, len(labels)))
    predictions = []
    for row, index in enumerate(whole.index):
        best = zip(whole.classes[row].tolist(), whole.scores[row].tolist(), strict=True)
        clip, counted = facts[index], whole.counted[row]
        predictions.append(
            breakdown_lib.Prediction(
                clip.name, clip.source, clip.labels, tuple(best) if counted else ()
            )
        )

    confusion, pairs = None, []
    if run.task.one_label:
        none = by_class.NONE
        truth = np.array([p.labels[0] if p.labels and p.best else none for p in predictions])
        guess = np.where(np.isfinite(whole.scores[:, 0]), whole.classes[:, 0], none)
        confusion = by_class.confusion(truth, guess, len(labels))
        pairs = _pairs(run, split.name, confusion, truth, guess, whole, predictions)
        scores = by_class.of_one_label(truth, guess, len(labels))
    else:
        ranked = measured[metrics.MeanAveragePrecision.__name__]
        scores = by_class.of_several_labels(
            np.concatenate(ranked.scores), np.concatenate(ranked.labels)
        )
    return breakdown_lib.Breakdown(
        step=step,
        name=name,
        split=split.name,
        labels=labels,
        train=run.info.clips_by_label(e.dataset.train),
        by_class=scores,
        confusion=confusion,
        predictions=predictions,
        pairs=pairs,
    )


def _pairs(
    run: Run,
    split: str,
    confusion_kk: np.ndarray,
    truth_n: np.ndarray,
    guess_n: np.ndarray,
    whole: Judged,
    predictions: Sequence[breakdown_lib.Prediction],
) -> list[breakdown_lib.Pair]:
    """The pairs that are confused most, with the clips whose wrong score is highest."""
    wrong_kk = confusion_kk * (1 - np.eye(len(confusion_kk), dtype=int))
    all_k = confusion_kk.sum(1)
    worst = sorted(np.argwhere(wrong_kk).tolist(), key=lambda p: (-wrong_kk[*p], all_k[p[0]], p))
    pairs = []
    for true, predicted in worst[:PAIRS]:
        rows = np.flatnonzero((truth_n == true) & (guess_n == predicted))
        rows = rows[np.argsort(-whole.scores[rows, 0], kind="stable")][:SHOWN]
        clips = pipeline.whole_clips(
            run.experiment.dataset,
            split,
            run.experiment.modalities,
            whole.index[rows].tolist(),
            seconds=SECONDS,
            short_side=SHORT_SIDE,
        )
        examples = []
        for clip, row in zip(clips, rows, strict=True):
            title = f"{predictions[row].clip} · {progress.percent(whole.scores[row, 0])}"
            examples.append(shown.recorded(clip.frames, clip.fps, clip.sound, title))
        count = int(confusion_kk[true, predicted])
        pairs.append(breakdown_lib.Pair(true, predicted, count, int(all_k[true]), examples))
    return pairs
