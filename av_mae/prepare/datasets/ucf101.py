"""UCF101: classInd.txt, the lists of one of three splits, and the videos; 101 human actions.

The first three groups of the training list become `val`; `val=false` trains on all of it, as
published numbers do.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Literal

from av_mae.prepare import datasets
from av_mae.prepare.lists import library, official

_AT = "https://www.crcv.ucf.edu/data/UCF101.php (UCF101TrainTestSplits-RecognitionTask.zip)"
_PUBLISHED = 13_320
_HELD_OUT = 3


def clips(
    source: str, options: datasets.Options, *, split: Literal[1, 2, 3] = 1, val: bool = True
) -> datasets.Listing:
    """Lists the clips of one official split, with labels in the order of classInd.txt.

    Raises:
        ValueError: a list is missing or contradicts another, or none of its clips is there.
    """
    folders = official.Folders.of(source, options.media)
    labels = _labels(folders.file("classInd.txt", at=_AT))
    trained = folders.file(f"trainlist0{split}.txt", at=_AT)
    tested = folders.file(f"testlist0{split}.txt", at=_AT)
    # The folder HandstandPushups holds files HandStandPushups; copies spell the class either way.
    by_folder = {name.lower(): name for name in labels}
    entries = list(_entries(trained, "train", by_folder, labels))
    if val:
        entries = _hold_out(entries)
    entries += _entries(tested, "test", by_folder, labels)
    return library.Library(folders.media).listing(
        map(_wanted, entries), labels=labels, published=_PUBLISHED
    )


def _labels(path: pathlib.Path) -> tuple[str, ...]:
    """Names in the order of lines such as `3 Archery`."""
    numbered = {}
    for line in official.lines(path):
        number, _, name = line.partition(" ")
        if not (number.isdecimal() and name):
            raise ValueError(f"{path}: {line!r} is not a number and a class; get it from {_AT}")
        numbered[int(number)] = name
    return official.unique((numbered[number] for number in sorted(numbered)), path)


def _entries(
    path: pathlib.Path, split: str, by_folder: Mapping[str, str], labels: tuple[str, ...]
) -> Iterator[datasets.Entry]:
    """Lines such as `Archery/v_Archery_g08_c01.avi 3`; lists of tests have no number."""
    for line in official.lines(path):
        file, *number = line.split()
        label = by_folder.get(file.partition("/")[0].lower())
        if label is None or (number and number[0] != str(labels.index(label) + 1)):
            raise ValueError(f"{path}: {line!r} does not agree with classInd.txt; get both anew")
        yield datasets.Entry(file, "", "", split, (label,))


def _hold_out(entries: list[datasets.Entry]) -> list[datasets.Entry]:
    """Moves the first groups to `val`: 8 to 10 of split 1, 1 to 3 of the others."""
    held_out = sorted({_group(entry) for entry in entries})[:_HELD_OUT]
    return [
        dataclasses.replace(entry, split="val") if _group(entry) in held_out else entry
        for entry in entries
    ]


def _group(entry: datasets.Entry) -> str:
    """The source video, `08` of `v_Archery_g08_c01.avi`: its clips stay together."""
    return entry.id.rpartition("_g")[2][:2]


def _wanted(entry: datasets.Entry) -> library.Wanted:
    name = pathlib.PurePosixPath(entry.id).stem
    respelled = name.replace("HandStand", "Handstand")
    return library.Wanted(entry, (name,) if name == respelled else (name, respelled))
