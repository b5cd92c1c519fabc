"""What became of every clip in an evaluation: `evaluation/<name>/` in the workdir.

`predictions.csv` has a row for every clip, `classes.csv` one for every class, `confusion.csv`
(clips of one label) counts which class is taken for which; `summary.json` is what the page shows,
with some clips of the classes that are confused most in `clips/`. The folder is written under a
temporary name and renamed, so that a kill leaves a whole one or none.
"""

import csv
import dataclasses
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from av_mae.report import gallery, pictures

FOLDER = "evaluation"
BEST = 5  # predictions of a clip that are listed
SEPARATOR = ";"  # between the labels of a clip

_SUMMARY = "summary.json"
Row = Sequence[Any]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One clip.

    Attributes:
        clip: its id.
        source: the media file it comes from.
        labels: indices of those it has.
        best: (index, score) of those predicted, best first: probabilities; empty for a clip that
            has nothing to be judged by.
    """

    clip: str
    source: str
    labels: tuple[int, ...]
    best: tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A class that is taken for another, with some clips.

    Attributes:
        true, predicted: indices of the labels.
        count: of clips of `true` that are taken for `predicted`.
        clips: number of all clips of `true`.
        examples: each with its sound int16-like in [-1, 1] `[s]` at 16 kHz, None without.
    """

    true: int
    predicted: int
    count: int
    clips: int
    examples: Sequence[tuple[pictures.Example, Float[np.ndarray, " s"] | None]] = ()


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """An evaluation.

    Attributes:
        name: of the evaluator; `split` is the one it scored.
        labels: names in index order.
        train: number of training clips of each label; None where nobody counted them.
        by_class: `clips` and other scores `[k]` of each label.
        confusion: clips of each class (row) by what they are taken for; None of several labels.
        predictions: in the order of the split.
        pairs: the most confused ones, worst first.
    """

    step: int
    name: str
    split: str
    labels: tuple[str, ...]
    train: Sequence[int] | None
    by_class: Mapping[str, np.ndarray]
    confusion: Int[np.ndarray, "k k"] | None
    predictions: Sequence[Prediction]
    pairs: Sequence[Pair]


def write(workdir: pathlib.Path, found: Breakdown) -> pathlib.Path:
    """Writes an evaluation, replacing an earlier one of the same name; returns its folder."""
    final = workdir / FOLDER / found.name.replace("/", "-")
    unfinished = final.with_name(final.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)

    _write_csv(unfinished / "predictions.csv", _predictions(found))
    classes = _classes(found)
    columns = list(dict.fromkeys(key for row in classes for key in row))
    _write_csv(
        unfinished / "classes.csv", [columns, *([row[c] for c in columns] for row in classes)]
    )
    cells = []
    if found.confusion is not None:
        rows = zip(found.labels, found.confusion.tolist(), strict=True)
        _write_csv(
            unfinished / "confusion.csv",
            [["true / predicted", *found.labels], *([name, *row] for name, row in rows)],
        )
        cells = [
            [int(i), int(j), int(found.confusion[i, j])] for i, j in np.argwhere(found.confusion)
        ]
    pairs, number = [], 0
    for pair in found.pairs:
        stored = []
        for example, sound_s in pair.examples:
            one = gallery.write_example(unfinished / "clips" / str(number), example, sound_s)
            stored.append({k: v for k, v in vars(one).items() if k != "folder"})
            number += 1
        pairs.append({**vars(pair), "examples": stored})
    content = {
        "step": found.step,
        "name": found.name,
        "split": found.split,
        "clips": sum(bool(p.best) for p in found.predictions),
        "classes": classes,
        "confusion": cells,
        "pairs": pairs,
    }
    (unfinished / _SUMMARY).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    os.replace(unfinished, final)
    return final


def read(workdir: pathlib.Path) -> list[tuple[pathlib.Path, dict[str, Any]]]:
    """(folder, what `summary.json` holds) of all whole evaluations, by name."""
    paths = sorted((workdir / FOLDER).glob(f"*/{_SUMMARY}"))
    return [
        (path.parent, json.loads(path.read_bytes()))
        for path in paths
        if not path.parent.name.endswith(".tmp")
    ]


def restart(workdir: pathlib.Path, resume_step: int | None) -> None:
    """Removes what a killed run left half written or wrote after `resume_step` (None: all stay)."""
    for unfinished in (workdir / FOLDER).glob("*.tmp"):
        shutil.rmtree(unfinished)
    for folder, content in read(workdir):
        if resume_step is not None and content["step"] > resume_step:
            shutil.rmtree(folder)


def _predictions(found: Breakdown) -> Iterable[Row]:
    ranks = range(1, min(BEST, len(found.labels)) + 1)
    numbered = [f"{what}_{rank}" for rank in ranks for what in ("predicted", "score")]
    yield ["clip", "source", "labels", *numbered]
    for one in found.predictions:
        names = SEPARATOR.join(found.labels[i] for i in one.labels)
        best = [x for index, score in one.best for x in (found.labels[index], f"{score:.6g}")]
        yield [one.clip, one.source, names, *best, *[""] * (len(numbered) - len(best))]


def _classes(found: Breakdown) -> list[dict[str, Any]]:
    """A row for each class, by its columns; None where a score is undefined."""
    rows = []
    for number, name in enumerate(found.labels):
        row: dict[str, Any] = {"label": name}
        if found.train is not None:
            row["train_clips"] = int(found.train[number])
        for key, values in found.by_class.items():
            value = values[number].item()
            row[key] = value if math.isfinite(value) else None
        rows.append(row)
    return rows


def _write_csv(path: pathlib.Path, rows: Iterable[Row]) -> None:
    """Names of files that are not Unicode are written with backslash escapes."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        csv.writer(file).writerows(rows)
