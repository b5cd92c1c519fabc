"""Arguments after the name of a data set, `ucf101:split=2,val=false`: keywords of its function.

The function's keyword-only parameters define them: their names, types and defaults.
"""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from av_mae.config import limits


def parse(function: Callable[..., Any], text: str, name: str) -> dict[str, Any]:
    """The keyword arguments for a function from a text such as `split=2,val=false`.

    A comma separates arguments only where `name=` follows it, so that values may hold commas.

    Args:
        name: of the data set, for messages.

    Raises:
        ValueError: the function has no such argument, or does not take the value.
    """
    known, where = _keywords(function), f"--dataset={name}"
    values = {}
    for part in re.split(r",(?=\w+=)", text) if text else []:
        key, equals, value = part.partition("=")
        if not known:
            raise ValueError(f"{where} takes no arguments, but {key!r} is given")
        if key not in known:
            hint = limits.nearest(key, known, "known")
            raise ValueError(f"{where} has no argument {key!r}; {hint}")
        if not equals:
            raise ValueError(f"{where}: {key} has no value; write {key}=VALUE")
        values[key] = _value(known[key].annotation, value, f"{where}: {key}")
    return values


def describe(function: Callable[..., Any]) -> str:
    """The arguments with their values, the default first: `split=1|2|3,val=true|false`."""
    described = []
    for key, parameter in _keywords(function).items():
        choices = _choices(parameter.annotation)
        texts = sorted(choices, key=lambda text: choices[text] != parameter.default)
        described.append(f"{key}={'|'.join(texts) or parameter.annotation.__name__.upper()}")
    return ",".join(described)


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _choices(kind: Any) -> dict[str, Any]:
    """{text: value} of what may be written; empty for a type that takes any text."""
    if kind is bool:
        return {"true": True, "false": False}
    return {str(value): value for value in typing.get_args(kind)}


def _value(kind: Any, text: str, where: str) -> Any:
    choices = _choices(kind)
    if choices and text not in choices:
        raise ValueError(f"{where} is {text!r}, expected one of {', '.join(choices)}")
    try:
        return choices[text] if choices else kind(text)
    except ValueError as error:
        raise ValueError(f"{where} is {text!r}, expected {kind.__name__}") from error
