"""Curves as inline SVG and histograms of plain HTML: sharp at any width, readable without a script.

The picture of curves is stretched to its box (`preserveAspectRatio="none"`) while lines keep their
width and labels, being HTML, keep their size. The data lie in `data-chart` for the hover read-out.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from av_mae.report import history, progress, render

COLOURS = 12  # of series, defined by the style sheet; a thirteenth series starts over

_POINTS = 300  # drawn a series; more are averaged in groups
_SIZE = 1000.0  # of the SVG's own square
_COLUMNS = 24  # of a histogram; fewer where there are fewer different values


@dataclasses.dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        dots: whether every point is marked (for few points, as evaluations are).
        factor: what values are drawn times.
    """

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: int = 0
    dots: bool = False
    factor: float = 1.0


@dataclasses.dataclass(frozen=True)
class _Groups:
    """A series reduced to what is drawn: groups of points, each with its last step, mean, range."""

    series: Series
    step: Float[np.ndarray, " groups"]
    mean: Float[np.ndarray, " groups"]
    low: Float[np.ndarray, " groups"]
    high: Float[np.ndarray, " groups"]


def lines(title: str, series: Sequence[Series], *, from_zero: bool = False) -> Markup:
    """A figure with a legend of last values; empty text when no series has a finite value."""
    drawn = [groups for groups in map(_group, series) if len(groups.step)]
    if not drawn:
        return Markup()
    width = max(1.0, *(g.step[-1] for g in drawn))
    low, high, outside = _range(drawn)
    y_ticks = ticks(min(low, 0.0) if from_zero else low, high, 4)
    low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])
    x_ticks = [t for t in ticks(0.0, width, 4) if t <= width and t == int(t)]
    return render.part(
        "lines.html",
        title=title,
        curves=[_curve(g, width, low, high) for g in drawn],
        x_ticks=[(t / width, _tick(t)) for t in x_ticks or (0.0, width)],
        y_ticks=[(1.0 - (t - low) / (high - low), _tick(t)) for t in y_ticks],
        outside=outside,
    )


def of_points(label: str, points: Sequence[history.Point], name: str, **style: Any) -> Series:
    """The curve of a metric, over the points that have it; `style` as of `Series`."""
    own = [p for p in points if name in p.values]
    return Series(label, [p.step for p in own], [p.values[name] for p in own], **style)


def histogram(title: str, values: Mapping[str, np.ndarray]) -> Markup:
    """A figure with the counts of all series stacked; empty text without a finite value."""
    finite = {label: np.asarray(v, float)[np.isfinite(v)] for label, v in values.items()}
    everything = np.concatenate([np.zeros(0), *finite.values()])
    if not len(everything):
        return Markup()
    low, high = float(everything.min()), float(everything.max())
    if high - low <= 1e-6 * max(abs(high), 1.0):
        edges, marks = [low - 0.5, low + 0.5], [low]
    else:
        edges = ticks(low, high, _COLUMNS)
        marks = [t for t in ticks(edges[0], edges[-1], 4) if edges[0] <= t <= edges[-1]]
    counts = np.array([np.histogram(v, edges)[0] for v in finite.values()])
    return render.part(
        "histogram.html",
        title=title,
        labels=[(n % COLOURS, label) for n, label in enumerate(finite) if counts[n].any()],
        columns=[
            (edges[i], edges[i + 1], [(n % COLOURS, count) for n, count in enumerate(column)])
            for i, column in enumerate(counts.T.tolist())
        ],
        most=int(counts.sum(0).max()),
        total=len(everything),
        marks=[((mark - edges[0]) / (edges[-1] - edges[0]), f"{mark:,.4g}") for mark in marks],
    )


def sparkline(values: Sequence[float]) -> Markup:
    """A word-sized curve; empty text for fewer than two finite values."""
    kept = [v for v in values if math.isfinite(v)]
    if len(kept) < 2:
        return Markup()
    low, high = min(kept), max(kept)
    points = " ".join(
        f"{100 * i / (len(kept) - 1):.1f},{22 - 20 * (v - low) / ((high - low) or 1.0):.1f}"
        for i, v in enumerate(kept)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}"/></svg>'
    ).format(points)


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) that span low to high."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    size = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw * 0.999)
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [round(i * size, 12) for i in range(first, last + 1)]


def _group(series: Series) -> _Groups:
    step, value = np.asarray(series.steps, float), np.asarray(series.values, float) * series.factor
    step, value = step[np.isfinite(value)], value[np.isfinite(value)]
    bounds = np.linspace(0, len(step), min(_POINTS, len(step)) + 1).astype(int)
    first, last = bounds[:-1], bounds[1:] - 1
    return _Groups(
        series,
        step=step[last],  # the last of a group, so that the curve ends where the run does
        mean=np.add.reduceat(value, first) / np.diff(bounds),
        low=np.minimum.reduceat(value, first),
        high=np.maximum.reduceat(value, first),
    )


def _range(drawn: Sequence[_Groups]) -> tuple[float, float, str]:
    """(low, high, note): a few spikes far outside the rest are cut off, and the note says so."""
    low, high = min(g.low.min() for g in drawn), max(g.high.max() for g in drawn)
    means = np.concatenate([g.mean for g in drawn])
    bulk_low, bulk_high = np.percentile(means, (2, 98))
    room = 3.0 * max(bulk_high - bulk_low, 1e-12)
    outside = ""
    if len(means) >= 20 and high > bulk_high + room:
        outside = f"cut off above; the highest value is {progress.short(high)}"
        high = bulk_high + room / 6
    if low == high == 0.0:
        return 0.0, 1.0, outside
    if high - low < 1e-9 * max(abs(high), 1.0):
        pad = 0.5 * abs(high) or 1.0
        low, high = low - pad, high + pad
    return float(low), float(high), outside


def _curve(g: _Groups, width: float, low: float, high: float) -> dict[str, Any]:
    """What the template and the read-out need; places are shares of the box, from its top left."""
    top = lambda value: 1.0 - (value - low) / (high - low)  # noqa: E731
    x, y = g.step / width, top(g.mean)
    around = ""
    if len(x) > 1 and (g.high != g.low).any():
        edge = np.concatenate([top(g.high), top(g.low)[::-1]])
        around = _points(np.concatenate([x, x[::-1]]), np.clip(edge, -1.0, 2.0))
    colour = f"c{g.series.colour % COLOURS}"
    text = [progress.short(v) for v in g.mean]
    marked = len(x) == 1 or (g.series.dots and len(x) <= 60)
    return {
        "label": g.series.label,
        "colour": colour,
        "points": _points(x, y),
        "around": around,
        "dots": list(zip(x, y, strict=True)) if marked else [],
        "first": text[0],
        "last": text[-1],
        "data": {
            "label": g.series.label,
            "colour": colour,
            "x": x.round(4).tolist(),
            "y": y.round(4).tolist(),
            "step": g.step.astype(int).tolist(),
            "text": text,
        },
    }


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a * _SIZE:.1f},{b * _SIZE:.1f}" for a, b in zip(x, y, strict=True))


def _tick(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
