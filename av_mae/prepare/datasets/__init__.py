"""The data sets that can be prepared by name: one module each, found by its file name.

A data set is one file here: its name is the value of `--dataset`, its docstring is its help, and
it has a function `clips(source: str, options: Options) -> Listing`. Keyword-only parameters of that
function are its arguments on the command line: `--dataset=ucf101:split=2`. TAKES in the module
names the options that it uses; without it that is `media`.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable
from typing import Any

from av_mae.config import limits
from av_mae.prepare.lists import names as names_lib
from av_mae.prepare.lists.listing import Box, Entry, Kind, Listing, Options, Refused

__all__ = [
    "Box", "Entry", "Kind", "Listing", "Options", "Refused", "clips", "describe_arguments", "find",
    "names", "parse_arguments", "summary",
]  # fmt: skip


def names() -> list[str]:
    """The values of `--dataset`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> types.ModuleType:
    """The module of a data set.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in names():
        hint = limits.nearest(name, names(), "known")
        raise ValueError(f"--dataset={name} is not known; {hint}")
    return importlib.import_module(f"{__name__}.{name}")


def clips(dataset: str, source: str, options: Options) -> Listing:
    """Lists the clips of a data set named as on the command line: `ucf101` or `ucf101:split=2`.

    Raises:
        ValueError: no such data set or argument, an option that it does not use, or the source is
            not what the data set takes.
    """
    name, _, text = dataset.partition(":")
    module = find(name)
    for option in ("media", "val_share", "test_share", "ignore_columns"):
        is_given = getattr(options, option) not in (None, ())
        if is_given and option not in getattr(module, "TAKES", ("media",)):
            raise ValueError(f"--{option} means nothing for --dataset={name}; leave it out")
    if options.media is not None:
        options = dataclasses.replace(options, media=names_lib.place(options.media))
    given = parse_arguments(module.clips, text, name)
    return module.clips(names_lib.place(source), options, **given)


def summary(name: str) -> str:
    """`name: ` and the first line of the data set's help; its arguments on a second line."""
    module = find(name)
    known = describe_arguments(module.clips)
    line = f"{name}: {(module.__doc__ or '').partition(chr(10))[0]}"
    return f"{line}\n  {name}:{known}" if known else line


def parse_arguments(function: Callable[..., Any], text: str, name: str) -> dict[str, Any]:
    """The keyword arguments for a function from a text such as `split=2,val=false`.

    A comma separates arguments only where `name=` follows it, so that values may hold commas.

    Args:
        function: its keyword-only parameters define names, types and defaults.
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
        kind = known[key].annotation
        choices = _choices(kind)
        try:
            values[key] = choices[value] if choices else kind(value)
        except (KeyError, ValueError) as error:
            expected = f"one of {', '.join(choices)}" if choices else kind.__name__
            raise ValueError(f"{where}: {key} is {value!r}, expected {expected}") from error
    return values


def describe_arguments(function: Callable[..., Any]) -> str:
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
