"""Types of config values that carry their limits, and the checker that reads them."""

import difflib
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from annotated_types import DocInfo, Interval, Predicate

Count = Annotated[int, Interval(ge=0)]
Size = Annotated[int, Interval(ge=1)]
Amount = Annotated[float, Interval(ge=0)]
Share = Annotated[float, Interval(ge=0, lt=1)]
Probability = Annotated[float, Interval(ge=0, le=1)]


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
    if not _within(hint, value):
        raise ConfigError(f"{where} is {value!r}, expected {expected(hint)}")
    return value


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
            return f"{limit.ge} or more" if limit.le is None else f"{limit.ge} to {limit.le}"
    return ""


def nearest(name: str, known: Iterable[str], what: str = "known keys") -> str:
    """Advice for an unknown name: the known one that is most like it, or else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{what}: {', '.join(known)}"


def _within(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    for limit in getattr(hint, "__metadata__", ()):
        if isinstance(limit, Predicate) and not limit.func(value):
            return False
        if isinstance(limit, Interval):
            least, most, less = limit.ge, limit.le, limit.lt
            if not (least is None or value >= least):  # also refuses NaN
                return False
            if not (most is None or value <= most) or not (less is None or value < less):
                return False
    return True
