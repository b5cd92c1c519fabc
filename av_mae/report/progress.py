"""The one line a training run prints now and then, and how durations and numbers are written."""

import dataclasses
import math
from collections.abc import Mapping

Numbers = Mapping[str, float]  # by name

# Logged and plotted like every metric, but not worth a place in the line.
_NOT_IN_LINE = ("lr", "grad_norm")

# Seconds of a unit, its letter, and the same of the next smaller one.
_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))
# (from, below, format) of sizes of numbers; others get an exponent.
_DIGITS = ((1e-3, 1, ".3f"), (1, 100, ".2f"), (100, 1000, ".0f"), (1000, 1e6, ",.0f"))


def line(step: int, total_steps: int, metrics: Numbers, speed: Numbers, eta: float) -> str:
    """`step 1200/50000  loss 0.412  1.31 it/s  2,680 clips/s  MFU 41%  input wait 3%  eta 10h12m`.

    Args:
        speed: `speed/step_seconds`, `speed/clips_per_second`, `speed/input_wait` (share of the
            time, 0..1) and, where the devices' peak is known, `speed/mfu` (share of it).
        eta: seconds to the last step.
    """
    shown = sorted(metrics.keys() - set(_NOT_IN_LINE), key=lambda name: (name != "loss", name))
    mfu = [f"MFU {percent(speed['speed/mfu'])}"] if "speed/mfu" in speed else []
    parts = [
        f"step {step}/{total_steps}",
        *(f"{name} {short(metrics[name])}" for name in shown),
        f"{rate(1 / speed['speed/step_seconds'])} it/s",
        f"{rate(speed['speed/clips_per_second'])} clips/s",
        *mfu,
        f"input wait {percent(speed['speed/input_wait'])}",
        f"eta {duration(eta)}",
    ]
    return "  ".join(parts)


def stages(seconds: Numbers) -> str:
    """`14.2 s: imports 3.1, devices 0.2, ..., compilation 6.0, first step 0.4`."""
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    return f"{sum(seconds.values()):.1f} s: {parts}"


def duration(seconds: float) -> str:
    """The two largest units that matter: `42s`, `3m05s`, `10h12m`, `2d04h`."""
    whole = round(seconds)
    for size, unit, smaller, its_unit in _UNITS:
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // smaller:02d}{its_unit}"
    return f"{whole}s"


def short(value: float) -> str:
    """About three digits, with an exponent only where it reads better: `0.412`, `1.5e-05`."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    for least, below, digits in _DIGITS:
        if least <= size < below:
            return format(value, digits)
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
    """A share in percent: `41%`; below one percent with a decimal, `0.4%`."""
    return f"{share:.0%}" if share >= 0.01 or share < 0.0005 else f"{share:.1%}"


@dataclasses.dataclass
class Eta:
    """Time to the last step by the wall clock since the first report.

    Evaluations and checkpoints in between count; start-up and compilation do not.

    Attributes:
        first: step and time of the first report.
    """

    total_steps: int
    first: tuple[int, float] | None = None

    def update(self, step: int, now: float, step_seconds: float) -> float:
        """Seconds left; `step_seconds` alone decides until a second report has come."""
        if self.first is None:
            self.first = (step, now)
        first_step, began = self.first
        if step > first_step:
            step_seconds = (now - began) / (step - first_step)
        return max(self.total_steps - step, 0) * step_seconds
