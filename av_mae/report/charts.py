"""Curves as inline SVG with labels in HTML: sharp at any width, readable without a script.

The picture is stretched to its box (`preserveAspectRatio="none"`) while lines keep their width and
labels, being HTML, keep their size. The data lie in `data-chart` for the hover read-out.
"""

import dataclasses
import html
import json
import math
from collections.abc import Sequence

import numpy as np

from av_mae.report import progress

COLOURS = 12  # of series, defined by the style sheet; a thirteenth series starts over

_POINTS = 300  # drawn a series; more are averaged in groups
_SIZE = 1000.0  # of the SVG's own square


@dataclasses.dataclass(frozen=True)
class Series:
    """One curve; `dots` marks every point (for few points, as evaluations are)."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: int = 0
    dots: bool = False


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A series reduced to what is drawn: group means, and the range of each group."""

    label: str
    colour: str
    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    dots: bool


def chart(title: str, series: Sequence[Series], *, from_zero: bool = False) -> str:
    """A figure with a legend of last values; empty text when no series has a finite value."""
    drawn = [d for d in map(_reduce, series) if len(d.step)]
    if not drawn:
        return ""
    x_low, x_high = _x_range(drawn)
    y_low, y_high, outside = _y_range(drawn)
    y_low = min(y_low, 0.0) if from_zero else y_low
    y_ticks = ticks(y_low, y_high, 4)
    y_low, y_high = min(y_low, y_ticks[0]), max(y_high, y_ticks[-1])
    to_x = lambda v: (v - x_low) / (x_high - x_low)  # noqa: E731
    to_y = lambda v: 1.0 - (v - y_low) / (y_high - y_low)  # noqa: E731
    grid = "".join(_grid_line(to_y(t)) for t in y_ticks)
    curves = "".join(_curve(d, to_x, to_y) for d in drawn)
    labels = "".join(_label("y", to_y(t), _tick(t)) for t in y_ticks)
    labels += "".join(_label("x", to_x(t), _tick(t)) for t in _x_ticks(x_low, x_high))
    note = f'<p class="note">{html.escape(outside)}</p>' if outside else ""
    many = " many" if len(drawn) > 3 else ""
    return (
        f'<figure class="chart{many}"><figcaption><b>{html.escape(title)}</b>{_legend(drawn)}'
        f'</figcaption><div class="plot" data-chart="{_data(drawn, to_x, to_y)}">'
        f'<svg viewBox="0 0 {_SIZE:.0f} {_SIZE:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(_spoken(title, drawn))}">{grid}{curves}</svg>'
        f"{_dots(drawn, to_x, to_y)}{labels}</div>{note}</figure>"
    )


def sparkline(values: Sequence[float]) -> str:
    """A word-sized curve; empty text for fewer than two finite values."""
    kept = [v for v in values if math.isfinite(v)]
    if len(kept) < 2:
        return ""
    low, high = min(kept), max(kept)
    span = (high - low) or 1.0
    points = " ".join(
        f"{100 * i / (len(kept) - 1):.1f},{22 - 20 * (v - low) / span:.1f}"
        for i, v in enumerate(kept)
    )
    return (
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}"/></svg>'
    )


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) that span low to high."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    size = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw * 0.999)
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [round(i * size, 12) for i in range(first, last + 1)]


def _reduce(series: Series) -> _Drawn:
    step, value = np.asarray(series.steps, float), np.asarray(series.values, float)
    finite = np.isfinite(value)
    step, value = step[finite], value[finite]
    groups = np.array_split(np.arange(len(step)), min(_POINTS, max(len(step), 1)))
    groups = [g for g in groups if len(g)]
    # The last step of a group, so that the curve ends where the run does.
    return _Drawn(
        series.label,
        f"c{series.colour % COLOURS}",
        np.array([step[g[-1]] for g in groups]),
        np.array([value[g].mean() for g in groups]),
        np.array([value[g].min() for g in groups]),
        np.array([value[g].max() for g in groups]),
        series.dots,
    )


def _x_range(drawn: Sequence[_Drawn]) -> tuple[float, float]:
    high = max(d.step[-1] for d in drawn)
    return 0.0, max(high, 1.0)


def _y_range(drawn: Sequence[_Drawn]) -> tuple[float, float, str]:
    """(low, high, note): a few spikes far outside the rest are cut off, and the note says so."""
    low, high = min(d.low.min() for d in drawn), max(d.high.max() for d in drawn)
    means = np.concatenate([d.mean for d in drawn])
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


def _x_ticks(low: float, high: float) -> list[float]:
    inside = [t for t in ticks(low, high, 4) if t <= high and t == int(t)]
    return inside or [low, high]


def _curve(d: _Drawn, to_x, to_y) -> str:
    x, mean = to_x(d.step) * _SIZE, to_y(d.mean) * _SIZE
    line = f'<polyline class="{d.colour}" points="{_points(x, mean)}"/>'
    if len(d.step) < 2 or (d.high == d.low).all():
        return line
    edge = np.concatenate([to_y(d.high), to_y(d.low)[::-1]]) * _SIZE
    around = _points(np.concatenate([x, x[::-1]]), np.clip(edge, -_SIZE, 2 * _SIZE))
    return f'<polygon class="band {d.colour}" points="{around}"/>{line}'


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _dots(drawn: Sequence[_Drawn], to_x, to_y) -> str:
    marked = [d for d in drawn if len(d.step) == 1 or (d.dots and len(d.step) <= 60)]
    return "".join(
        f'<i class="dot {d.colour}" style="left:{x:.2%};top:{y:.2%}"></i>'
        for d in marked
        for x, y in zip(to_x(d.step), to_y(d.mean), strict=True)
    )


def _grid_line(y: float) -> str:
    return f'<line x1="0" x2="{_SIZE:.0f}" y1="{y * _SIZE:.1f}" y2="{y * _SIZE:.1f}"/>'


def _label(axis: str, place: float, text: str) -> str:
    side = "left" if axis == "x" else "top"
    return f'<span class="{axis}" style="{side}:{place:.2%}">{text}</span>'


def _legend(drawn: Sequence[_Drawn]) -> str:
    return "".join(
        f'<span class="key"><i class="{d.colour}"></i>{html.escape(d.label)} '
        f"<b>{progress.short(d.mean[-1])}</b></span>"
        for d in drawn
    )


def _spoken(title: str, drawn: Sequence[_Drawn]) -> str:
    parts = [
        f"{d.label} from {progress.short(d.mean[0])} to {progress.short(d.mean[-1])}" for d in drawn
    ]
    return f"{title}: {'; '.join(parts)}"


def _data(drawn: Sequence[_Drawn], to_x, to_y) -> str:
    """What the read-out needs: place in the box (0..1), step and value of every point."""
    series = [
        {
            "label": d.label,
            "colour": d.colour,
            "x": [round(float(v), 4) for v in to_x(d.step)],
            "y": [round(float(v), 4) for v in to_y(d.mean)],
            "step": [int(v) for v in d.step],
            "text": [progress.short(v) for v in d.mean],
        }
        for d in drawn
    ]
    return html.escape(json.dumps(series, separators=(",", ":")))


def _tick(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
