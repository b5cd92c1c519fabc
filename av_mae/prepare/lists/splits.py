"""Splits: what people call them, and our own where a source has none."""

import collections
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from av_mae.input import storage
from av_mae.prepare.lists import names as names_lib
from av_mae.prepare.lists.listing import Entry, order

# The splits that every config reads.
READ = ("train", "val", "test")
VAL_SHARE = 0.1
_Labels = str | tuple[str, ...]
_WORDS = {
    "train": {"train", "training", "trn"},
    "val": {"val", "valid", "validate", "validation"},
    "dev": {"dev", "devel", "development"},
    "eval": {"eval", "evaluation"},
    "test": {"test", "testing", "tst"},
}
_KINDS = re.compile(
    r"[\s_-]*(set|split|data|videos?|clips?|images?|frames?|audios?|sounds?|samples?|files?|media)$"
)


def word(name: str) -> str | None:
    """What a split's name says: train, val, dev, eval or test; None for other names.

    'Test Set', 'training_split' and 'trainset' are what they say.
    """
    plain = _KINDS.sub("", name.strip().lower())
    return next((word for word, spellings in _WORDS.items() if plain in spellings), None)


def begins(name: str) -> str | None:
    """The split that a name such as train2017 or dev-clean begins with, if any."""
    found = re.match(r"[a-z]+(?=[\W\d_])", name.strip().lower())
    return word(name) or (found and word(found[0]))


