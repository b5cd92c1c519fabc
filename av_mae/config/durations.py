"""Lengths of time in a config: text such as "5 epochs", counted in steps."""

import re

from av_mae.config import schema

_UNITS = {"step": "steps", "epoch": "epochs", "example": "examples", "percent": "%"}


def steps(duration: str, *, steps_per_epoch: float, batch_size: int, total: int = 0) -> int:
    """`"5 epochs"`, `"200 steps"`, `"10000 examples"` or `"5 %"` (of `total` steps) in steps."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*([a-z]+|%)", duration.strip())
    unit = _UNITS.get(match[2].rstrip("s"), match[2]) if match else ""
    if not match or unit not in ("steps", "epochs", "examples", "%"):
        raise schema.ConfigError(
            f"duration {duration!r}: expected a number and steps, epochs, examples or %, "
            'as in "5 epochs"'
        )
    size = {"steps": 1.0, "epochs": steps_per_epoch, "examples": 1 / batch_size, "%": total / 100}
    return round(float(match[1]) * size[unit])
