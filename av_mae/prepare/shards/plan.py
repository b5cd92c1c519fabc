"""What is to be made: settings, and which clip goes into which shard, from the list of clips."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Sequence

from av_mae.prepare import datasets
from av_mae.prepare.lists import listing
from av_mae.prepare.media import container


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the content of the records.

    Attributes:
        name: of the data set, in the names of its files.
        fps: frames a second.
        short_side: pixels that the short side is scaled down to.
        jpeg_quality: 1 to 95.
    """

    name: str
    fps: float = 12.5
    short_side: int = 256
    jpeg_quality: int = 90
    clips_per_shard: int = 64
    limits: container.Limits = container.DEFAULT_LIMITS


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file to write, and the clips it takes, in their order."""

    file: str
    split: str
    entries: tuple[datasets.Entry, ...]


def shards(entries: Iterable[datasets.Entry], name: str, clips_per_shard: int) -> list[Shard]:
    """Deals the clips of each split, shuffled, into shards of about equal size.

    The order is that of a hash of the ids: every shard is a fair sample of its split.
    """
    splits: dict[str, list[datasets.Entry]] = {}
    for entry in entries:
        splits.setdefault(entry.split, []).append(entry)
    planned = []
    for split in sorted(splits, key=_split_order):
        clips = sorted(splits[split], key=lambda entry: listing.order(entry.id))
        count = math.ceil(len(clips) / clips_per_shard)
        for i in range(count):
            file = f"{name}-{split}.tfrecord-{i:05d}-of-{count:05d}"
            part = clips[i * len(clips) // count : (i + 1) * len(clips) // count]
            planned.append(Shard(file, split, tuple(part)))
    return planned


def digest(entries: Iterable[datasets.Entry]) -> str:
    """Tells two lists of clips apart, whatever their order and wherever their files lie."""
    nowhere = (dataclasses.replace(entry, path="") for entry in entries)
    lines = sorted(json.dumps(dataclasses.asdict(entry)) for entry in nowhere)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def label_names(entries: Sequence[datasets.Entry], given: Sequence[str] | None) -> tuple[str, ...]:
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


def untrained(entries: Iterable[datasets.Entry]) -> list[str]:
    """Labels of other splits that no training clip has, if there are labelled training clips."""
    train: set[str] = set()
    others: set[str] = set()
    for entry in entries:
        (train if entry.split == "train" else others).update(entry.labels)
    return sorted(others - train) if train else []


def _split_order(split: str) -> tuple[int, str]:
    known = list(dict.fromkeys(listing.SPLITS.values()))
    return (known.index(split) if split in known else len(known), split)
