"""AVA-Kinetics: AVA's files, and those that box one second of clips of Kinetics-700.

A clip is `seconds` around a key frame. `classes=60` keeps only the actions that are scored;
`films=false` leaves out AVA's own clips.
"""

import collections
import dataclasses
import re
from typing import Literal

from av_mae.prepare.lists import ava, library, official
from av_mae.prepare.lists.listing import Listing, Options

# A ten-second clip of Kinetics, named after the part of the video that it is.
_CLIP = re.compile(r"(.+)_(\d{6})_(\d{6})")


def clips(
    source: str,
    options: Options,
    *,
    classes: Literal[80, 60] = 80,
    seconds: float = 3.0,
    films: bool = True,
) -> Listing:
    """Lists the key frames with boxes; labels are in the order of the action's numbers.

    A key frame is cut from the clip of Kinetics in which it is nearest to the middle, else from
    the whole video.

    Raises:
        ValueError: a list is missing or damaged, or none of its videos exists.
    """
    folders = official.Folders(source, options.media)
    names = ava.actions(folders, classes)
    # (first and last second, file name) of the clips of each video
    parts: dict[str, list[tuple[float, float, str]]] = collections.defaultdict(list)
    for path in library.media(folders.media):
        if named := _CLIP.fullmatch(path.stem):
            parts[named[1]].append((float(named[2]), float(named[3]), path.stem))

    wanted = []
    for split in ("train", "val"):
        path = folders.file(f"kinetics_{split}_v1.0.csv", at=ava.AT)
        for entry in ava.key_frames(path, names, split, seconds):
            file, time = entry.id.rpartition(",")[0], entry.boxes[0].time
            around = [part for part in parts[file] if part[0] <= time <= part[1]]
            if around:
                begin, _, file = min(around, key=lambda part: abs(part[0] + part[1] - 2 * time))
                entry = ava.moved(entry, begin)
            wanted.append(library.Wanted(entry, (), file))
    listing = library.Library(folders.media).listing(wanted, labels=tuple(names.values()))
    if not films:
        return listing

    other = ava.movies(folders, names, seconds)
    return dataclasses.replace(
        listing,
        entries=listing.entries + other.entries,
        refused=listing.refused + other.refused,
        listed=dict(collections.Counter(listing.listed) + collections.Counter(other.listed)),
    )
