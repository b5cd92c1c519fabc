"""Curves are drawn where their numbers are."""

import json
import re

import numpy as np
import pytest

from av_mae.report import charts


def data(chart: str) -> list[dict]:
    return json.loads(chart.split("data-chart='")[1].split("'")[0])


def line(steps, values, **options) -> charts.Series:
    return charts.Series("train", steps, values, **options)


def test_points_lie_at_their_place_in_the_box():
    (series,) = data(charts.lines("loss", [line([0, 50, 100], [0.0, 1.0, 2.0])]))
    assert series["x"] == [0, 0.5, 1]
    assert series["y"] == [1, 0.5, 0]
    assert series["step"] == [0, 50, 100]
    assert series["text"] == ["0", "1.00", "2.00"]


def test_long_curves_are_thinned_but_keep_their_end_and_their_extremes():
    steps = np.arange(1, 100_001)
    values = 1.0 + 0.001 * np.sin(steps)
    values[50_000] = 1.003
    chart = charts.lines("loss", [line(steps, values)])
    (series,) = data(chart)
    assert len(series["step"]) == 300
    assert series["step"][-1] == 100_000
    assert len(chart) < 40_000
    band = chart.split('class="band c0" points="')[1].split('"')[0]
    heights = [float(point.split(",")[1]) for point in band.split()]
    assert sorted(heights)[0] < sorted(heights)[1] - 100  # the one spike, above all others


def test_a_spike_is_cut_off_and_told():
    values = [1.0 + 0.1 * np.sin(i) for i in range(200)]
    values[100] = 1e6
    chart = charts.lines("loss", [line(range(200), values)])
    assert "the highest value is 1e+06" in chart
    assert max(v for v in data(chart)[0]["y"]) > 0.5


def test_values_that_are_no_numbers_are_left_out():
    chart = charts.lines("loss", [line([1, 2, 3], [1.0, float("nan"), 3.0])])
    assert data(chart)[0]["step"] == [1, 3]
    assert charts.lines("loss", [line([1, 2], [float("nan")] * 2)]) == ""
    assert charts.lines("loss", []) == ""


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-9])
def test_one_point_and_flat_curves_are_drawn_inside(value):
    for steps in ([7], [1, 2, 3]):
        (series,) = data(charts.lines("loss", [line(steps, [value] * len(steps))]))
        assert all(0 <= y <= 1 for y in series["y"])


def test_from_zero_includes_zero():
    (series,) = data(charts.lines("rate", [line([1, 2], [80.0, 90.0])], from_zero=True))
    assert series["y"][0] < 0.25


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (0.13, 0.87, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 5000, [0, 2000, 4000, 6000]),
    ],
)
def test_ticks_are_round_and_span_the_range(low, high, expected):
    assert charts.ticks(low, high, 4) == pytest.approx(expected)


def test_labels_are_escaped():
    chart = charts.lines("<u>", [charts.Series("<script>'", [1, 2], [1.0, 2.0])])
    assert "<script>" not in chart
    assert "<u>" not in chart
    assert data(chart)[0]["label"] == "<script>'"


def columns(chart: str) -> dict[str, list[float]]:
    """Heights of the stacked parts of every column, from top to bottom, by the column's title."""
    found = re.findall(r'<span title="(.*?)">(.*?)</span>', chart, re.DOTALL)
    return {
        title: [float(h) for h in re.findall(r"height:(.*?)%", parts)] for title, parts in found
    }


def test_a_histogram_stacks_the_counts_of_its_series():
    chart = charts.histogram("seconds", {"train": np.array([0, 0, 24.0]), "val": np.array([0.5])})
    assert len(columns(chart)) == 24
    assert columns(chart)["0 to 1: 3"] == [33.33, 66.67]
    assert columns(chart)["1 to 2: 0"] == []
    assert columns(chart)["23 to 24: 1"] == [33.33]
    assert "4 values from 0 to 24" in chart
    assert re.findall(r"<bdi>(.*?)</bdi>", chart) == ["train", "val"]
    assert [float(x) for x in re.findall(r"left:(.*?)%", chart)] == pytest.approx(
        [0, 41.67, 83.33], abs=0.01
    )


def test_a_histogram_of_one_value_is_one_column_and_without_values_it_is_nothing():
    chart = charts.histogram("frames", {"train": np.array([25, 25]), "val": np.array([np.nan])})
    assert columns(chart) == {"24.5 to 25.5: 2": [100.0]}
    assert re.findall(r"<bdi>(.*?)</bdi>", chart) == ["train"]
    assert charts.histogram("peak", {"train": np.array([-np.inf])}) == ""
    assert charts.histogram("peak", {}) == ""


def test_sparkline_needs_two_points():
    assert charts.sparkline([1.0]) == ""
    assert 'points="0.0,22.0 100.0,2.0"' in charts.sparkline([1.0, 2.0])
