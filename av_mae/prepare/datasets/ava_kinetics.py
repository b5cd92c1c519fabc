"""AVA-Kinetics: AVA's files, and those that box one second of clips of Kinetics-700.

A clip is `seconds` around a key frame. `classes=60` keeps only the actions that are scored;
`films=false` leaves out AVA's own clips.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Literal

from av_mae.prepare import datasets
from av_mae.prepare.lists import ava, library, official

# A ten-second clip of Kinetics, named after the part of the video that it is.
_CLIP = re.compile(r"(.+)_(\d{6})_(\d{6})")


def clips(
    source: str,
    options: datasets.Options,
    *,
    classes: Literal[80, 60] = 80,
    seconds: float = 3.0,
    films: bool = True,
) -> datasets.Listing:
    """Lists the key frames with boxes; labels are in the order of the action's numbers.

    Raises:
        ValueError: a list is missing or damaged, or none of its videos is there.
    """
    folders = official.Folders.of(source, options.media)
    names = ava.actions(folders, classes)
    listing = _kinetics(folders, names, ava.checked(seconds))
    if not films:
        return listing
    other = ava.movies(folders, names, seconds)
    counts = collections.Counter(listing.listed)
    counts.update(other.listed)
    return dataclasses.replace(
        listing,
        entries=listing.entries + other.entries,
        refused=listing.refused + other.refused,
        listed=dict(counts),
    )


def _kinetics(
    folders: official.Folders, names: Mapping[int, str], seconds: float
) -> datasets.Listing:
    parts = _parts(folders.media)
    wanted = [
        _wanted(entry, parts)
        for split in ("train", "val")
        for entry in ava.entries(
            folders.file(f"kinetics_{split}_v1.0.csv", at=ava.AT), names, split, seconds
        )
    ]
    return library.Library(folders.media).listing(wanted, labels=tuple(names.values()))


def _parts(root: pathlib.Path) -> dict[str, list[tuple[float, float, str]]]:
    """(begin, end, name) of the clips of every video."""
    parts: dict[str, list[tuple[float, float, str]]] = collections.defaultdict(list)
    for path in library.media(root):
        named = _CLIP.fullmatch(path.stem)
        if named:
            parts[named[1]].append((float(named[2]), float(named[3]), path.stem))
    return parts


def _wanted(
    entry: datasets.Entry, parts: Mapping[str, list[tuple[float, float, str]]]
) -> library.Wanted:
    """The clip of Kinetics in which the key frame is nearest to the middle, or the whole video."""
    video, time = ava.video_id(entry), entry.boxes[0].time
    around = [part for part in parts.get(video, ()) if part[0] <= time <= part[1]]
    if not around:
        return library.Wanted(entry, (), video)
    begin, _, name = min(around, key=lambda part: abs(part[0] + part[1] - 2 * time))
    return library.Wanted(ava.moved(entry, begin), (), name)
