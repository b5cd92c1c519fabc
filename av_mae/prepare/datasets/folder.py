"""Class directories: SOURCE/<class>/<clip>, with SOURCE/{train,val,test}/<class>/<clip> if split.

Every file is tried, whatever its extension; names that begin with a dot are not. Without class
directories the clips are unlabelled. With kind=frames each folder of pictures is a clip, with the
sound file in it or beside it by its name; frame_rate is that of the pictures, default 25.
"""

import os
import pathlib
from collections.abc import Iterator

from av_mae.input import storage
from av_mae.prepare.lists import extracted, listing
from av_mae.prepare.lists.listing import Entry, Kind, Listing, Options, Refused

TAKES = ("val_share",)


def clips(
    source: str, options: Options, *, kind: Kind = "video", frame_rate: float = 0.0
) -> Listing:
    """Lists the clips below a folder, all of one kind.

    Where there are class folders, files outside of them belong to no class and are refused.

    Raises:
        ValueError: there is no such folder, or no file in it.
    """
    if not source:
        raise ValueError("--source is missing; give the folder with the class folders")
    rate = extracted.rate(kind, frame_rate)
    root = storage.path(source)
    if not root.is_dir():
        raise ValueError(f"--source={source} is not a folder; give the one with the class folders")
    splits = _splits(root)
    entries = []
    for name, split in (splits or {".": "train"}).items():
        files = _files(root / name)
        for path in extracted.folders(files) if kind == "frames" else files:
            file = path.relative_to(root).as_posix()
            below = path.relative_to(root / name).parts
            labels = (listing.readable(below[0]),) if len(below) > 1 else ()
            id = listing.readable(root.name if path == root else file)
            entries.append(Entry(id, str(path), file, split, labels, kind=kind, frame_rate=rate))
    if not splits:
        entries = listing.split_off(entries, options.val_share)
    if not entries:
        raise ValueError(f"no file in --source={source}; expected SOURCE/<class>/<clip>")
    refused: list[Refused] = []
    if kind == "video":
        entries, refused = extracted.set_aside(entries, source)
    if labelled := [entry for entry in entries if entry.labels]:
        reason = "no label: not in a class folder"
        refused += [Refused(e.id, e.source, reason) for e in entries if not e.labels]
        entries = labelled
    warnings = extracted.warnings(entries) if kind == "frames" else ()
    return Listing(tuple(entries), tuple(refused), warnings=tuple(warnings))


def _splits(root: pathlib.Path) -> dict[str, str]:
    """{folder name: split} if every folder in `root` is named after a split, else {}.

    One such name among others is a class (a train is a vehicle, too), several are a mistake.
    """
    names = sorted(path.name for path in _visible(root) if path.is_dir())
    known = listing.SPLITS
    splits = {name: known[name.lower()] for name in names if name.lower() in known}
    others = [name for name in names if name not in splits]
    if others and len(splits) > 1:
        raise ValueError(
            f"{', '.join(map(repr, splits))} in {root} look like splits, but {others[0]!r} lies "
            "beside them; move it elsewhere, or list the clips in a csv"
        )
    return {} if others else splits


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for path in _visible(folder):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    # Sorted as bytes: names that are no valid UTF-8 have no other order.
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(paths, key=lambda path: os.fsencode(path.name))
