"""Arguments behind the name of a data set, `ucf101:split=2,val=false`: keywords of its function.

A function's keyword-only parameters say which there are, of which type, and their defaults.
"""

import difflib
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any


def parse(function: Callable[..., Any], text: str, name: str) -> dict[str, Any]:
    """The keyword arguments that a text such as `split=2,val=false` gives to a function.

    A comma separates arguments only where `name=` follows it, so that values may hold commas.

    Args:
        name: of the data set, for messages.

    Raises:
        ValueError: an argument that the function has not, or a value that it does not take.
    """
    known = _keywords(function)
    values = {}
    for part in re.split(r",(?=\w+=)", text) if text else []:
        key, equals, value = part.partition("=")
        if key not in known:
            raise ValueError(_unknown(name, key, known))
        if not equals:
            raise ValueError(f"--dataset={name}: {key} has no value; write {key}=VALUE")
        values[key] = _value(known[key][0], value, f"--dataset={name}: {key}")
    return values


def describe(function: Callable[..., Any]) -> str:
    """The arguments with what they take, the default first: `split=1|2|3,val=true|false`."""
    return ",".join(
        f"{key}={'|'.join(_in_order(kind, default))}"
        for key, (kind, default) in _keywords(function).items()
    )


def _keywords(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Type and default of every keyword-only parameter."""
    hints = typing.get_type_hints(function)
    return {
        key: (hints[key], parameter.default)
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _choices(kind: Any) -> dict[str, Any]:
    """What may be written and what it means; empty for a type that takes any text."""
    values = (True, False) if kind is bool else typing.get_args(kind)
    return {str(value).lower() if kind is bool else str(value): value for value in values}


def _in_order(kind: Any, default: Any) -> list[str]:
    choices = _choices(kind)
    first = [text for text, value in choices.items() if value == default]
    return first + [text for text in choices if text not in first] or [kind.__name__.upper()]


def _value(kind: Any, text: str, where: str) -> Any:
    choices = _choices(kind)
    if choices:
        if text not in choices:
            raise ValueError(f"{where} is {text!r}, expected one of {', '.join(choices)}")
        return choices[text]
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"{where} is {text!r}, expected {kind.__name__}") from error


def _unknown(name: str, key: str, known: dict[str, Any]) -> str:
    if not known:
        return f"--dataset={name} takes no arguments, but {key!r} is given"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"--dataset={name} has no argument {key!r}; {hint}"
