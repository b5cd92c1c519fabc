"""Types of config values that carry their limits, and the checker that reads them.

A duration is text such as "5 epochs", and is counted in steps.
"""

import difflib
import math
import operator
import re
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from annotated_types import DocInfo, Interval, Predicate, doc

# Whole numbers end where an array of so many rows is larger than any machine.
MOST = 1_000_000
Count = Annotated[int, Interval(ge=0, le=MOST)]
Size = Annotated[int, Interval(ge=1, le=MOST)]
Few = Annotated[int, Interval(ge=0, le=1000)]  # threads, or turns of a loop
Extent = Annotated[int, Interval(ge=1, le=10_000)]  # frames, or pixels of a side
Amount = Annotated[float, Interval(ge=0)]
Rate = Annotated[float, Interval(ge=0.01, le=1000)]  # a second
Seed = Annotated[int, Interval(ge=0, le=2**63 - 1)]
Share = Annotated[float, Interval(ge=0, lt=1)]
Probability = Annotated[float, Interval(ge=0, le=1)]

_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*(steps?|epochs?|examples?|percents?|%)")
_DIGITS = 100  # of a duration, which a float can hold
_EXPECTED = 'a number and steps, epochs, examples or %, as in "5 epochs"'
_is_duration = Predicate(lambda text: _DURATION.fullmatch(text.strip()) is not None)
_is_occasion = Predicate(lambda text: text in ("end", "never") or _is_duration.func(text))
Duration = Annotated[str, _is_duration, doc(_EXPECTED)]
Occasion = Annotated[str, _is_occasion, doc(f'{_EXPECTED}; or "end"; or "never"')]


class ConfigError(ValueError):
    """A config that cannot run; the message names the key and what to write instead."""


def check(hint: Any, value: Any, where: str) -> Any:
    """The value of the key `where` as its type wants it: an int may stand for a float.

    Args:
        hint: a plain type, a `Literal` of texts, or either `Annotated` with limits.

    Raises:
        ConfigError: the value is of another type or outside of the limits.
    """
    kind = base(hint)
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(
            f"{where} is {value!r} ({type(value).__name__}), expected {kind.__name__}"
        )
    if typing.get_origin(hint) is Literal:
        within = value in typing.get_args(hint)
    else:
        within = all(_holds(limit, value) for limit in getattr(hint, "__metadata__", ()))
    if not within:
        raise ConfigError(f"{where} is {value!r}, expected {expected(hint)}")
    return value


def _holds(limit: Any, value: Any) -> bool:
    """Whether a value is within one limit of an `Annotated` type; NaN is in no interval."""
    if isinstance(limit, Predicate):
        return limit.func(value)
    if not isinstance(limit, Interval):
        return True
    bounds = ((operator.ge, limit.ge), (operator.le, limit.le), (operator.lt, limit.lt))
    return all(bound is None or compare(value, bound) for compare, bound in bounds)


def base(hint: Any) -> type:
    """The plain type behind limits: float for `Share`, str for a `Literal`."""
    if typing.get_origin(hint) is Annotated:
        return base(typing.get_args(hint)[0])
    return str if typing.get_origin(hint) is Literal else hint


def expected(hint: Any) -> str:
    """The limits of a type in words, such as "0 to less than 1"; "" if it has none."""
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(typing.get_args(hint))}"
    for limit in getattr(hint, "__metadata__", ()):
        if isinstance(limit, DocInfo):
            return limit.documentation
        if isinstance(limit, Interval):
            if limit.lt is not None:
                return f"{limit.ge} to less than {limit.lt}"
            return f"{limit.ge} or more" if limit.le is None else f"{limit.ge} to {limit.le:,}"
    return ""


def steps(duration: str, *, steps_per_epoch: float, batch_size: int, total: int = 0) -> int:
    """`"5 epochs"`, `"200 steps"`, `"10000 examples"` or `"5 %"` (of `total` steps) in steps."""
    match = _DURATION.fullmatch(duration.strip())
    if match is None:
        raise ConfigError(f"duration {duration!r}: expected {_EXPECTED}")
    if len(match[1]) > _DIGITS or not math.isfinite(float(match[1])):
        raise ConfigError(f"duration {duration[:40]!r} is longer than any run; write a smaller one")
    sizes = {"step": 1.0, "epoch": steps_per_epoch, "example": 1 / batch_size}
    sizes |= {"%": total / 100, "percent": total / 100}
    return round(float(match[1]) * sizes[match[2].rstrip("s")])


def nearest(name: str, known: Iterable[str], what: str = "known keys") -> str:
    """Advice for an unknown name: the known one that is most like it, or else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{what}: {', '.join(known)}"
