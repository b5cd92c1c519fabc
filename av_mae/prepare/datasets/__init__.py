"""Where clips come from: every module of this package lists the clips of one kind of source.

A data set is one file here: its name is the value of `--dataset`, its docstring says what it takes,
and it has a function `clips(source: str, options: Options) -> Listing`. Keyword-only parameters of
that function are its arguments on the command line: `--dataset=ucf101:split=2`. It may say in TAKES
which of `Options` that can be given it has a use for; otherwise that is `media`.
"""

import collections
import dataclasses
import difflib
import hashlib
import importlib
import os
import pkgutil
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from av_mae.prepare.lists import arguments

Kind = Literal["video", "sound", "picture"]
VAL_SHARE = 0.1
SPLITS = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Box:
    """Who or what is seen where, at one moment.

    Attributes:
        x1, y1, x2, y2: left, top, right and bottom in shares of the picture's width and height.
        time: seconds on the file's clock.
        labels: names, all of them among those of the entry.
        person: who it is, the same number all over a video; -1 if that is not known.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    time: float
    labels: tuple[str, ...]
    person: int = -1


@dataclasses.dataclass(frozen=True)
class Entry:
    """One clip to prepare.

    Attributes:
        id: unique in the data set.
        path: the media file.
        source: the path as the user gave it, kept in the record.
        labels: names; empty for an unlabelled clip.
        start, end: the part of the file, seconds; None is its beginning or end.
        kind: what is taken from the file: the video with its sound, the sound alone, or the one
            picture that it is.
        boxes: what is seen in the pictures of a video.
    """

    id: str
    path: str
    source: str
    split: str
    labels: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    kind: Kind = "video"
    boxes: tuple[Box, ...] = ()


@dataclasses.dataclass(frozen=True)
class Refused:
    """A clip that is rejected before anything is decoded."""

    id: str
    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """All clips of a source, and what is known of them beforehand.

    Attributes:
        labels: names in the index order of the data set; None where it has no order of its own.
        listed: numbers of clips by split in the official lists, whether their files are there or
            not; empty where there are no such lists.
        published: number of clips in the official lists when their authors published them; None
            where it is not known or the lists differ.
        doubts: sentences on what was chosen where the source is ambiguous.
    """

    entries: tuple[Entry, ...]
    refused: tuple[Refused, ...] = ()
    labels: tuple[str, ...] | None = None
    listed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    published: int | None = None
    doubts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line says about a source.

    Attributes:
        out: the folder that is written.
        media: folder of the media; None is that of the list, or the source.
        val_share: share of the clips that goes to `val` where the source has no splits; None is
            VAL_SHARE.
        ignore_columns: columns of a csv that are not read.
        workers: processes that may be used.
    """

    out: str = ""
    media: str | None = None
    val_share: float | None = None
    ignore_columns: tuple[str, ...] = ()
    workers: int = 1


def names() -> list[str]:
    """The values of `--dataset`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> types.ModuleType:
    """The module of a data set.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names())}"
        raise ValueError(f"--dataset={name} is not known; {hint}")
    return importlib.import_module(f"{__name__}.{name}")


def clips(dataset: str, source: str, options: Options) -> Listing:
    """Lists the clips of a data set named as on the command line: `ucf101` or `ucf101:split=2`.

    Raises:
        ValueError: no such data set or argument, an option that it has no use for, or the source
            is not what the data set takes.
    """
    name, _, text = dataset.partition(":")
    module = find(name)
    _check_used(name, getattr(module, "TAKES", ("media",)), options)
    return module.clips(source, options, **arguments.parse(module.clips, text, name))


def _check_used(name: str, takes: Sequence[str], options: Options) -> None:
    given = {
        "media": options.media is not None,
        "val_share": options.val_share is not None,
        "ignore_columns": bool(options.ignore_columns),
    }
    for option, is_given in given.items():
        if is_given and option not in takes:
            raise ValueError(f"--{option} means nothing for --dataset={name}; leave it out")


def summary(name: str) -> str:
    """`name: ` and what the data set takes, in one line; its arguments in another."""
    module = find(name)
    known = arguments.describe(module.clips)
    line = f"{name}: {(module.__doc__ or '').partition(chr(10))[0]}"
    return f"{line}\n  {name}:{known}" if known else line


def readable(name: str) -> str:
    """A file name as text that any file and terminal takes; bytes that are no text are escaped."""
    return os.fsencode(name).decode(errors="backslashreplace")


def order(id: str) -> bytes:
    """A sort key that shuffles clips in the same way everywhere."""
    return hashlib.sha256(id.encode()).digest()


def split_off(entries: Iterable[Entry], share: float | None) -> list[Entry]:
    """Moves a share of every label's clips from `train` to `val`, the same clips every time.

    A label with two clips or more keeps at least one of them in each, if `share` is above 0.
    """
    share = VAL_SHARE if share is None else share
    if not 0.0 <= share < 1.0:
        raise ValueError(f"--val_share is {share}, expected 0 <= share < 1")
    groups: dict[Sequence[str], list[Entry]] = collections.defaultdict(list)
    for entry in entries:
        groups[entry.labels].append(entry)
    moved = []
    for group in groups.values():
        group.sort(key=lambda entry: order(entry.id))
        count = round(share * len(group))
        if share > 0 and len(group) > 1:
            count = min(max(count, 1), len(group) - 1)
        moved += [dataclasses.replace(entry, split="val") for entry in group[:count]]
        moved += group[count:]
    return moved
