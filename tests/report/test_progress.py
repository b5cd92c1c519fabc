"""The progress line reads as documented."""

import pytest

from av_mae.report import progress

SPEED = {
    "speed/step_seconds": 1 / 1.31,
    "speed/clips_per_second": 2680.4,
    "speed/input_wait": 0.03,
}
ETA = 36_720.0


def test_line_is_the_documented_one():
    metrics = {"loss": 0.4119, "lr": 1e-4, "grad_norm": 3.0}
    line = progress.line(1200, 50_000, metrics, SPEED | {"speed/mfu": 0.41}, ETA)
    assert line == (
        "step 1200/50000  loss 0.412  1.31 it/s  2,680 clips/s  MFU 41%  input wait 3%  eta 10h12m"
    )


def test_the_loss_comes_first():
    metrics = {"accuracy": 0.5, "loss": 1.0, "accuracy_top5": 0.75}
    line = progress.line(1, 2, metrics, SPEED, ETA)
    assert line.startswith("step 1/2  loss 1.00  accuracy 0.500  accuracy_top5 0.750  1.31 it/s")


def test_unknown_peak_leaves_the_mfu_out():
    line = progress.line(1, 2, {"loss": 1.0}, SPEED, ETA)
    assert "MFU" not in line
    assert "input wait 3%" in line


def test_a_loss_that_is_not_a_number_is_said():
    assert "loss nan" in progress.line(1, 2, {"loss": float("nan")}, SPEED, ETA)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (185, "3m05s"), (3600, "1h00m"),
        (36_720, "10h12m"), (86_399, "23h59m"), (187_200, "2d04h"),
    ],
)  # fmt: skip
def test_duration(seconds, text):
    assert progress.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.65, "0.650"), (-0.5, "-0.500"), (12.345, "12.35"), (512.3, "512"),
        (26_530.0, "26,530"), (1.5e-5, "1.5e-05"), (3e7, "3e+07"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_short(value, text):
    assert progress.short(value) == text


def test_eta_counts_evaluations_but_not_the_start():
    eta = progress.Eta(100)
    assert eta.update(10, now=1000.0, step_seconds=2.0) == 90 * 2.0
    # Ten steps of two seconds, and twenty seconds of something else between them.
    assert eta.update(20, now=1040.0, step_seconds=2.0) == 80 * 4.0
    assert eta.update(100, now=1400.0, step_seconds=2.0) == 0.0
