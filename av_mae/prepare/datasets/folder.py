"""Class directories: SOURCE/<class>/<clip>, with SOURCE/{train,val,test}/<class>/<clip> if split.

Every file is tried, whatever its extension; names that begin with a dot are not. Without class
directories the clips are unlabelled. SOURCE/<class>/{train,val,test}/<clip> is understood too.
With kind=frames each folder of pictures is a clip, with the sound file in it or beside it by its
name; frame_rate is that of the pictures, default 25.
"""

import os
import pathlib
from collections.abc import Sequence

from av_mae.input import storage
from av_mae.prepare.lists import extracted, listing, names, official, splits
from av_mae.prepare.lists.listing import Entry, Kind, Listing, Options, Refused

TAKES = ("val_share", "test_share")


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
    files, notes = _files(root)
    if not files:
        raise ValueError(f"no file in --source={source}; expected SOURCE/<class>/<clip>")
    found = extracted.folders(files) if kind == "frames" else files
    paths = {path: path.relative_to(root).parts for path in found}
    depth, meant, said = _splits(root, [*paths.values()])
    notes += said
    entries = []
    for path, parts in paths.items():
        if depth == 0 and not meant.keys() & {*parts[:1]}:  # a file beside the folders of splits
            continue
        split = "train" if depth is None else meant.get("".join(parts[depth : depth + 1]), "train")
        below = parts[1:] if depth == 0 else parts
        labels = (listing.readable(below[0]),) if len(below) > 1 else ()
        file = path.relative_to(root).as_posix()
        id = listing.readable(root.name if path == root else file)
        entries.append(Entry(id, str(path), file, split, labels, kind=kind, frame_rate=rate))
    entries = names.one_spelling(entries)
    if depth is None:
        entries, said = splits.split_off(entries, options.val_share, options.test_share)
        notes += said
    refused: list[Refused] = []
    if kind == "video":
        entries, refused = extracted.set_aside(entries, source)
    if labelled := [entry for entry in entries if entry.labels]:
        reason = "no label: not in a class folder"
        refused += [Refused(e.id, e.source, reason) for e in entries if not e.labels]
        entries = labelled
    warnings = extracted.warnings(entries) if kind == "frames" else ()
    return Listing(tuple(entries), tuple(refused), warnings=tuple(warnings), notes=tuple(notes))


def _splits(
    root: pathlib.Path, paths: Sequence[tuple[str, ...]]
) -> tuple[int | None, dict[str, str], list[str]]:
    """Which folder of a path is that of the split (0 or 1, None without), and what its name means.

    The first is if every folder in `root` is named after a split: one such name among others is a
    class (a train is a vehicle, too), several are a mistake. The second is if it is so in every
    class, and there are several.

    Args:
        paths: the parts of the path of each clip.
    """
    inner: dict[str, set[str]] = {}  # what lies in each folder; "" for files
    for first, *rest in (parts for parts in paths if len(parts) > 1):
        inner.setdefault(first, set()).add(rest[0] if len(rest) > 1 else "")
    named = [name for name in sorted(inner) if splits.word(name)]
    others = [name for name in sorted(inner) if name not in named]
    if others and len(named) > 1:
        raise ValueError(
            f"{', '.join(map(repr, named))} in {root} look like splits, but {others[0]!r} lies "
            "beside them; move it elsewhere, or list the clips in a csv"
        )
    if named and not others:
        return 0, *splits.meanings(named)
    if len({splits.begins(name) for name in inner}) > 1 and all(map(splits.begins, inner)):
        raise ValueError(
            f"{' and '.join(sorted(inner)[:3])} in {root} look like splits; call them train, val "
            "and test, or list the clips in a csv"
        )

    second = sorted(set().union(*inner.values()))
    inside = [name for name in second if splits.word(name)]
    if len(inside) > 1 and inside == second:
        if len(inner) == 1:
            raise ValueError(
                f"{' and '.join(second)} in {root / ''.join(inner)} look like splits; give that "
                "folder as --source"
            )
        meant, said = splits.meanings(second)
        return 1, meant, [f"splits are the folders {' and '.join(second)} in each class", *said]
    said = []
    if named:
        said.append(
            f"folder {named[0]!r} is taken for a class, since {others[0]!r} is no split; if it is "
            "one, name the others val or test, or list the clips in a csv"
        )
    if inside:
        beside = "files lie beside them" if "" in second else "other folders lie beside them"
        said.append(
            f"folders such as {inside[0]!r} in those of the classes are not taken for splits, "
            f"since {'they are the only ones' if inside == second else beside}"
        )
    alike = "" not in second and len(second) > 1 and len(inner) > 1
    if len(inner) == 1 and len({*second} - {""}) > 1:
        said.append(
            f"all clips are of the class {' '.join(inner)!r}; if that holds the folders of the "
            f"classes, as {second[-1]!r}, give it as --source"
        )
    if alike and all(of == set(second) for of in inner.values()):
        said.append(
            f"{' and '.join(sorted(inner)[:3])} hold the same folders and are taken for classes; "
            "if they are splits, name them train, val and test, or list the clips in a csv"
        )
    return None, {}, said


def _files(root: pathlib.Path) -> tuple[list[pathlib.Path], list[str]]:
    """All visible files, sorted as bytes, and a sentence on links to folders.

    Every folder is read once: under its own name, or else under the first link to it. Links to
    folders above `root` are not followed.
    """
    local = not storage.is_address(root)
    seen = {official.identity(folder) for folder in root.resolve().parents} if local else set()
    files, folders = [], [root]
    links: list[pathlib.Path] = []
    followed, left = [], []
    while folders or links:
        is_link = not folders
        folder = folders.pop() if folders else links.pop(0)
        if local:
            if is_link:
                (left if official.identity(folder) in seen else followed).append(folder)
            if official.identity(folder) in seen:
                continue
            seen.add(official.identity(folder))
        # Names that are no valid UTF-8 have no other order than that of their bytes.
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        for path in sorted(found, key=lambda path: os.fsencode(path.name)):
            if not path.is_dir():
                files.append(path)
            else:
                (links if local and path.is_symlink() else folders).append(path)
    notes = [
        f"{len(paths):,} links to folders are {what}, as {listing.readable(str(paths[0]))}"
        for what, paths in (
            ("followed", followed),
            ("left out, since these are read under another name or lie above", left),
        )
        if paths
    ]
    return sorted(files, key=lambda path: os.fsencode(str(path))), notes
