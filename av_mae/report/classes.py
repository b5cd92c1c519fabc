"""Evaluations class by class, as parts of a page: what is taken for what, and the scores of each.

Data sets of many classes stay readable: the confusion matrix then has the classes that are confused
most, and the table those with the worst scores; all are in the csv files.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from av_mae.report import breakdown, cards, gallery, render

MOST = 24  # classes of a matrix
WORST = 16  # classes of the table that are not folded away
BUDGET = 4_000_000  # characters of an evaluation's clips

_TITLES = {
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "average_precision": "average precision",
    "auc": "AUC",
}
_SORTED_BY = ("average_precision", "recall")


def parts(workdir: pathlib.Path) -> list[Markup]:
    """One for each evaluation in the workdir that says what became of every clip."""
    return [_part(workdir, folder, found) for folder, found in breakdown.read(workdir)]


def chosen(cells: Sequence[tuple[int, int, int]], most: int) -> list[int]:
    """Classes of a confusion matrix that are shown, given its (row, column, count) above 0.

    All in their order, or of more than `most` those of the pairs that are confused most, in which
    the two of a pair stand close to each other.
    """
    every = sorted({index for cell in cells for index in cell[:2]})
    if len(every) <= most:
        return every
    wrong = sorted((c for c in cells if c[0] != c[1]), key=lambda cell: (-cell[2], cell))
    return list(dict.fromkeys(index for cell in wrong for index in cell[:2]))[:most]


def _part(workdir: pathlib.Path, folder: pathlib.Path, found: Mapping[str, Any]) -> Markup:
    rows = found["classes"]
    key = next(key for key in _SORTED_BY if key in rows[0])
    shown = [row for row in rows if row["clips"]]
    shown.sort(key=lambda row: (row[key] is None, row[key] or 0.0, -row["clips"]))
    left, pairs = BUDGET, []
    for pair in found["pairs"]:
        first = sum(len(p["examples"]) for p in found["pairs"][: len(pairs)])
        stored = [
            gallery.StoredExample(folder / "clips" / str(first + n), **example)
            for n, example in enumerate(pair["examples"])
        ]
        fitting = cards.within(left, stored) if left > 0 else []
        left -= sum(map(len, fitting))
        names = [rows[pair[side]]["label"] for side in ("true", "predicted")]
        pairs.append((names, pair, fitting))
    return render.part(
        "classes.html",
        found=found,
        place=folder.relative_to(workdir),
        matrix=_matrix(found["confusion"], [row["label"] for row in rows]),
        pairs=pairs,
        titles={k: title for k, title in _TITLES.items() if k in rows[0]},
        key=key,
        worst=shown[:WORST],
        others=shown[WORST:],
        absent=[row["label"] for row in rows if not row["clips"]],
        untrained=[row["label"] for row in shown if row.get("train_clips") == 0],
    )


def _matrix(cells: Sequence[tuple[int, int, int]], labels: Sequence[str]) -> dict[str, Any]:
    """What the template draws: rows of shares of a class's clips; empty without a confusion."""
    indices = chosen(cells, MOST)
    counts = {(i, j): count for i, j, count in cells}
    of = dict.fromkeys(range(len(labels)), 0)
    for i, _, count in cells:
        of[i] += count
    return {
        "labels": [labels[i] for i in indices],
        "rows": [
            (labels[i], of[i], [(counts.get((i, j), 0), i == j) for j in indices]) for i in indices
        ],
        "cut": len(indices) < len({index for cell in cells for index in cell[:2]}),
        "classes": len(labels),
    }
