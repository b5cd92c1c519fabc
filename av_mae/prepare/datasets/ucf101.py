"""UCF101: classInd.txt, the lists of one of three splits, and the videos; 101 human actions.

The first three groups of the training list become `val`; `val=false` trains on all of it, as
published numbers do.
"""

import dataclasses
import pathlib
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
        ValueError: a list is missing or contradicts another, or none of its clips exists.
    """
    folders = official.Folders.of(source, options.media)
    labels = _labels(folders.file("classInd.txt", at=_AT))
    lists = [
        (folders.file(f"trainlist0{split}.txt", at=_AT), "train"),
        (folders.file(f"testlist0{split}.txt", at=_AT), "test"),
    ]
    # The folder HandstandPushups holds files HandStandPushups; copies spell the class either way.
    by_folder = {name.lower(): name for name in labels}
    entries = []
    for path, name in lists:
        # Lines such as `Archery/v_Archery_g08_c01.avi 3`; lists of tests have no number.
        for line in official.lines(path):
            file, *number = line.split()
            label = by_folder.get(file.partition("/")[0].lower())
            if label is None or (number and number[0] != str(labels.index(label) + 1)):
                raise ValueError(
                    f"{path}: {line!r} does not agree with classInd.txt; get both anew"
                )
            entries.append(datasets.Entry(file, "", "", name, (label,)))
    return library.Library(folders.media).listing(
        map(_wanted, _hold_out(entries) if val else entries), labels=labels, published=_PUBLISHED
    )


def _labels(path: pathlib.Path) -> tuple[str, ...]:
    """Names in the order of lines such as `3 Archery`."""
    numbered = []
    for line in official.lines(path):
        number, _, name = line.partition(" ")
        if not (number.isdecimal() and name):
            raise ValueError(f"{path}: {line!r} is not a number and a class; get it from {_AT}")
        numbered.append((int(number), name))
    return official.labels(numbered, path)


def _hold_out(entries: list[datasets.Entry]) -> list[datasets.Entry]:
    """Moves the first groups for training to `val`: 8 to 10 of split 1, 1 to 3 of the others.

    A group is one source video, `08` of `v_Archery_g08_c01.avi`: its clips stay together.
    """
    groups = [entry.id.rpartition("_g")[2][:2] for entry in entries]
    of_train = {g for g, entry in zip(groups, entries, strict=True) if entry.split == "train"}
    held_out = sorted(of_train)[:_HELD_OUT]
    return [
        dataclasses.replace(entry, split="val")
        if entry.split == "train" and group in held_out
        else entry
        for group, entry in zip(groups, entries, strict=True)
    ]


def _wanted(entry: datasets.Entry) -> library.Wanted:
    name = pathlib.PurePosixPath(entry.id).stem
    respelled = name.replace("HandStand", "Handstand")
    return library.Wanted(entry, (name,) if name == respelled else (name, respelled))
