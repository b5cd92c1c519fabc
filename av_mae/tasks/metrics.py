"""Metrics as mergeable sums: padding rows, the order and the split of a set change nothing.

Every metric has `of(...)` for one batch, `a.merge(b)`, and `compute() -> {name: float}`. Values
that are undefined (nothing was counted) are NaN.
"""

import dataclasses
import math
import statistics
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

Scores = Float[Array, "b k"] | Float[np.ndarray, "b k"]
Labels = Num[Array, "b k"] | Num[np.ndarray, "b k"]
Valid = Bool[Array, " b"] | Bool[np.ndarray, " b"]


class Diverged(RuntimeError):
    """A loss, gradient or score is not a number any more."""


def merge_views(
    logits_bvk: Float[Array, "b v k"] | Float[np.ndarray, "b v k"], merge: str
) -> Float[Array, "b k"]:
    """Scores of clips seen in v views: mean logit, or (`softmax`) log of the mean probability."""
    logits_bvk = jnp.asarray(logits_bvk)
    softmax = merge == "softmax"
    return jnp.log(jax.nn.softmax(logits_bvk).mean(1)) if softmax else logits_bvk.mean(1)


class Metric:
    """A dataclass of sums."""

    def merge(self: Any, other: Any) -> Any:
        """The metric of both parts: arrays are added, tuples joined; the rest is of either."""
        nodes = [f.name for f in dataclasses.fields(self) if f.metadata.get("pytree_node", True)]
        sums = {name: getattr(self, name) + getattr(other, name) for name in nodes}
        return dataclasses.replace(self, **sums)


@flax.struct.dataclass
class Mean(Metric):
    """Weighted mean of a value a row."""

    name: str = flax.struct.field(pytree_node=False)
    total: Float[Array, ""]
    weight: Float[Array, ""]

    @classmethod
    def of(
        cls,
        name: str,
        values_b: Num[Array, " b"] | Num[np.ndarray, " b"],
        weights_b: Num[Array, " b"] | Num[np.ndarray, " b"] | Valid,
    ) -> "Mean":
        """`weights_b` may be the `valid` mask; rows of weight 0 may hold anything, even NaN."""
        weights_b = jnp.asarray(weights_b, jnp.float32)
        values_b = jnp.where(weights_b > 0, jnp.asarray(values_b, jnp.float32), 0.0)
        return cls(name=name, total=(values_b * weights_b).sum(), weight=weights_b.sum())

    def compute(self) -> dict[str, float]:
        return {self.name: _ratio(self.total, self.weight)}


@flax.struct.dataclass
class Accuracy(Metric):
    """Share of the rows with one of their labels among the k best scores.

    Equal scores rank in the order of the classes, as argmax does. A row with a NaN score is wrong,
    a row without a label is not counted.
    """

    top: tuple[int, ...] = flax.struct.field(pytree_node=False)
    right: Int[Array, " n"]
    rows: Int[Array, ""]

    @classmethod
    def of(
        cls, scores_bk: Scores, labels_bk: Labels, valid_b: Valid, top: tuple[int, ...] = (1, 5)
    ) -> "Accuracy":
        """Labels are multi-hot; of `top`, those that every score would reach are left out."""
        scores_bk, labels_bk = jnp.asarray(scores_bk), jnp.asarray(labels_bk) > 0
        counted_b = jnp.asarray(valid_b) & labels_bk.any(1)
        top = tuple(k for k in top if k < scores_bk.shape[1] or k == 1)
        # The stable ascending sort of -scores puts NaN last; its inverse is each class's rank.
        ranks_bk = jnp.argsort(jnp.argsort(-scores_bk, axis=1, stable=True), axis=1)
        best_b = jnp.where(labels_bk, ranks_bk, scores_bk.shape[1]).min(1)
        counted_right_b = counted_b & ~jnp.isnan(scores_bk).any(1)
        right = jnp.stack([(counted_right_b & (best_b < k)).sum() for k in top])
        return cls(top=top, right=right, rows=counted_b.sum())

    def compute(self) -> dict[str, float]:
        names = ("accuracy" if k == 1 else f"accuracy_top{k}" for k in self.top)
        return {n: _ratio(right, self.rows) for n, right in zip(names, self.right, strict=True)}