def meanings(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """{name: split} of all names of a source, and a sentence on those that are taken for another.

    `dev` is `val`, and so is `eval` unless there is a `val` or `dev`: then it is the test. Where
    there is a test too, it stays what it is: two sets are never joined. Other names stay, in small
    letters.
    """
    words = {name: word(name) for name in names}
    there = set(words.values())
    splits = {name: name for name in READ}
    splits["dev"] = "dev" if "val" in there else "val"
    splits["eval"] = "val" if not there & {"val", "dev"} else "test"
    if splits["eval"] == "test" and "test" in there:
        splits["eval"] = "eval"
    found = {name: splits[of] if of else name.strip().lower() for name, of in words.items()}
    others = [f"{name!r} is {split}" for name, split in found.items() if name.strip() != split]
    return found, [f"names of splits: {', '.join(others)}"] if others else []


def unread(entries: Iterable[Entry]) -> list[str]:
    """A sentence on each split that only a config that names it reads."""
    clips = collections.Counter(entry.split for entry in entries)
    return [
        f"split {name!r} ({count:,} clips) is not train, val or test: nothing reads it unless a "
        f"config names it (dataset.train={name}, evaluators.NAME.split={name}); "
        "rename it if it is one of them"
        for name, count in clips.items()
        if name not in READ
    ]


def split_off(
    entries: Sequence[Entry], val_share: float | None, test_share: float | None = None
) -> tuple[list[Entry], list[str]]:
    """Moves a fraction of every label's clips from `train` to `val` and to `test`, always the same.

    Clips of one file stay together. A label with clips in two files or more keeps at least one
    file in each split whose share is above 0, as far as its files reach.

    Returns:
        The entries, and sentences on what was decided about files with several clips.

    Raises:
        ValueError: a share is not in [0, 1), or nothing is left for training.
    """
    shares = {"test": test_share or 0.0, "val": VAL_SHARE if val_share is None else val_share}
    for split, share in shares.items():
        if not 0.0 <= share < 1.0:
            raise ValueError(f"--{split}_share is {share}, expected 0 <= share < 1")
    if sum(shares.values()) >= 1.0:
        raise ValueError(
            f"--val_share {shares['val']} and --test_share {shares['test']} leave nothing to train "
            "on; their sum has to be less than 1"
        )
    real = functools.cache(lambda folder: os.path.realpath(folder))
    places = [_place(entry.path, real) for entry in entries]
    files: dict[str, list[Entry]] = collections.defaultdict(list)
    for place, entry in zip(places, entries, strict=True):
        files[place].append(entry)

    chosen: dict[str, str] = {}  # {file: split}
    left = 1.0
    for split, share in shares.items():
        rest = {file: clips for file, clips in files.items() if file not in chosen}
        chosen |= dict.fromkeys(_chosen(rest, share / left), split)
        left -= share
    moved = [
        dataclasses.replace(entry, split=chosen[place]) if place in chosen else entry
        for place, entry in zip(places, entries, strict=True)
    ]
    return moved, _told(files, chosen, [split for split, share in shares.items() if share])


def _place(path: str, real: Callable[[str], str]) -> str:
    """One name of a file, whatever links lead to it."""
    if storage.is_address(path):
        return path
    folder, name = os.path.split(path)
    place = os.path.join(real(folder), name)
    return names_lib.composed(os.path.realpath(place) if os.path.islink(place) else place)


def _chosen(files: Mapping[str, Sequence[Entry]], share: float) -> set[str]:
    """The files whose clips leave `train`, such that every label's share is as near as can be.

    Where every clip has a file of its own, clips with the same labels are shared out among
    themselves; else every label for itself, since few files hold the same labels.
    """
    shared = any(len(clips) > 1 for clips in files.values())
    parts = {  # {file: {label: number of clips}}
        file: collections.Counter(
            key for e in clips for key in ((shared and e.labels) or [e.labels])
        )
        for file, clips in files.items()
    }
    clips: collections.Counter[_Labels] = collections.Counter()
    holders: dict[_Labels, list[str]] = collections.defaultdict(list)
    for file in sorted(files, key=lambda file: min(order(entry.id) for entry in files[file])):
        clips.update(parts[file])
        for key in parts[file]:
            holders[key].append(file)
    wanted = {key: round(share * count) for key, count in clips.items()}
    for key, of in holders.items():
        if share > 0 and len(of) > 1:
            wanted[key] = min(max(wanted[key], 1), clips[key] - 1)
    taken: collections.Counter[_Labels] = collections.Counter()
    val: set[str] = set()

    def after(file: str, key: _Labels) -> int:
        return taken[key] + parts[file][key]

    def fits(file: str) -> bool:
        return all(after(file, key) <= wanted[key] for key in parts[file])

    def gain(file: str) -> int:
        """Clips by which all labels come nearer to what is wanted."""
        now = sum(abs(taken[key] - wanted[key]) for key in parts[file])
        return now - sum(abs(after(file, key) - wanted[key]) for key in parts[file])

    def may(file: str) -> bool:
        """Whether something of each label stays for training."""
        return all(
            after(file, key) < clips[key] or clips[key] == wanted[key] == 1 for key in parts[file]
        )

    def take(file: str) -> None:
        val.add(file)
        taken.update(parts[file])

    for suits in (fits, lambda file: gain(file) > 0):
        for file in dict.fromkeys(file for of in holders.values() for file in of):
            if file not in val and may(file) and suits(file):
                take(file)
    for key, of in holders.items():
        if wanted[key] and not taken[key] and len(of) > 1:
            take(max([file for file in of if may(file)] or of, key=gain))
    return val


def _told(
    files: Mapping[str, Sequence[Entry]], chosen: Mapping[str, str], splits: Sequence[str]
) -> list[str]:
    """What became of files that hold several clips: the split of each is chosen, else train."""
    several = [file for file, clips in files.items() if len(clips) > 1]
    if not several or not splits:
        return []
    clips = {split: sum(len(files[f]) for f, s in chosen.items() if s == split) for split in splits}
    every = sum(map(len, files.values()))
    if not any(clips.values()):
        where = "one file"
        if len(files) > 1:
            where = f"{len(files):,} files, of which no two share a label"
        return [
            f"all {every:,} clips are parts of {where}: none is in {' or '.join(splits)}, since "
            "parts of one recording would be in both splits; say in a column split which are for "
            "which"
        ]
    shares = " and ".join(f"{count / every:.0%} of all clips in {s}" for s, count in clips.items())
    return [
        f"{len(several):,} files hold several clips each: those of one file are in one split; "
        f"there are {shares}"
    ]
