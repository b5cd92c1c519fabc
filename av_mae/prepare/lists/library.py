"""Finds the media files of an official list, in any layout of folders and under any usual name.

A file is known by its name without suffix, so that class folders, split folders, shards and other
containers make no difference. A clip of a longer video is read from a file of its own, or cut from
the whole video.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from av_mae.prepare.lists import names as names_lib
from av_mae.prepare.lists import official
from av_mae.prepare.lists.listing import Entry, Kind, Listing, Refused

_VIDEO = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".mpg", ".mpeg", ".m4v", ".flv", ".wmv", ".ts"}
_PICTURE = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
# What downloaders and archives leave beside the media.
_LEFTOVERS = {
    ".part", ".ytdl", ".tmp", ".aria2", ".vtt", ".srt", ".description", ".log", ".lock",
    ".zip", ".tar", ".gz", ".tgz", ".rar", ".7z", ".npy", ".npz", ".h5", ".pt", ".pth",
}  # fmt: skip
_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A clip of an official list whose file is to be found.

    Attributes:
        entry: the clip, with `path` and `source` still empty; `start` and `end` are where it lies
            in the whole video.
        names: of files that hold this clip alone, without suffix, the likeliest first.
        whole: name of the file that holds it from `start` to `end`; empty if there is none. One of
            the two is not empty.
    """

    entry: Entry
    names: tuple[str, ...]
    whole: str = ""

    def __str__(self) -> str:
        whole = [f"{self.whole!r} (the whole video)"] if self.whole else []
        return " or ".join([*whole, *(f"{name!r}" for name in self.names[:1])])


def media(root: pathlib.Path, *, pictures: bool = False) -> Iterator[pathlib.Path]:
    """Paths, relative to a folder, of all files below it that may be media.

    Args:
        pictures: whether still pictures are media; otherwise they are covers saved by downloaders.
    """
    others = official.LISTS | _LEFTOVERS | (set() if pictures else _PICTURE)
    for path in official.walk(root):
        if path.suffix.lower() not in others:
            yield path.relative_to(root)


class Library:
    """The media files below a folder by their names."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self._paths: dict[str, str] = {}
        self._twins: dict[str, str] = {}
        ranks: dict[str, tuple[bool, bool]] = {}
        for source in media(root):
            # A video comes before its sound alone; damaged files of Kinetics-400 lie beside those
            # that replace them.
            replaces = any("replacement" in part for part in source.parts)
            rank = (source.suffix.lower() not in _VIDEO, not replaces)
            stem = names_lib.composed(source.stem)
            if stem not in ranks or rank < ranks[stem]:
                ranks[stem], self._paths[stem] = rank, source.as_posix()
                self._twins.pop(stem, None)
            elif rank == ranks[stem]:
                self._twins[stem] = source.as_posix()

    def find(self, wanted: Wanted) -> Entry | None:
        """The clip with the file that holds it, or None."""
        entry = wanted.entry
        for name in (*wanted.names, wanted.whole):
            if (stem := names_lib.composed(name)) in self._paths:
                source = self._paths[stem]
                if name in wanted.names:
                    entry = dataclasses.replace(entry, start=None, end=None)
                return dataclasses.replace(entry, path=str(self.root / source), source=source)
        return None

    def listing(
        self, wanted: Iterable[Wanted], *, labels: Sequence[str], published: int | None = None
    ) -> Listing:
        """All clips whose files exist; the others are refused, one by one.

        Args:
            labels: names in index order.
            published: number of clips that the lists should name.

        Raises:
            ValueError: not one of the clips was found, or the list is empty.
        """
        entries: dict[str, Entry] = {}
        refused: list[Refused] = []
        first_missing: Wanted | None = None
        listed: collections.Counter[str] = collections.Counter()
        seen = set()
        for clip in wanted:
            id = clip.entry.id
            listed[clip.entry.split] += 1
            entry = self.find(clip)
            if entry is not None and id not in seen:
                entries[id] = entry
            else:
                first_missing = first_missing or clip
                twice = "listed twice: the first entry is kept"
                reason = twice if id in seen else f"file not found: {clip}"
                refused.append(Refused(id, (*clip.names, clip.whole)[0], reason))
            seen.add(id)

        if not entries:
            raise ValueError(self._nothing(first_missing, sum(listed.values())))
        # Names that several files have, where one of them was used.
        stems = (pathlib.PurePosixPath(e.source).stem for e in entries.values())
        used = dict.fromkeys(map(names_lib.composed, stems))
        warnings = ()
        if twins := [stem for stem in used if stem in self._twins]:
            taken, other = self._paths[twins[0]], self._twins[twins[0]]
            warnings = (
                f"several files have the name of one clip, for {len(twins)} clips; the first is "
                f"taken, as {taken} and not {other}",
            )
        found = tuple(entries.values())
        return Listing(found, tuple(refused), tuple(labels), dict(listed), published, warnings)

    def _nothing(self, missing: Wanted | None, listed: int) -> str:
        """Why no clip was found: what was searched, and which files there are instead."""
        if missing is None:
            return f"the official lists in or around {self.root} name no clip; get them again"
        there = ", ".join(repr(source) for source in list(self._paths.values())[:_EXAMPLES])
        return (
            f"none of the {listed:,} listed clips is below {self.root}. The first would be "
            f"{missing}, with any suffix, in any folder. "
            + (f"What lies there: {there}" if there else "No media file lies there")
            + "; say with --media where the media are"
        )


def piece(youtube: str, start: float, end: float, split: str, labels: tuple[str, ...]) -> Entry:
    """Some seconds of a YouTube video; its id is `---QUuC4vJs_000084_000094`."""
    id = f"{youtube}_{_six_digits(start)}_{_six_digits(end)}"
    return Entry(id, "", "", split, labels, start, end)


def youtube_id(entry: Entry) -> str:
    """The video that a piece belongs to; its id may itself hold underscores."""
    return entry.id.rsplit("_", 2)[0]


def of_video(entry: Entry, *, whole: bool, kind: Kind = "video") -> Wanted:
    """A piece of a YouTube video under all names that its file may have.

    Args:
        whole: whether a file named by the id alone is the whole video, or else the piece itself.
        kind: what is read from the file.
    """
    youtube, names = youtube_id(entry), []
    # 000030, 30, 30.0, 30.000 and, in milliseconds, 30000
    starts, ends = (
        (_six_digits(s), f"{s:g}", f"{s:.1f}", f"{s:.3f}", f"{s * 1000:.0f}")
        for s in (entry.start or 0.0, entry.end or 0.0)
    )
    for start, end in zip(starts, ends, strict=True):
        names += [f"{youtube}_{start}_{end}", f"{youtube}_{start}-{end}", f"{youtube}_{start}"]
    names += [f"Y{youtube}"]  # as PANNs unpacks AudioSet
    names += [] if whole else [youtube]
    entry = dataclasses.replace(entry, kind=kind)
    return Wanted(entry, tuple(dict.fromkeys(names)), youtube if whole else "")


def _six_digits(seconds: float) -> str:
    whole, part = divmod(round(seconds * 1000), 1000)
    return f"{whole:06d}" + (f".{part:03d}" if part else "")
