"""Which clip goes into which shard, and what the labels are called, from the list of clips."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from av_mae.prepare import datasets
from av_mae.prepare.lists import listing


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A shard to write, and the clips that go into it, in their order."""

    file: str
    split: str
    entries: tuple[datasets.Entry, ...]


def assign(entries: Iterable[datasets.Entry], name: str, clips_per_shard: int) -> list[Assignment]:
    """Deals the clips of each split, shuffled, into shards of about equal size.

    The order is that of a hash of the ids: every shard is a fair sample of its split.
    """
    splits: dict[str, list[datasets.Entry]] = {}
    for entry in entries:
        splits.setdefault(entry.split, []).append(entry)
    known = list(dict.fromkeys(listing.SPLITS.values()))
    known += sorted(splits.keys() - set(known))
    assignments = []
    for split in sorted(splits, key=known.index):
        clips = sorted(splits[split], key=lambda entry: listing.order(entry.id))
        count = math.ceil(len(clips) / clips_per_shard)
        for i in range(count):
            file = f"{name}-{split}.tfrecord-{i:05d}-of-{count:05d}"
            part = clips[i * len(clips) // count : (i + 1) * len(clips) // count]
            assignments.append(Assignment(file, split, tuple(part)))
    return assignments


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
