"""VGGSound: vggsound.csv and ten-second pieces of YouTube videos, cut or whole; 309 sounds.

Classes are indexed in the alphabetical order of their names, as everywhere. `whole=false` says that
files named by the id alone are the ten seconds themselves and not the whole video; `kind=sound`
takes the sound alone, of files that may hold nothing else.
"""

import csv
from typing import Literal

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Listing, Options

_AT = "https://www.robots.ox.ac.uk/~vgg/data/vggsound/"
_SECONDS = 10.0


def clips(
    source: str, options: Options, *, whole: bool = True, kind: Literal["video", "sound"] = "video"
) -> Listing:
    """Lists the clips of `vggsound.csv`: YouTube id, start second, label, split.

    Raises:
        ValueError: the list is missing or damaged, or none of its clips exists.
    """
    folders = official.Folders(source, options.media)
    path = folders.file("vggsound.csv", at=_AT)
    entries, labels = [], set()
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) != 4 or row[3] not in ("train", "test"):
                raise ValueError(
                    f"{path}, line {number} is {','.join(row)!r}, expected YouTube id, start "
                    f"second, label, train or test; get the file again from {_AT}"
                )
            youtube, text, label, split = row
            start = official.seconds(text, path)
            entries.append(library.piece(youtube, start, start + _SECONDS, split, (label,)))
            labels.add(label)
    return library.Library(folders.media).listing(
        (library.of_video(entry, whole=whole, kind=kind) for entry in entries),
        labels=sorted(labels),
    )
