"""The outcome of a check as one self-contained page: counts, histograms, samples, findings."""

import pathlib
from collections.abc import Sequence

import numpy as np

from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import result
from av_mae.report import charts, render

FILE = "check.html"

# Labels listed at once; the others are folded away.
_LABELS = 40
_ROWS = 30


def write(outcome: result.Result, path: pathlib.Path) -> None:
    """Writes the page.

    Raises:
        OSError: it cannot be written.
    """
    info, rows, splits = outcome.info, outcome.rows, outcome.splits
    counts = np.stack([np.zeros(len(info.labels), int), *(s.labels for s in splits)], axis=1)[:, 1:]
    sound = ""
    by_split = {split.name: result.measures(split.rows) for split in splits}
    names = next(iter(by_split.values()), {})
    histograms = [charts.histogram(n, {s: of[n] for s, of in by_split.items()}) for n in names]
    if info.audio_mean is not None:
        sound = f"{info.audio_mean:.3f}, deviation {info.audio_std:.3f}"
    render.page(
        "check.html",
        path,
        outcome=outcome,
        info=info,
        problems=outcome.findings.problems.items(),
        warnings=outcome.findings.warnings.items(),
        meaning=findings_lib.PROBLEMS | findings_lib.WARNINGS,
        splits=result.plain(outcome)["splits"],
        seconds=float(rows["duration"].sum(dtype=np.float64)),
        median=float(np.median(rows["duration"])) if len(rows) else None,
        heard=int((rows["samples"] > 0).sum()),
        labels_used=int(counts.any(axis=1).sum()),
        label_parts=_label_parts(info.labels, counts) if splits else [],
        label_most=int(counts.sum(axis=1).max(initial=1)),
        outline=_outline,
        histograms=list(filter(None, histograms)),
        sizes=result.sizes(rows),
        lists=[
            ("Not in the records", "rejected.csv", outcome.rejected),
            ("Not to their end", "partial.csv", outcome.partial),
        ],
        reasons=result.reasons,
        most_rows=_ROWS,
        facts=[("version", info.version), *info.preprocessing.items(), ("log-mel mean", sound)],
        colours=charts.COLOURS,
    )


def _outline(sound: np.ndarray) -> str:
    """Points of an SVG polygon as high as the sound (0 to 1) is loud, in a box 100 high."""
    above = [f"{x},{50 - 49 * value:.1f}" for x, value in enumerate(sound)]
    below = [f"{x},{50 + 49 * value:.1f}" for x, value in enumerate(sound)]
    return " ".join([*above, *reversed(below)])


def _label_parts(names: Sequence[str], counts: np.ndarray) -> list[list[tuple[str, list[int]]]]:
    """(name, clips in each split) of the labels, the most frequent first; of three parts the
    middle one is to be folded away."""
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    rows = [(names[int(i)], counts[i].tolist()) for i in order]
    if len(rows) <= _LABELS:
        return [rows] if rows else []
    half = _LABELS // 2
    return [rows[:half], rows[half:-half], rows[-half:]]
