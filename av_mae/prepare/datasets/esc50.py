"""ESC-50: esc50.csv and 2,000 sounds of five seconds; 50 classes, five folds.

One fold is tested and the other four are trained on; a score is the mean over all `fold`s.
"""

import pathlib
from typing import Literal

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options

_AT = "https://github.com/karolpiczak/ESC-50"
_PUBLISHED = 2_000


def clips(source: str, options: Options, *, fold: Literal[1, 2, 3, 4, 5] = 1) -> Listing:
    """Lists the sounds, those of one fold as `test`, with labels in the order of their numbers.

    Raises:
        ValueError: the list is missing or damaged, or none of its sounds exists.
    """
    folders = official.Folders(source, options.media)
    path = folders.file("esc50.csv", at=_AT)
    wanted, numbered = [], []
    for row in official.rows(path, "filename", "fold", "target", "category"):
        name = pathlib.PurePosixPath(row["filename"]).stem
        split = "test" if official.number(row["fold"], path) == fold else "train"
        entry = Entry(name, "", "", split, (row["category"],), kind="sound")
        wanted.append(library.Wanted(entry, (name,)))
        numbered.append((official.number(row["target"], path), row["category"]))
    return library.Library(folders.media).listing(
        wanted, labels=official.labels(numbered, path), published=_PUBLISHED
    )