@flax.struct.dataclass
class MeanClassAccuracy(Metric):
    """Mean over the classes that occur of the share of their rows that score them best.

    `chance_accuracy` is what always guessing the commonest class would get.
    """

    right: Int[Array, " k"]
    rows: Int[Array, " k"]

    @classmethod
    def of(cls, scores_bk: Scores, labels_bk: Labels, valid_b: Valid) -> "MeanClassAccuracy":
        """Labels are one-hot; a row without a label is not counted."""
        scores_bk = jnp.asarray(scores_bk)
        truth_bk = (jnp.asarray(labels_bk) > 0) & jnp.asarray(valid_b)[:, None]
        finite_b1 = ~jnp.isnan(scores_bk).any(1, keepdims=True)
        guess_bk = (scores_bk.argmax(1)[:, None] == jnp.arange(scores_bk.shape[1])) & finite_b1
        return cls(right=(truth_bk & guess_bk).sum(0), rows=truth_bk.sum(0))

    def compute(self) -> dict[str, float]:
        right, rows = np.asarray(self.right), np.asarray(self.rows)
        seen = rows > 0
        if not seen.any():
            return {"mean_class_accuracy": math.nan, "chance_accuracy": math.nan}
        return {
            "mean_class_accuracy": float((right[seen] / rows[seen]).mean()),
            "chance_accuracy": float(rows.max() / rows.sum()),
        }


@dataclasses.dataclass(frozen=True)
class MeanAveragePrecision(Metric):
    """Ranking scores of multi-label classification; keeps all scores, on the host.

    `mAP`, `AUC` and `dprime` are means over the classes where they are defined: AP needs a
    positive row, AUC needs a negative one too. `mAP_all` counts classes without a positive row
    as 0, as a plain mean over scikit-learn's values does. d' is that of the mean AUC,
    sqrt(2) * the normal quantile (Gemmeke et al. 2017). `chance_mAP` is what rows in random order
    would get: the mean share of positive rows.
    """

    scores: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, scores_bk: Scores, labels_bk: Labels, valid_b: Valid) -> "MeanAveragePrecision":
        """Scores need not be probabilities: only their order within a class counts."""
        rows = np.asarray(valid_b)
        return cls((np.asarray(scores_bk)[rows],), (np.asarray(labels_bk)[rows] > 0,))

    def compute(self) -> dict[str, float]:
        """Raises Diverged when a score is NaN, for it has no rank."""
        scores_nk, labels_nk = np.concatenate(self.scores), np.concatenate(self.labels)
        if np.isnan(scores_nk).any():
            rows = int(np.isnan(scores_nk).any(1).sum())
            raise Diverged(f"{rows} of {len(scores_nk)} rows have NaN scores: the model diverged")
        per_class = [ranking(s, y) for s, y in zip(scores_nk.T, labels_nk.T, strict=True)]
        per_class_k2 = np.asarray(per_class, np.float64).reshape(-1, 2)
        has_k = labels_nk.any(0)
        precision, auc = (
            float(np.nanmean(x)) if not np.isnan(x).all() else math.nan for x in per_class_k2.T
        )
        return {
            "mAP": precision,
            "mAP_all": precision * float((~np.isnan(per_class_k2[:, 0])).mean()),
            "AUC": auc,
            "dprime": d_prime(auc),
            "chance_mAP": float(labels_nk[:, has_k].mean()) if has_k.any() else math.nan,
        }


def d_prime(auc: float) -> float:
    """Distance of two unit normal distributions that a ranking with this AUC separates."""
    if math.isnan(auc) or not 0.0 < auc < 1.0:
        return auc if math.isnan(auc) else math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2.0) * statistics.NormalDist().inv_cdf(auc)


def ranking(scores_n: np.ndarray, labels_n: np.ndarray) -> tuple[float, float]:
    """(average precision, area under the ROC curve) of a class; equal scores share a threshold."""
    positives = int(labels_n.sum())
    if not positives:
        return math.nan, math.nan
    order = np.argsort(-scores_n, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores_n[order]) != 0, True))  # of each threshold
    true = np.cumsum(labels_n[order])[last]
    false = last + 1 - true
    new = np.diff(true, prepend=0)
    precision = float((new * true / (last + 1)).sum() / positives)
    negatives = len(scores_n) - positives
    if not negatives:
        return precision, math.nan
    # Trapezoids: a positive among equal scores beats half of its equals.
    above = negatives - false + np.diff(false, prepend=0) / 2.0
    return precision, float((new * above).sum() / (positives * negatives))


def _ratio(total: Array, count: Array) -> float:
    return float(total) / float(count) if float(count) > 0 else math.nan
