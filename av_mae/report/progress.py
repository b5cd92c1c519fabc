"""The one line a training run prints now and then, and how durations and numbers are written."""

import math
from collections.abc import Mapping

# Logged and plotted like every metric, but not worth a place in the line.
_NOT_IN_LINE = ("lr", "grad_norm")


def line(
    step: int,
    total_steps: int,
    metrics: Mapping[str, float],
    *,
    steps_per_second: float,
    clips_per_second: float,
    mfu: float | None,
    input_wait: float,
    eta: float | None,
) -> str:
    """`step 1200/50000  loss 0.412  1.31 it/s  2,680 clips/s  MFU 41%  input wait 3%  eta 10h12m`.

    Args:
        mfu: share (0..1) of the devices' peak FLOP/s; None leaves it out.
        input_wait: share (0..1) of the time in which devices waited for data.
        eta: seconds to the last step; None leaves it out.
    """
    parts = [f"step {step}/{total_steps}"]
    shown = sorted(metrics.keys() - set(_NOT_IN_LINE), key=lambda name: (name != "loss", name))
    parts += [f"{name} {short(metrics[name])}" for name in shown]
    parts += [f"{rate(steps_per_second)} it/s", f"{rate(clips_per_second)} clips/s"]
    parts += [f"MFU {percent(mfu)}"] if mfu is not None else []
    parts += [f"input wait {percent(input_wait)}"]
    parts += [f"eta {duration(eta)}"] if eta is not None else []
    return "  ".join(parts)


def stages(seconds: Mapping[str, float]) -> str:
    """`14.2 s: imports 3.1, devices 0.2, ..., compilation 6.0, first step 0.4`."""
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    return f"{sum(seconds.values()):.1f} s: {parts}"


def evaluation_line(step: int, total_steps: int, results: Mapping[str, float]) -> str:
    """`step 1200/50000  eval  val/loss 0.398  val/accuracy 0.712`."""
    scores = [f"{name} {short(value)}" for name, value in results.items()]
    return "  ".join([f"step {step}/{total_steps}", "eval", *scores])


def duration(seconds: float) -> str:
    """The two largest units that matter: `42s`, `3m05s`, `10h12m`, `2d04h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, secs = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{secs:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


def short(value: float) -> str:
    """About three digits, with an exponent only where it reads better: `0.412`, `1.5e-05`."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if 1e-3 <= size < 1:
        return f"{value:.3f}"
    if 1 <= size < 100:
        return f"{value:.2f}"
    if 100 <= size < 1000:
        return f"{value:.0f}"
    if 1000 <= size < 1e6:
        return f"{value:,.0f}"
    return f"{value:.2g}"


def score(value: float) -> str:
    """An evaluation result, with one digit more: `0.6550`."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1 else short(value)


def rate(value: float) -> str:
    """A number a second: `2,680`, `31.4`, `1.31`, `0.0021`."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 or share < 0.0005 else f"{share:.1%}"


class Eta:
    """Time to the last step by the wall clock since the first report.

    Evaluations and checkpoints in between count; start-up and compilation do not.
    """

    def __init__(self, total_steps: int):
        self._total = total_steps
        self._first: tuple[int, float] | None = None

    def update(self, step: int, now: float, step_seconds: float) -> float:
        """Seconds left; `step_seconds` alone decides until a second report has come."""
        if self._first is None:
            self._first = (step, now)
        first_step, began = self._first
        if step > first_step:
            step_seconds = (now - began) / (step - first_step)
        return max(self._total - step, 0) * step_seconds
