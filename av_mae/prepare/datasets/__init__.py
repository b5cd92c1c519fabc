"""The data sets that can be prepared by name: one module each, found by its file name.

A data set is one file here: its name is the value of `--dataset`, its docstring is its help, and
it has a function `clips(source: str, options: Options) -> Listing`. Keyword-only parameters of that
function are its arguments on the command line: `--dataset=ucf101:split=2`. TAKES in the module
names the options that it uses; without it that is `media`.
"""

import importlib
import pkgutil
import types

from av_mae.config import limits
from av_mae.prepare.lists import arguments
from av_mae.prepare.lists.listing import Box, Entry, Kind, Listing, Options, Refused

__all__ = [
    "Box", "Entry", "Kind", "Listing", "Options", "Refused", "clips", "find", "names", "summary",
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
    given = {
        "media": options.media is not None,
        "val_share": options.val_share is not None,
        "ignore_columns": bool(options.ignore_columns),
    }
    for option, is_given in given.items():
        if is_given and option not in getattr(module, "TAKES", ("media",)):
            raise ValueError(f"--{option} means nothing for --dataset={name}; leave it out")
    return module.clips(source, options, **arguments.parse(module.clips, text, name))


def summary(name: str) -> str:
    """`name: ` and the first line of the data set's help; its arguments on a second line."""
    module = find(name)
    known = arguments.describe(module.clips)
    line = f"{name}: {(module.__doc__ or '').partition(chr(10))[0]}"
    return f"{line}\n  {name}:{known}" if known else line
