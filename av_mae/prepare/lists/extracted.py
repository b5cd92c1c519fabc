"""Folders of extracted frames in a tree or a list: found, told apart from pictures, described."""

import collections
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from av_mae.prepare.lists import official
from av_mae.prepare.lists.listing import Entry, Refused, readable
from av_mae.prepare.media import frames, picture

_SLOWEST, _FASTEST = 0.01, 1000.0
_LITTER = {"thumbs.db", "desktop.ini"}  # what Windows leaves in folders of pictures
# Suffixes of files that lie among frames and are no videos.
_BESIDE = official.LISTS | frames.SOUNDS | {"", ".db", ".ini"}


def rate(kind: str, given: float) -> float | None:
    """The rate of the frames; None for what has a rate of its own, or where none is `given` (0).

    Raises:
        ValueError: it cannot be, or means nothing for this kind.
    """
    if not given:
        return None
    if kind != "frames":
        raise ValueError(f"frame_rate={given:g} means nothing for kind={kind}; leave it out")
    if not _SLOWEST <= given <= _FASTEST:
        raise ValueError(f"frame_rate={given:g}, expected {_SLOWEST:g} to {_FASTEST:g} a second")
    return given


def folders(paths: Iterable[pathlib.Path]) -> Iterator[pathlib.Path]:
    """The folders that hold the pictures among the files of a tree, then what else lies there.

    A file of sound beside or in such a folder is a part of it.
    """
    files = list(paths)
    holding = dict.fromkeys(p.parent for p in files if p.suffix.lower() in frames.PICTURES)
    yield from holding
    for parent in dict.fromkeys(folder.parent for folder in holding):  # empty beside the others
        beside = [path for path in parent.iterdir() if path not in holding and path.is_dir()]
        visible = (path for path in beside if not path.name.startswith("."))
        yield from sorted(path for path in visible if not any(path.iterdir()))
    for path in files:
        is_sound = path.suffix.lower() in frames.SOUNDS
        is_part = path.parent in holding or (is_sound and path.with_suffix("") in holding)
        if not is_part and path.name.lower() not in _LITTER:
            yield path


def warnings(entries: Sequence[Entry]) -> list[str]:
    """What was assumed of the frames of a data set: their rate, and which pictures they are."""
    assumed = sum(entry.frame_rate is None for entry in entries)
    said = []
    if assumed:
        said.append(
            f"{assumed:,} folders of frames: {frames.USUAL_RATE:g} frames a second assumed; if "
            "they were extracted at another rate, say it behind kind=frames, as in "
            "kind=frames,frame_rate=30"
        )
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for entry in entries:
        try:
            for note in frames.find(entry.path).notes:
                kinds[note].append(entry.id)
        except frames.UnreadableError:
            continue  # the reason is in rejected.csv
    said += [f"{len(ids):,} folders of frames: {note}, as in {ids[0]!r}"
             for note, ids in kinds.items()]  # fmt: skip
    return said


def described(entries: Iterable[Entry]) -> dict[str, str]:
    """For the description of a data set: how fast its folders of frames are shown, if any."""
    rates = {entry.frame_rate for entry in entries if entry.kind == "frames"}
    said = [f"{rate:g} a second" for rate in sorted(filter(None, rates))]
    said += [f"{frames.USUAL_RATE:g} a second (assumed)"] if None in rates else []
    return {"extracted_frames": ", ".join(said)} if said else {}


def expect_files(entries: Sequence[Entry], path: pathlib.Path) -> None:
    """Raises ValueError if the list at a path names folders instead of videos."""
    if entries and all(os.path.isdir(entry.path) for entry in entries):
        raise ValueError(
            f"the paths in {path} are folders, as {entries[0].source!r}: if the frames of videos "
            "are in them, give --dataset=csv:kind=frames,frame_rate=25 (or the rate at which they "
            "were extracted)"
        )


def set_aside(entries: Sequence[Entry], root: str) -> tuple[list[Entry], list[Refused]]:
    """Videos, and one refusal for each folder of what are frames of videos, or lone pictures.

    Raises:
        ValueError: there is nothing but such folders.
    """
    inside: dict[str, list[Entry]] = collections.defaultdict(list)
    for entry in entries:
        if pathlib.PurePath(entry.path).suffix.lower() in frames.PICTURES - {".gif"}:
            inside[os.path.dirname(entry.path)].append(entry)
    refused, gone = [], set()
    for found in inside.values():
        names = [os.path.basename(entry.path) for entry in found]
        if frames.is_series(names) and any(picture.is_still(entry.path) for entry in found):
            gone |= {entry.id for entry in found}
            source = os.path.dirname(found[0].source)
            reason = f"a folder of {len(found):,} pictures: frames are read with kind=frames"
            refused.append(Refused(readable(source), source, reason))
    kept = [entry for entry in entries if entry.id not in gone]
    if refused and all(pathlib.PurePath(e.path).suffix.lower() in _BESIDE for e in kept):
        first = refused[0].path or "."
        raise ValueError(
            f"--source={root} holds folders of pictures, as {first!r}, and no videos: if they are "
            "the frames of videos, give --dataset=folder:kind=frames,frame_rate=25 (or the rate at "
            "which they were extracted); if each is a clip, kind=picture"
        )
    return kept, refused
