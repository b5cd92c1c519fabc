"""Scores of every class by itself, and which classes are taken for which.

Rows are clips; a value that is undefined, as the recall of a class without a clip, is NaN.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from av_mae.tasks import metrics

NONE = -1  # where a clip has no class


def confusion(
    truth_n: Int[np.ndarray, " n"], guess_n: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "k k"]:
    """How many clips of each class (row) are taken for each class (column).

    Clips of which one is `NONE` do not count.
    """
    known_n = (truth_n != NONE) & (guess_n != NONE)
    cells = truth_n[known_n] * classes + guess_n[known_n]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def of_one_label(
    truth_n: Int[np.ndarray, " n"], guess_n: Int[np.ndarray, " n"], classes: int
) -> dict[str, np.ndarray]:
    """`clips`, `recall` (the class's accuracy), `precision` and `f1` `[k]` of single labels."""
    known_n = truth_n != NONE
    clips_k = np.bincount(truth_n[known_n], minlength=classes)
    guessed_k = np.bincount(guess_n[known_n & (guess_n != NONE)], minlength=classes)
    right_k = np.bincount(truth_n[known_n & (truth_n == guess_n)], minlength=classes)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return {
            "clips": clips_k,
            "recall": right_k / clips_k,
            "precision": right_k / guessed_k,
            "f1": 2 * right_k / (clips_k + guessed_k),
        }


def of_several_labels(
    scores_nk: Float[np.ndarray, "n k"], labels_nk: Bool[np.ndarray, "n k"]
) -> dict[str, np.ndarray]:
    """`clips` with the label, `average_precision` and `auc` `[k]`; see `MeanAveragePrecision`."""
    found = [metrics.ranking(s, y) for s, y in zip(scores_nk.T, labels_nk.T, strict=True)]
    precision_k, auc_k = np.asarray(found, np.float64).reshape(-1, 2).T
    return {"clips": labels_nk.sum(0), "average_precision": precision_k, "auc": auc_k}
