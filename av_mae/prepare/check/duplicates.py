"""Clips that are there twice: by id, by content, by source, and by looks."""

from collections.abc import Iterator, Sequence

import numpy as np

from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import reading

# Odd, so that multiplying by it loses nothing.
_MIX = np.uint64(0x9E3779B97F4A7C15)
# Two parts of a file are one clip if they share more than this of the shorter one.
_OVERLAP = 0.5
# Clips named of those that are alike.
_NAMED = 3


def find(splits: Sequence[reading.Split], found: findings_lib.Findings) -> None:
    """Adds what is there twice, across and within splits, to `found`."""
    if not splits:
        return
    clips = _Clips(splits)
    rows, content = clips.rows, clips.content
    for group in _equal(rows["id"]):
        found.add("id twice", clips.named(group), len(group) - 1)
    for across, within, key, other in (
        ("clip in two splits", "same clip twice in a split", content, np.arange(len(rows))),
        (
            "same pictures in two splits",
            "same pictures twice in a split",
            rows["pictures"],
            content,
        ),
        ("same sound in two splits", "same sound twice in a split", rows["sound"], content),
        ("look-alikes in two splits", "look-alikes in a split", rows["look"], rows["pictures"]),
    ):
        for group in _equal(key):
            several = _first_of_each(group, other)  # the others are reported already
            if len(several) > 1:
                kind = across if clips.in_two_splits(several) else within
                found.add(kind, clips.named(several), len(several) - 1)
    for group in _equal(rows["source"]):
        if clips.in_two_splits(group):
            _same_source(clips, group, found)


class _Clips:
    """All clips in one table.

    Attributes:
        rows: `[clips]` of `measure.COLUMNS`.
        content: digest of pictures and sound `[clips]`.
    """

    def __init__(self, splits: Sequence[reading.Split]) -> None:
        self.rows = np.concatenate([split.rows for split in splits])
        self.content = self.rows["pictures"] * _MIX + self.rows["sound"]
        self.split = np.repeat(np.arange(len(splits)), [len(split.rows) for split in splits])
        self._ids = [id for split in splits for id in split.ids]
        self._names = [split.name for split in splits]

    def in_two_splits(self, group: np.ndarray) -> bool:
        return len(set(self.split[group].tolist())) > 1

    def named(self, group: np.ndarray) -> str:
        """Ids with their splits, one of each split first."""
        first = _first_of_each(group, self.split)
        order = [*first.tolist(), *(i for i in group.tolist() if i not in set(first.tolist()))]
        shown = [f"{self._ids[i]!r} ({self._names[self.split[i]]})" for i in order[:_NAMED]]
        more = [f"{len(order) - len(shown):,} more"] if len(order) > len(shown) else []
        return " and ".join([*shown, *more])


def _same_source(clips: _Clips, group: np.ndarray, found: findings_lib.Findings) -> None:
    """Parts of one file in several splits: the same part is one clip, others are told apart."""
    rows, content = clips.rows, clips.content
    group = group[np.argsort(rows["start"][group], kind="stable")]
    starts, lengths = rows["start"][group], rows["duration"][group]
    shared = np.minimum(starts[:-1] + lengths[:-1], starts[1:] + lengths[1:]) - starts[1:]
    same = shared > _OVERLAP * np.minimum(lengths[:-1], lengths[1:])
    same &= clips.split[group[:-1]] != clips.split[group[1:]]
    same &= content[group[:-1]] != content[group[1:]]
    for i in np.flatnonzero(same):
        found.add("clip in two splits", clips.named(group[i : i + 2]))
    if not same.any() and len(set(content[group].tolist())) > 1:
        found.add("source in two splits", clips.named(group))


def _equal(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of each two or more that have the same key; 0 is like nothing."""
    order = np.argsort(keys, kind="stable")
    order = order[keys[order] != 0]
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    bounds = np.concatenate([[0], edges, [len(order)]])
    for i in np.flatnonzero(np.diff(bounds) > 1):
        yield order[bounds[i] : bounds[i + 1]]


def _first_of_each(group: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The first of those of a group that have the same value of another key."""
    _, first = np.unique(key[group], return_index=True)
    return group[np.sort(first)]
