"""UCF101: classInd.txt, the lists of one of three splits, and the videos; 101 human actions.

The first three groups of the training list become `val`; `val=false` trains on all of it, as
published numbers do.
"""

import pathlib
from typing import Literal

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options

_AT = "https://www.crcv.ucf.edu/data/UCF101.php (UCF101TrainTestSplits-RecognitionTask.zip)"
_PUBLISHED = 13_320
_HELD_OUT = 3


def clips(
    source: str, options: Options, *, split: Literal[1, 2, 3] = 1, val: bool = True
) -> Listing:
    """Lists the clips of one official split, with labels in the order of classInd.txt.

    Raises:
        ValueError: a list is missing or contradicts another, or none of its clips exists.
    """
    folders = official.Folders(source, options.media)
    labels = _labels(folders.file("classInd.txt", at=_AT))
    # The folder HandstandPushups holds files HandStandPushups; copies spell the class either way.
    by_folder = {name.lower(): name for name in labels}
    wanted = []
    for subset in ("train", "test"):
        path = folders.file(f"{subset}list0{split}.txt", at=_AT)
        lines = official.lines(path)
        # The first groups for training: 8 to 10 of split 1, 1 to 3 of the others.
        groups = sorted({_group(line) for line in lines})
        held_out = groups[:_HELD_OUT] if val and subset == "train" else []
        for line in lines:
            # `Archery/v_Archery_g08_c01.avi 3`; lists of tests have no number.
            file, *number = line.split()
            label = by_folder.get(file.partition("/")[0].lower())
            if label is None or (number and number[0] != str(labels.index(label) + 1)):
                raise ValueError(
                    f"{path}: {line!r} does not agree with classInd.txt; get both anew"
                )
            kept = "val" if _group(file) in held_out else subset
            stem = pathlib.PurePosixPath(file).stem
            names = dict.fromkeys((stem, stem.replace("HandStand", "Handstand")))
            entry = Entry(file, "", "", kept, (label,))
            wanted.append(library.Wanted(entry, tuple(names)))
    return library.Library(folders.media).listing(wanted, labels=labels, published=_PUBLISHED)


def _labels(path: pathlib.Path) -> tuple[str, ...]:
    """Names in the order of lines such as `3 Archery`."""
    numbered = []
    for line in official.lines(path):
        number, _, name = line.partition(" ")
        if not (number.isdecimal() and name):
            raise ValueError(f"{path}: {line!r} is not a number and a class; get it from {_AT}")
        numbered.append((int(number), name))
    return official.labels(numbered, path)


def _group(line: str) -> str:
    """The source video, `08` of `v_Archery_g08_c01.avi`: its clips stay together."""
    return line.rpartition("_g")[2][:2]
