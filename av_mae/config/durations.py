"""Durations in a config: text such as "5 epochs", counted in steps."""

import re
from typing import Annotated

from annotated_types import Predicate, doc

from av_mae.config.limits import ConfigError

_EXPECTED = 'a number and steps, epochs, examples or %, as in "5 epochs"'


def steps(duration: str, *, steps_per_epoch: float, batch_size: int, total: int = 0) -> int:
    """`"5 epochs"`, `"200 steps"`, `"10000 examples"` or `"5 %"` (of `total` steps) in steps."""
    parts = _parts(duration)
    if parts is None:
        raise ConfigError(f"duration {duration!r}: expected {_EXPECTED}")
    number, unit = parts
    size = {"step": 1.0, "epoch": steps_per_epoch, "example": 1 / batch_size}
    return round(number * (size | {"%": total / 100, "percent": total / 100})[unit])


def _parts(duration: str) -> tuple[float, str] | None:
    """Number and unit in the singular, as in `(5.0, "epoch")`; None if that is no duration."""
    number, units = r"\d+(?:\.\d+)?(?:e\d+)?", r"steps?|epochs?|examples?|percents?|%"
    match = re.fullmatch(rf"({number})\s*({units})", duration.strip())
    return (float(match[1]), match[2].rstrip("s")) if match else None


Duration = Annotated[str, Predicate(lambda text: _parts(text) is not None), doc(_EXPECTED)]
DurationOrEnd = Annotated[
    str,
    Predicate(lambda text: text == "end" or _parts(text) is not None),
    doc(f'{_EXPECTED}; or "end"'),
]
