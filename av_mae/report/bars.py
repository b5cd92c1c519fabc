"""Histograms of plain HTML: columns over a scale, stacked by series, sharp at any width."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from av_mae.report import charts, markup

# Columns of a histogram; fewer where there are fewer different values.
_COLUMNS = 24
# Text at the foot of a histogram never stands closer than this many to a plot.
_TICKS = 4


@dataclasses.dataclass(frozen=True)
class Values:
    """One series: what was measured, of everything that was measured."""

    label: str
    values: Sequence[float] | np.ndarray
    colour: int = 0


def histogram(title: str, series: Sequence[Values]) -> str:
    """A figure with the counts of all series stacked; empty text without a finite value."""
    finite = [np.asarray(s.values, float)[np.isfinite(s.values)] for s in series]
    everything = np.concatenate([np.zeros(0), *finite])
    if not len(everything):
        return ""
    edges = _edges(everything)
    counts = np.array([np.histogram(values, edges)[0] for values in finite])
    columns = "".join(
        _column(series, counts[:, i], counts.sum(0).max(), edges[i], edges[i + 1])
        for i in range(len(edges) - 1)
    )
    legend = "".join(_key(s) for s, values in zip(series, finite, strict=True) if len(values))
    spoken = f"{title}: {len(everything):,} values from {edges[0]:g} to {edges[-1]:g}"
    return (
        f'<figure class="chart"><figcaption><b>{markup.escape(title)}</b>{legend}</figcaption>'
        f'<div class="columns" role="img" aria-label="{markup.escape(spoken)}">{columns}</div>'
        f'<div class="scale">{_scale(edges)}</div></figure>'
    )


def row(counts: Sequence[int], most: int) -> str:
    """One bar that lies, as long as the counts together are of `most`; one colour each."""
    parts = "".join(
        f'<i class="c{n % charts.COLOURS}" style="width:{100 * count / max(most, 1):.2f}%"></i>'
        for n, count in enumerate(counts)
        if count
    )
    return f'<span class="lying">{parts}</span>'


def _edges(values: np.ndarray) -> np.ndarray:
    """Round borders of equal columns that hold all values; one column where all are equal."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-6 * max(abs(high), 1.0):
        return np.array([low - 0.5, low + 0.5])
    return np.array(charts.ticks(low, high, _COLUMNS))


def _column(
    series: Sequence[Values], counts: np.ndarray, most: int, low: float, high: float
) -> str:
    parts = "".join(
        f'<i class="c{s.colour % charts.COLOURS}" style="height:{100 * count / most:.2f}%"></i>'
        for s, count in zip(reversed(series), reversed(counts), strict=True)
        if count
    )
    told = f"{low:g} to {high:g}: {int(counts.sum()):,}"
    return f'<span title="{markup.escape(told)}">{parts}</span>'


def _key(series: Values) -> str:
    colour = f"c{series.colour % charts.COLOURS}"
    return f'<span class="key"><i class="{colour}"></i>{markup.escape(series.label)}</span>'


def _scale(edges: np.ndarray) -> str:
    low, high = edges[0], edges[-1]
    if len(edges) == 2:
        return f'<span style="left:50%">{(low + high) / 2:,.4g}</span>'
    shown = [tick for tick in charts.ticks(low, high, _TICKS) if low <= tick <= high]
    return "".join(
        f'<span style="left:{100 * (tick - low) / (high - low):.2f}%">{tick:,.4g}</span>'
        for tick in shown
    )
