"""The outcome of a check as one self-contained page: counts, histograms, samples, findings."""

import pathlib

import numpy as np

from av_mae.prepare.check import findings, result
from av_mae.report import charts, render

FILE = "check.html"


def write(outcome: result.Result, path: pathlib.Path) -> None:
    """Writes the page.

    Raises:
        OSError: it cannot be written.
    """
    info, rows, splits = outcome.info, outcome.rows, outcome.splits
    counts = np.stack([np.zeros(len(info.labels), int), *(s.labels for s in splits)], axis=1)[:, 1:]
    frequent = np.argsort(-counts.sum(axis=1), kind="stable")
    by_split = {split.name: result.measures(split.rows) for split in splits}
    names = next(iter(by_split.values()), {})
    histograms = [charts.histogram(n, {s: of[n] for s, of in by_split.items()}) for n in names]
    render.page(
        "check.html",
        path,
        outcome=outcome,
        info=info,
        meaning=findings.PROBLEMS | findings.WARNINGS,
        splits=result.plain(outcome)["splits"],
        seconds=float(rows["duration"].sum(dtype=np.float64)),
        median=float(np.median(rows["duration"])) if len(rows) else None,
        heard=int((rows["samples"] > 0).sum()),
        labels=[(info.labels[int(i)], counts[i].tolist()) for i in frequent],
        labels_used=int(counts.any(axis=1).sum()),
        label_most=int(counts.sum(axis=1).max(initial=1)),
        outline=_outline,
        histograms=list(filter(None, histograms)),
        sizes=result.sizes(rows),
        reasons=result.reasons,
        colours=charts.COLOURS,
    )


def _outline(sound: np.ndarray) -> str:
    """Points of an SVG polygon as high as the sound (0 to 1) is loud, in a box 100 high."""
    above = [f"{x},{50 - 49 * value:.1f}" for x, value in enumerate(sound)]
    below = [f"{x},{50 + 49 * value:.1f}" for x, value in enumerate(sound)]
    return " ".join([*above, *reversed(below)])
