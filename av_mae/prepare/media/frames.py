"""Which files of a folder are the extracted frames of a video, in which order, and its sound."""

import collections
import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from av_mae.prepare.media.container import UnreadableError

# Assumed where nobody says it; whoever reads frames is told so.
USUAL_RATE = 25.0
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif"}
SOUNDS = {
    ".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".wma", ".aif", ".aiff",
    ".mp2", ".ac3", ".mka",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]+")
# Series that describe a video's pictures: `flow_x_#`, `x_#` (mmaction2), `depth#`, `img_mask_#`.
_DERIVED = re.compile(r"(^|[_. -])(flow|depth|mask|seg)s?([_. -]|[xyuv]|#)|^[xyuv][_. -]?#", re.I)


@dataclasses.dataclass(frozen=True)
class Frames:
    """The frames of one folder.

    Attributes:
        folder: where they lie.
        names: of the pictures, in order.
        places: of each among those that there should be, from 0 on; one that lacks is skipped.
        sound: the file of their sound; None without.
        notes: sentences on what was chosen where names leave a choice.
    """

    folder: pathlib.Path
    names: tuple[str, ...]
    places: tuple[int, ...]
    sound: pathlib.Path | None
    notes: tuple[str, ...]

    @property
    def missing(self) -> int:
        """How many pictures lack between the first and the last."""
        return self.places[-1] + 1 - len(self.places)


def find(folder: str | os.PathLike[str]) -> Frames:
    """The frames in a folder, in the order of the numbers in their names.

    Raises:
        UnreadableError: no such folder, no picture in it, or names that leave it open which
            pictures follow each other, or which sound is theirs.
    """
    root = pathlib.Path(os.path.abspath(folder))
    if not root.is_dir():
        there = "not a folder of frames" if root.exists() else "file not found: no such folder"
        raise UnreadableError(there)
    try:
        files = [e.name for e in os.scandir(root) if not e.name.startswith(".") and e.is_file()]
    except OSError as error:
        raise UnreadableError(f"the folder cannot be listed: {error.strerror}") from error
    pictures = [name for name in files if pathlib.PurePath(name).suffix.lower() in PICTURES]
    if not pictures:
        raise UnreadableError("no pictures in the folder")
    names, notes = _chosen(pictures)
    places, more = _places(names)
    return Frames(root, tuple(names), places, _sound(root, files), (*notes, *more))


def files(path: str | os.PathLike[str]) -> list[str]:
    """All files that a clip is read from: the one that it is, or those of its folder of frames."""
    if not os.path.isdir(path):
        return [os.fspath(path)]
    try:
        found = find(path)
    except UnreadableError:
        return [os.fspath(path)]
    sound = [] if found.sound is None else [os.fspath(found.sound)]
    return [*(os.fspath(found.folder / name) for name in found.names), *sound]


def is_series(names: Iterable[str]) -> bool:
    """Whether names of files look like frames: pictures that differ by a number."""
    pictures = [name for name in names if pathlib.PurePath(name).suffix.lower() in PICTURES]
    return any(count > 1 for skeleton, count in _series(pictures).items() if "#" in skeleton)


def _chosen(pictures: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the names of one video's frames, in order; what was left aside)."""
    series = _series(pictures)
    kept = [s for s in series if not _DERIVED.search(s)] or [*series]
    numbered = [s for s in kept if "#" in s]
    kept = numbered or kept
    left = [s for s in series if s not in kept]
    names = sorted((n for n in pictures if _skeleton(n) in kept), key=_natural)
    if numbered:
        counts = collections.Counter(_numbers(name) for name in names)
        twice = next((numbers for numbers, count in counts.items() if count > 1), None)
        if twice is not None:
            first, second = [name for name in names if _numbers(name) == twice][:2]
            raise UnreadableError(
                f"several series of pictures: {first!r} and {second!r} have the same number; keep "
                "one series in a folder"
            )
    notes = [f"{', '.join(sorted(left))} left aside"] if left else []
    if len(kept) > 1 and numbered:
        notes.append(f"{', '.join(sorted(kept))} follow each other")
    return names, notes


def _places(names: Sequence[str]) -> tuple[tuple[int, ...], list[str]]:
    """The place of each picture by the number that counts in its name, and what is odd in them.

    Pictures taken at a step (every tenth) lack nothing; numbers with neither a common step nor
    most of their places filled are no places.
    """
    in_a_row = tuple(range(len(names)))
    numbers = [_numbers(name) for name in names]
    fields = [column for column in zip(*numbers, strict=False) if len(set(column)) > 1]
    if len(fields) != 1 or len({len(n) for n in numbers}) > 1:
        return in_a_row, []
    steps = [b - a for a, b in itertools.pairwise(fields[0])]
    if min(steps) <= 0:  # the number starts again in another series
        return in_a_row, []
    usual, _ = max(collections.Counter(steps).items(), key=lambda item: (item[1], -item[0]))
    places = tuple((number - fields[0][0]) // usual for number in fields[0])
    if any(step % usual for step in steps) or places[-1] + 1 > 2 * len(names):
        return in_a_row, ["numbers without a common step: the pictures follow each other"]
    return places, []


def _sound(root: pathlib.Path, files: Sequence[str]) -> pathlib.Path | None:
    """The file of sound in the folder, or beside it by its name."""
    found = [root / name for name in files if pathlib.PurePath(name).suffix.lower() in SOUNDS]
    ends = [end for suffix in sorted(SOUNDS) for end in (suffix, suffix.upper())]
    found += [path for end in ends if (path := root.with_name(root.name + end)).is_file()]
    found = list({os.stat(path).st_ino: path for path in found}.values())  # names of any case
    if len(found) > 1:
        first, second = sorted(path.name for path in found)[:2]
        raise UnreadableError(f"two sounds for one folder: {first!r} and {second!r}; keep one")
    return found[0] if found else None


def _series(names: Iterable[str]) -> collections.Counter[str]:
    return collections.Counter(map(_skeleton, names))


def _skeleton(name: str) -> str:
    """A name with `#` for every number: that of `img_007.JPEG` is `img_#.jpg`."""
    path = pathlib.PurePath(name)
    suffix = path.suffix.lower().replace("jpeg", "jpg").replace("tiff", "tif")
    return _NUMBER.sub("#", path.stem) + suffix


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, _NUMBER.findall(pathlib.PurePath(name).stem)))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key in which 10 comes after 2."""
    parts = re.split("([0-9]+)", name)
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts if p]
