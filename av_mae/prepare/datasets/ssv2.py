"""Something-Something V2: three JSON files and numbered videos; 174 templates of what a hand does.

The test list has no labels and is left out.
"""

import json
import pathlib
from typing import Any

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options

_AT = "https://www.qualcomm.com/developer/software/something-something-v-2-dataset"
_PUBLISHED = 168_913 + 24_777


def clips(source: str, options: Options) -> Listing:
    """Lists the clips of train.json and validation.json, with labels in the order of labels.json.

    Raises:
        ValueError: a list is missing or damaged, or none of its clips exists.
    """
    folders = official.Folders(source, options.media)
    path, numbers = _json(folders, "labels")
    labels = official.labels(((int(number), name) for name, number in numbers.items()), path)
    wanted = []
    for name, split in (("train", "train"), ("validation", "val")):
        path, listed = _json(folders, name)
        for clip in listed:
            # A class is its template without the brackets around what is filled in.
            id, template = clip.get("id"), clip.get("template", "")
            label = template.replace("[", "").replace("]", "")
            if not id or label not in numbers:
                raise ValueError(
                    f"{path}: clip {id} has the template {template!r}, which is no class"
                )
            wanted.append(library.Wanted(Entry(id, "", "", split, (label,)), (id,)))
    return library.Library(folders.media).listing(wanted, labels=labels, published=_PUBLISHED)


def _json(folders: official.Folders, name: str) -> tuple[pathlib.Path, Any]:
    path = folders.file(f"something-something-v2-{name}.json", f"{name}.json", at=_AT)
    try:
        return path, json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is cut off or no JSON ({error}); get it from {_AT}") from error
