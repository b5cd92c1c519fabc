"""What decides the bytes of the records besides the media: settings, labels, what a shard holds."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from annotated_types import Interval

from av_mae.config import limits as limits_lib
from av_mae.prepare.lists import listing
from av_mae.prepare.lists import splits as splits_lib
from av_mae.prepare.lists.listing import Entry
from av_mae.prepare.media import container, frames

# Changes when the same media and settings would give other records.
REVISION = 2
# Of the digest in the name of a folder of a cache.
_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Settings:
    """How media are turned into records.

    Attributes:
        name: of the data set, in the names of its files.
        fps: frames a second.
        short_side: pixels that the short side is scaled down to.
    """

    name: str
    fps: Annotated[float, Interval(ge=0.1, le=240)] = 12.5
    short_side: Annotated[int, Interval(ge=2, le=8192)] = 256
    jpeg_quality: Annotated[int, Interval(ge=1, le=95)] = 90
    clips_per_shard: Annotated[int, Interval(ge=1, le=100_000)] = 64
    limits: container.Limits = container.DEFAULT_LIMITS

    def check(self) -> None:
        """Raises a ValueError for a setting that cannot be."""
        for key, hint in typing.get_type_hints(Settings, include_extras=True).items():
            limits_lib.check(hint, getattr(self, key), f"--{key}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"--name is {self.name!r}, expected letters a-z, digits and _")

    def fingerprint(self, entries: Iterable[Entry], labels: Sequence[str]) -> dict[str, Any]:
        """All that the bytes of the shards depend on, named after the flags."""
        values = dataclasses.asdict(self)
        del values["limits"]  # most of them decide what is rejected, not what is written
        return {
            "revision": REVISION,
            **values,
            "max_pixels": self.limits.pixels,
            "max_seconds": self.limits.seconds,
            "clips": digest(entries),
            "labels": list(labels),
        }

    def cached(
        self, cache: pathlib.Path, entries: Sequence[Entry], labels: Sequence[str] | None
    ) -> pathlib.Path:
        """The folder of these records in a cache: another one if a file or a setting changes.

        A file is known by its size and the time of its last change, not by where it lies.

        Raises:
            ValueError: labels that cannot be.
        """
        content = self.fingerprint(entries, label_names(entries, labels))
        content["files"] = []
        for entry in sorted(entries, key=lambda entry: entry.id):
            try:
                found = [os.stat(path) for path in frames.files(entry.path)]
                states = [n for one in found for n in (one.st_size, one.st_mtime_ns)]
                content["files"].append((entry.id, *states))
            except OSError:  # remote, or gone since it was listed
                content["files"].append((entry.id, entry.path))
        text = json.dumps(content, sort_keys=True)
        return cache / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A shard to write, and the clips that go into it, in their order."""

    file: str
    split: str
    entries: tuple[Entry, ...]


def digest(entries: Iterable[Entry]) -> str:
    """Tells two lists of clips apart, whatever their order and wherever their files lie."""
    lines = []
    for entry in entries:
        values = dataclasses.asdict(dataclasses.replace(entry, path=""))
        if entry.frame_rate is None:  # lists of before know no such key
            del values["frame_rate"]
        lines.append(json.dumps(values))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def assign(entries: Iterable[Entry], name: str, clips_per_shard: int) -> list[Assignment]:
    """Deals the clips of each split, shuffled, into shards of about equal size.

    The order is that of a hash of the ids: every shard is a fair sample of its split.
    """
    splits: dict[str, list[Entry]] = {}
    for entry in entries:
        splits.setdefault(entry.split, []).append(entry)
    known = list(dict.fromkeys([*splits_lib.READ, *sorted(splits)]))
    assignments = []
    for split in sorted(splits, key=known.index):
        clips = sorted(splits[split], key=lambda entry: listing.order(entry.id))
        count = math.ceil(len(clips) / clips_per_shard)
        for i in range(count):
            file = f"{name}-{split}.tfrecord-{i:05d}-of-{count:05d}"
            part = clips[i * len(clips) // count : (i + 1) * len(clips) // count]
            assignments.append(Assignment(file, split, tuple(part)))
    return assignments


def label_names(entries: Sequence[Entry], given: Sequence[str] | None) -> tuple[str, ...]:
    """Names in index order: as given, else sorted; all-digit names by their number.

    Raises:
        ValueError: a clip has a label that is not among the given ones, or one is given twice.
    """
    found = {name for entry in entries for name in entry.labels}
    if given is None:
        by_number = all(name.isdecimal() for name in found)
        return tuple(sorted(found, key=lambda name: (int(name) if by_number else 0, name)))
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise ValueError(f"--labels gives {twice[0]!r} twice")
    unknown = sorted(found - set(given))
    if unknown:
        example = next(entry for entry in entries if unknown[0] in entry.labels)
        raise ValueError(
            f"{len(unknown)} labels are not in --labels: {', '.join(map(repr, unknown[:5]))} "
            f"(clip {example.id!r}); add them, or correct the list of clips"
        )
    return tuple(given)


def untrained(entries: Sequence[Entry]) -> list[str]:
    """Labels of other splits that no training clip has, if there are labelled training clips."""
    train = {name for entry in entries if entry.split == "train" for name in entry.labels}
    others = {name for entry in entries if entry.split != "train" for name in entry.labels}
    return sorted(others - train) if train else []
