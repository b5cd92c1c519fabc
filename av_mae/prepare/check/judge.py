"""What may be wrong with clips that can be read: values, labels, counts, and duplicates."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from av_mae.input import records
from av_mae.prepare.check import alike, measure, read
from av_mae.prepare.check.findings import Findings
from av_mae.prepare.lists import splits as splits_lib

# Seconds that sound and pictures may end, or begin, apart.
_APART = 0.5
_QUIET = -60.0
_CLIPPED = 0.01
# Two parts of a file are one clip if they share more than this fraction of the shorter one.
_OVERLAP = 0.5
# Clips named in one example.
_NAMED = 3


def judge(
    info: records.Info,
    splits: Sequence[read.Contents],
    rejections: Mapping[str, int | None],
    found: Findings,
) -> None:
    """Adds to `found` what may be wrong.

    Args:
        rejections: number of rows of rejected.csv and partial.csv; None without the file.
    """
    if not splits:
        found.add("empty split", "there is no split at all")
    for split in splits:
        _check_clips(info, split, found)
        if not len(split.rows) and not split.listed:
            found.add("empty split", split.name)
        if split.name not in splits_lib.READ:
            found.add("split of another name", f"{split.name}: {len(split.rows):,} clips")
        if info.labels and split.unlabelled:
            what = f"{split.name}: {split.unlabelled:,} clips"
            found.add("no label", what, count=split.unlabelled)

    trained = next((split.labels for split in splits if split.name == "train"), None)
    counts = sum((split.labels for split in splits), np.zeros(len(info.labels), np.int64))
    for index, name in enumerate(info.labels):
        if not counts[index]:
            found.add("label without clips", repr(name))
        elif trained is not None and trained.any() and not trained[index]:
            found.add("label without training clips", f"{name!r}, {counts[index]:,} in others")

    # The official lists, and what the preparation counted.
    rows = {split.name: split.rows for split in splits}
    lists = info.counts.get("listed", {})
    for name, expected in lists.items():
        missing = expected - len(rows.get(name, ()))
        if missing > 0:
            what = f"{name}: {expected - missing:,} of {expected:,} listed"
            found.add("fewer than published", f"{what}, {missing / expected:.1%} missing")
    published, in_lists = info.counts.get("published"), sum(lists.values())
    if published is not None and in_lists != published:
        found.add("other lists", f"{in_lists:,} clips listed, {published:,} published")
    without_sound = sum(int((of["samples"] == 0).sum()) for of in rows.values())
    for name, value in {**rejections, "without_sound": without_sound}.items():
        counted = info.counts.get(name)
        if counted is not None and value is None:
            found.add("not as counted", f"{name}.csv is missing")
        elif counted is not None and value != counted:
            what = f"{name}: {value:,} found, {records.INFO_FILE} says {counted:,}"
            found.add("not as counted", what)

    if splits:
        _find_duplicates(splits, found)


def _check_clips(info: records.Info, split: read.Contents, found: Findings) -> None:
    rows = split.rows
    heard, moving = rows["samples"] > 0, rows["frames"] > 1
    longer = np.where(heard & moving, measure.sound_excess(rows), 0)
    silent = heard & np.isneginf(rows["peak"])
    late = heard & ~silent & (rows["before"] > _APART)
    quiet = heard & ~silent & (rows["rms"] < _QUIET)
    large = np.minimum(rows["height"], rows["width"]) > info.short_side + 1
    clipped = heard & (rows["clipped"] > _CLIPPED)
    other_rate = moving & (np.abs(rows["fps"] - info.fps) > 1e-3)
    # Which clips are strange, and the number that makes clip i so.
    strange = {
        "other frame rate": (other_rate, lambda i: f" ({rows['fps'][i]:g} a second)"),
        "larger than asked": (large, lambda i: f" ({rows['width'][i]} x {rows['height'][i]})"),
        "sound shorter than pictures": (longer < -_APART, lambda i: f" (by {-longer[i]:.1f} s)"),
        "sound longer than pictures": (longer > _APART, lambda i: f" (by {longer[i]:.1f} s)"),
        "late sound": (late, lambda i: f" ({rows['before'][i]:.1f} s)"),
        "digital silence": (silent, lambda i: ""),
        "very quiet": (quiet, lambda i: f" ({rows['rms'][i]:.0f} dBFS)"),
        "clipped sound": (clipped, lambda i: f" ({rows['clipped'][i]:.1%})"),
        "still pictures": (rows["still"], lambda i: ""),
    }
    for kind, (where, amount) in strange.items():
        places = np.flatnonzero(where)
        if len(places):
            named = ", ".join(f"{split.ids[i]!r}{amount(i)}" for i in places[:_NAMED])
            more = f" and {len(places) - _NAMED:,} more" if len(places) > _NAMED else ""
            found.add(kind, f"{split.name}: {named}{more}", count=len(places))


def _find_duplicates(splits: Sequence[read.Contents], found: Findings) -> None:
    """Clips that occur twice by id, by content, by source, and by looks."""
    rows = np.concatenate([split.rows for split in splits])
    ids = [id for split in splits for id in split.ids]
    split_of = np.repeat(np.arange(len(splits)), [len(split.rows) for split in splits])
    names = [split.name for split in splits]

    def in_two_splits(group: np.ndarray) -> bool:
        return len(set(split_of[group].tolist())) > 1

    def named(group: np.ndarray) -> str:
        """Ids with their splits, one of each split first."""
        order = list(dict.fromkeys([*_first_of_each(group, split_of).tolist(), *group.tolist()]))
        shown = [f"{ids[i]!r} ({names[split_of[i]]})" for i in order[:_NAMED]]
        more = [f"{len(order) - len(shown):,} more"] if len(order) > len(shown) else []
        return " and ".join([*shown, *more])

    for group in _equal(rows["id"]):
        found.add("id twice", named(group), count=len(group) - 1)
    pictures, sound, content = rows["pictures"], rows["sound"], rows["content"]
    for across, within, key, other in (
        ("clip in two splits", "same clip twice in a split", content, np.arange(len(rows))),
        ("same pictures in two splits", "same pictures twice in a split", pictures, content),
        ("same sound in two splits", "same sound twice in a split", sound, content),
    ):
        for group in _equal(key):
            several = _first_of_each(group, other)  # the others are reported already
            if len(several) > 1:
                kind = across if in_two_splits(several) else within
                found.add(kind, named(several), count=len(several) - 1)
    for pair in alike.pairs(rows):
        both = np.array(pair)
        across = in_two_splits(both)
        found.add("look-alikes in two splits" if across else "look-alikes in a split", named(both))

    # Parts of one file in several splits: overlapping parts are one clip, others are not.
    for group in filter(in_two_splits, _equal(rows["source"])):
        group = group[np.argsort(rows["start"][group], kind="stable")]
        starts, lengths = rows["start"][group], rows["duration"][group]
        shared = np.minimum(starts[:-1] + lengths[:-1], starts[1:] + lengths[1:]) - starts[1:]
        same = shared > _OVERLAP * np.minimum(lengths[:-1], lengths[1:])
        same &= split_of[group[:-1]] != split_of[group[1:]]
        same &= content[group[:-1]] != content[group[1:]]
        for i in np.flatnonzero(same):
            found.add("clip in two splits", named(group[i : i + 2]))
        if not same.any() and len(set(content[group].tolist())) > 1:
            found.add("source in two splits", named(group))


def _equal(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of each two or more that have the same key; 0 equals nothing."""
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
