"""Weights of classes and of clips where classes are of unequal size.

With n_c clips in class c, n labels in all and k classes that occur, a class weighs

* balanced: n / (k n_c), as scikit-learn's `class_weight="balanced"`;
* sqrt: the square root of that (as Mahajan et al. 2018, arXiv 1805.00932, sample);
* effective: (1 - b) / (1 - b^n_c), the effective number of samples (Cui et al. 2019, arXiv
  1901.05555), times what makes their mean 1.

A class without a clip weighs 1. A clip is drawn in proportion to the sum over its labels of 1 / n_c
(balanced), as AudioSet is trained on (PSLA, Gong et al. 2021, arXiv 2102.01243), or 1 / sqrt(n_c).
"""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging
from jaxtyping import Float, Int

from av_mae.config import limits, schema
from av_mae.input import records

_SHOWN = 5  # names in a message


def class_weights(e: schema.Experiment, info: records.Info) -> tuple[float, ...]:
    """Weight of each label's term in the loss, by `optim.class_weights`; () = all are equal.

    Raises:
        ConfigError: the file of weights is missing or wrong, or no clip has a label.
        DataError: the labels had to be counted, and a record is damaged.
    """
    how = e.optim.class_weights
    if how == "none":
        return ()
    if how.endswith(".csv"):
        return _from_file(pathlib.Path(how), info.labels)
    split = info.split(e.dataset.train)
    counts = info.clips_by_label(split.name)
    if counts is None:
        counts = np.bincount(
            [i for own in labels_of(e.dataset, info, split) for i in own],
            minlength=len(info.labels),
        )
    clips_k = np.asarray(counts, np.float64)
    has_k = clips_k > 0
    if not has_k.any():
        raise schema.ConfigError(
            f"optim.class_weights is {how}, but no clip of split {split.name!r} has a label"
        )
    found_k = clips_k[has_k]
    if how == "effective":
        weights = (1 - e.optim.class_weights_beta) / (1 - e.optim.class_weights_beta**found_k)
        weights *= len(weights) / weights.sum()
    else:
        weights = found_k.sum() / (len(found_k) * found_k)
        weights = weights**0.5 if how == "sqrt" else weights
    weights_k = np.ones(len(clips_k))
    weights_k[has_k] = weights
    heaviest, lightest = (int(np.where(has_k, clips_k, np.inf).argmin()), int(clips_k.argmax()))
    logging.info(
        "class weights (%s): %.3g (%s, %d clips) to %.3g (%s, %d clips)", how,
        weights_k[lightest], info.labels[lightest], clips_k[lightest],
        weights_k[heaviest], info.labels[heaviest], clips_k[heaviest],
    )  # fmt: skip
    _name_empty(split.name, [x for x, has in zip(info.labels, has_k, strict=True) if not has])
    return tuple(weights_k.tolist())


def clip_weights(
    how: str, labels: Sequence[Sequence[int]], classes: int
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """(weight, rarest label) of every clip; 0 and -1 of a clip without a label.

    Args:
        how: `dataset.class_sampling`, balanced or sqrt.
        labels: indices of each clip's labels, each once.
        classes: number of label names.
    """
    counts = np.bincount([i for own in labels for i in own], minlength=classes)
    power = 1.0 if how == "balanced" else 0.5
    share_k = np.maximum(counts, 1.0) ** -power
    weights_n = np.array([share_k[list(own)].sum() for own in labels])
    rarest_n = np.array([min(own, key=counts.__getitem__, default=-1) for own in labels], int)
    return weights_n, rarest_n


def labels_of(
    dataset: schema.Dataset, info: records.Info, split: records.Split
) -> list[tuple[int, ...]]:
    """Label indices of every clip of a split, read from its records.

    Raises:
        DataError: a record is damaged.
    """
    from av_mae.input import skim  # reads records, by TensorFlow

    logging.info("reading the labels of the %s clips of split %s", f"{split.clips:,}", split.name)
    return [clip.labels for clip in skim.clips(dataset, split, len(info.labels))]


def _name_empty(split: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        logging.warning(
            "%d labels have no clip in split %s: %s%s", len(names), split,
            ", ".join(names[:_SHOWN]), more,
        )  # fmt: skip


def _from_file(path: pathlib.Path, names: Sequence[str]) -> tuple[float, ...]:
    """The weights in a csv with the columns label and weight, one row for every label."""
    where = f"optim.class_weights, {path}"
    if not path.is_file():
        raise schema.ConfigError(f"{where}: there is no such file")
    found: dict[str, float] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if not {"label", "weight"} <= set(table.fieldnames or ()):
            raise schema.ConfigError(f"{where}: its first line has to name label and weight")
        for row in table:
            line = f"{where}, line {table.line_num}"
            if row["label"] not in names:
                near = limits.nearest(str(row["label"]), names, "labels")
                raise schema.ConfigError(f"{line}: unknown label {row['label']!r}; {near}")
            if row["label"] in found:
                raise schema.ConfigError(f"{line}: {row['label']!r} has a weight already")
            try:
                weight = float(row["weight"])
            except (TypeError, ValueError):
                weight = -1.0
            if not 0.0 <= weight < np.inf:
                raise schema.ConfigError(
                    f"{line}: the weight is {row['weight']!r}, expected a number of 0 or more"
                )
            found[row["label"]] = weight
    missing = [name for name in names if name not in found]
    if missing or not any(found.values()):
        wrong = f"{missing[0]!r} has no weight" if missing else "every weight is 0"
        raise schema.ConfigError(f"{where}: {wrong}; every label needs one, and some more than 0")
    return tuple(found[name] for name in names)
