"""HMDB51: the lists of one of three splits, and the videos; 51 human actions.

A tenth of the videos that the training clips come from become `val`; `val=false` trains on all of
them, as published numbers do.
"""

import pathlib
import zlib
from typing import Literal

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options

_AT = (
    "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/ "
    "(test_train_splits.rar)"
)
_CLASSES = 51
_PUBLISHED = _CLASSES * (70 + 30)
_SPLITS = {"1": "train", "2": "test"}  # 0: in neither


def clips(
    source: str, options: Options, *, split: Literal[1, 2, 3] = 1, val: bool = True
) -> Listing:
    """Lists the clips of one official split, classes in the alphabetical order of their names.

    Raises:
        ValueError: lists are missing, or none of their clips exists.
    """
    folders = official.Folders(source, options.media)
    ending = f"_test_split{split}.txt"
    # Reversed, so that of several copies the nearest to the top is kept.
    found = reversed(folders.files(f"*{ending}", at=_AT))
    lists = {path.name.removesuffix(ending): path for path in found}
    wanted = []
    for label, path in sorted(lists.items()):
        # Lines such as `April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1`.
        for line in official.lines(path):
            file, _, number = line.rpartition(" ")
            if not file or number not in ("0", "1", "2"):
                raise ValueError(f"{path}: {line!r} is not the name of a file and 0, 1 or 2")
            if number == "0":
                continue
            # A video is held out with all clips that were cut from it.
            video = file.partition(f"_{label}_")[0]
            held_out = val and number == "1" and zlib.crc32(video.encode()) % 10 == 0
            name = pathlib.PurePosixPath(file.strip())
            subset = "val" if held_out else _SPLITS[number]
            entry = Entry(f"{label}/{name}", "", "", subset, (label,))
            wanted.append(library.Wanted(entry, (name.stem,)))
    return library.Library(folders.media).listing(
        wanted, labels=sorted(lists), published=_PUBLISHED
    )
