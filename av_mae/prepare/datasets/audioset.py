"""AudioSet: Google's segment lists and pieces of YouTube videos, cut or whole; 527 sounds.

`train` says which of the training clips: `all` (AudioSet-2M), `balanced` (AudioSet-20K),
`unbalanced`, `mbt` (AudioSet-500K by MBT's rule) or `none`; `ids` is a file of YouTube ids, one a
line, that keeps only these. The eval list is the split `test`. `whole=false` says that files named
by the id alone are the ten seconds themselves and not the whole video; `kind=sound` takes the sound
alone, of files that may hold nothing else.
"""

import collections
import csv
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from av_mae.prepare.lists import library, listing, official
from av_mae.prepare.lists.listing import Entry, Listing, Options

_AT = "https://research.google.com/audioset/download.html"
# Clips of a list: what its second line says, as published.
_PUBLISHED = {"balanced_train": 22_160, "unbalanced_train": 2_041_789, "eval": 20_371}
_TRAIN = {
    "all": ("balanced_train", "unbalanced_train"),
    "balanced": ("balanced_train",),
    "unbalanced": ("unbalanced_train",),
    "mbt": ("balanced_train", "unbalanced_train"),
    "none": (),
}
# Nagrani et al. 2021: no class has more training clips.
_MOST_OF_A_CLASS = 200_000


def clips(
    source: str,
    options: Options,
    *,
    train: Literal["all", "balanced", "unbalanced", "mbt", "none"] = "all",
    ids: str = "",
    whole: bool = True,
    kind: Literal["video", "sound"] = "video",
) -> Listing:
    """Lists the clips of the segment lists; label names in the order of class_labels_indices.csv.

    Raises:
        ValueError: a list is missing or cut off, or none of its clips exists.
    """
    folders = official.Folders(source, options.media)
    path = folders.file("class_labels_indices.csv", at=_AT)
    names, numbered = {}, []
    for row in official.rows(path, "index", "mid", "display_name"):
        names[row["mid"]] = row["display_name"]
        numbered.append((official.number(row["index"], path), row["display_name"]))
    trained = [entry for name in _TRAIN[train] for entry in _entries(folders, name, names)]
    if train == "mbt":
        trained = more_balanced(trained, _MOST_OF_A_CLASS)
    if ids:
        if not pathlib.Path(ids).is_file():
            raise ValueError(
                f"--dataset=audioset: ids={ids} is not a file of YouTube ids, one a line"
            )
        kept = set(official.lines(pathlib.Path(ids)))
        trained = [entry for entry in trained if library.youtube_id(entry) in kept]
    entries = [*trained, *_entries(folders, "eval", names)]
    fewer = train == "mbt" or ids
    return library.Library(folders.media).listing(
        (library.of_video(entry, whole=whole, kind=kind) for entry in entries),
        labels=official.labels(numbered, path),
        published=None if fewer else sum(_PUBLISHED[name] for name in (*_TRAIN[train], "eval")),
    )


def more_balanced(entries: Iterable[Entry], most: int) -> list[Entry]:
    """A subset with at most `most` clips of each class.

    Clips are visited in an order that depends on their ids alone; one is left out as soon as any of
    its classes is full. As far as is known, MBT's training set of 508,994 clips was selected in
    this way (Nagrani et al. 2021); which clips these were has not been published.
    """
    taken: collections.Counter[str] = collections.Counter()
    kept = []
    for entry in sorted(entries, key=lambda entry: listing.order(entry.id)):
        if all(taken[name] < most for name in entry.labels):
            taken.update(entry.labels)
            kept.append(entry)
    return kept


def _entries(folders: official.Folders, name: str, names: Mapping[str, str]) -> Iterator[Entry]:
    """Lines such as `-0RWZT-miFs, 420.000, 430.000, "/m/09x0r,/m/05zppz"`."""
    path = folders.file(f"{name}_segments.csv", at=_AT)
    split = "test" if name == "eval" else "train"
    announced, found = None, 0
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.reader(file, skipinitialspace=True):
            if row and row[0].startswith("#"):
                segments = re.search(r"num_segs=(\d+)", ",".join(row))
                announced = int(segments[1]) if segments else announced
            elif row:
                found += 1
                try:
                    youtube, start, end, mids = row
                    labels = tuple(names[mid] for mid in mids.split(","))
                    yield library.piece(youtube, float(start), float(end), split, labels)
                except (ValueError, KeyError) as error:
                    raise ValueError(
                        f"{path}: {', '.join(row)!r} is not YouTube id, start, end and ids of "
                        "classes that class_labels_indices.csv has"
                    ) from error
    if announced is not None and found != announced:
        what = f"holds {found:,} clips, its second line says {announced:,}"
        raise ValueError(f"{path} {what}; get it again from {_AT}")
