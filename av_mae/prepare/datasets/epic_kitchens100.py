"""EPIC-KITCHENS-100: four csv files and long videos of kitchens; 97 verbs and 300 nouns.

`labels=verb` or `noun` labels an action with the one, `both` with both, as `verb:take` and
`noun:plate`, verbs first. The test list has no labels and is left out.
"""

import pathlib
import re
from typing import Literal

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options

_AT = "https://github.com/epic-kitchens/epic-kitchens-100-annotations"
_PUBLISHED = 67_217 + 9_668


def clips(
    source: str, options: Options, *, labels: Literal["verb", "noun", "both"] = "verb"
) -> Listing:
    """Lists the actions of the training and validation lists, cut from the videos by their times.

    Raises:
        ValueError: a list is missing or damaged, or none of its videos exists.
    """
    folders = official.Folders(source, options.media)
    kinds = ("verb", "noun") if labels == "both" else (labels,)
    names = {kind: _names(folders, kind, prefix=labels == "both") for kind in kinds}
    times = ("start_timestamp", "stop_timestamp")
    columns = ("narration_id", "video_id", *times, *(f"{kind}_class" for kind in kinds))
    wanted = []
    for split, name in (("train", "train"), ("val", "validation")):
        path = folders.file(f"EPIC_100_{name}.csv", at=_AT)
        for row in official.rows(path, *columns):
            id, own = row["narration_id"], []
            for kind, known in names.items():
                number = official.number(row[f"{kind}_class"], path)
                if number >= len(known):
                    raise ValueError(f"{path}: {id} is of {kind} {number}, no class")
                own.append(known[number])
            start, end = (_seconds(row[time], path) for time in times)
            entry = Entry(id, "", "", split, tuple(own), start, end)
            wanted.append(library.Wanted(entry, (id,), row["video_id"]))
    return library.Library(folders.media).listing(
        wanted, labels=[name for kind in kinds for name in names[kind]], published=_PUBLISHED
    )


def _names(folders: official.Folders, kind: str, *, prefix: bool) -> tuple[str, ...]:
    """Keys of the verbs or nouns in the order of their numbers, which begin with 0."""
    path = folders.file(f"EPIC_100_{kind}_classes.csv", at=_AT)
    numbered = [
        (official.number(row["id"], path), f"{kind}:{row['key']}" if prefix else row["key"])
        for row in official.rows(path, "id", "key")
    ]
    if sorted(number for number, _ in numbered) != list(range(len(numbered))):
        raise ValueError(f"{path} does not number its classes from 0 on; get it from {_AT}")
    return official.labels(numbered, path)


def _seconds(text: str, path: pathlib.Path) -> float:
    """`00:01:02.45` in seconds."""
    if not re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", text):
        raise ValueError(f"{path}: {text!r} is no time such as 00:01:02.45; get the file again")
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
