"""Finds the media of an official list, in whatever folders and under whichever usual name they lie.

A file is known by its name without suffix, so that class folders, split folders, shards and other
containers make no difference. A clip of a longer video is taken from a file of its own, or cut from
the whole video.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from av_mae.prepare import datasets
from av_mae.prepare.lists import official

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
        entry: the clip; `path` and `source` are filled in, `start` and `end` are where it lies in
            the whole video.
        names: of files that hold this clip alone, without suffix, the likeliest first.
        whole: name of the file that holds it from `start` to `end`; empty if there is none. One of
            the two is not empty.
    """

    entry: datasets.Entry
    names: tuple[str, ...]
    whole: str = ""


def media(root: pathlib.Path, *, pictures: bool = False) -> Iterator[pathlib.Path]:
    """Paths, relative to a folder, of all files below it that may be media.

    Args:
        pictures: whether still pictures are media, or else the covers that downloaders save.
    """
    others = official.LISTS | _LEFTOVERS | (set() if pictures else _PICTURE)
    for path in official.walk(root):
        if path.suffix.lower() not in others:
            yield path.relative_to(root)


class Library:
    """The media files below a folder by their names."""

    def __init__(self, root: pathlib.Path, *, pictures: bool = False) -> None:
        self.root = root
        self._paths: dict[str, str] = {}
        self._twins: dict[str, str] = {}
        ranks: dict[str, tuple[bool, bool]] = {}
        for source in media(root, pictures=pictures):
            # A video comes before its sound alone; damaged files of Kinetics-400 lie beside those
            # that replace them.
            replaces = any("replacement" in part for part in source.parts)
            rank = (source.suffix.lower() not in _VIDEO, not replaces)
            if source.stem not in ranks or rank < ranks[source.stem]:
                ranks[source.stem], self._paths[source.stem] = rank, source.as_posix()
                self._twins.pop(source.stem, None)
            elif rank == ranks[source.stem]:
                self._twins[source.stem] = source.as_posix()

    def find(self, wanted: Wanted) -> datasets.Entry | None:
        """The clip with the file that holds it, or None."""
        for name in wanted.names:
            if name in self._paths:
                return self._at(wanted.entry, name, start=None, end=None)
        if wanted.whole in self._paths:
            return self._at(wanted.entry, wanted.whole)
        return None

    def listing(
        self,
        wanted: Iterable[Wanted],
        *,
        labels: Sequence[str] | None = None,
        published: int | None = None,
    ) -> datasets.Listing:
        """All clips whose files are there; the others are refused, one by one.

        Args:
            labels: names in index order.
            published: number of clips that the lists should name.

        Raises:
            ValueError: not one of the clips was found, or the list is empty.
        """
        entries: dict[str, datasets.Entry] = {}
        refused: list[datasets.Refused] = []
        missing: Wanted | None = None
        listed: collections.Counter[str] = collections.Counter()
        seen = set()
        for clip in wanted:
            listed[clip.entry.split] += 1
            entry = self.find(clip)
            if clip.entry.id in seen:
                refused.append(_refused(clip, "listed twice: the first entry is kept"))
            elif entry is None:
                missing = missing or clip
                refused.append(_refused(clip, f"file not found: {_description(clip)}"))
            else:
                entries[entry.id] = entry
            seen.add(clip.entry.id)
        if not entries:
            raise ValueError(self._nothing(missing, sum(listed.values())))
        return datasets.Listing(
            tuple(entries.values()),
            tuple(refused),
            labels=None if labels is None else tuple(labels),
            listed=dict(listed),
            published=published,
            doubts=self._doubts(entries.values()),
        )

    def _doubts(self, entries: Iterable[datasets.Entry]) -> tuple[str, ...]:
        """What to say of names that several files have."""
        stems = [pathlib.PurePosixPath(entry.source).stem for entry in entries]
        twins = [stem for stem in dict.fromkeys(stems) if stem in self._twins]
        if not twins:
            return ()
        taken, other = self._paths[twins[0]], self._twins[twins[0]]
        return (
            f"several files have the name of one clip, for {len(twins)} clips; the first is taken, "
            f"as {taken} and not {other}",
        )

    def _at(self, entry: datasets.Entry, name: str, **part: None) -> datasets.Entry:
        source = self._paths[name]
        return dataclasses.replace(entry, path=str(self.root / source), source=source, **part)

    def _nothing(self, missing: Wanted | None, listed: int) -> str:
        """Why no clip was found: what was looked for, and what lies there instead."""
        if missing is None:
            return f"the official lists in or around {self.root} name no clip; get them again"
        there = [repr(source) for source in list(self._paths.values())[:_EXAMPLES]]
        return (
            f"none of the {listed:,} listed clips is below {self.root}. The first would be "
            f"{_description(missing)}, with any suffix, in any folder. "
            + (f"What lies there: {', '.join(there)}" if there else "No media file lies there")
            + "; say with --media where the media are"
        )


def piece(
    youtube: str, start: float, end: float, split: str, labels: tuple[str, ...]
) -> datasets.Entry:
    """Some seconds of a YouTube video; its id is `---QUuC4vJs_000084_000094`."""
    id = f"{youtube}_{_six_digits(start)}_{_six_digits(end)}"
    return datasets.Entry(id, "", "", split, labels, start, end)


def youtube_id(entry: datasets.Entry) -> str:
    """The video that a piece is of; its id may hold underscores, too."""
    return entry.id.rsplit("_", 2)[0]


def of_video(entry: datasets.Entry, *, whole: bool, kind: datasets.Kind = "video") -> Wanted:
    """A piece of a YouTube video under all names that its file may have.

    Args:
        whole: whether a file named by the id alone is the whole video, or else the piece itself.
        kind: what is taken from the file.
    """
    entry = dataclasses.replace(entry, kind=kind)
    youtube, names = youtube_id(entry), []
    for start, end in zip(_spelled(entry.start or 0.0), _spelled(entry.end or 0.0), strict=True):
        names += [f"{youtube}_{start}_{end}", f"{youtube}_{start}-{end}", f"{youtube}_{start}"]
    names += [f"Y{youtube}"]  # as PANNs unpacks AudioSet
    names += [] if whole else [youtube]
    return Wanted(entry, tuple(dict.fromkeys(names)), youtube if whole else "")


def _spelled(seconds: float) -> tuple[str, ...]:
    """A time as file names have it: 000030, 30, 30.0, 30.000 and, in milliseconds, 30000."""
    return (
        _six_digits(seconds),
        f"{seconds:g}",
        f"{seconds:.1f}",
        f"{seconds:.3f}",
        f"{seconds * 1000:.0f}",
    )


def _six_digits(seconds: float) -> str:
    whole, part = divmod(round(seconds * 1000), 1000)
    return f"{whole:06d}" + (f".{part:03d}" if part else "")


def _refused(clip: Wanted, reason: str) -> datasets.Refused:
    return datasets.Refused(clip.entry.id, (*clip.names, clip.whole)[0], reason)


def _description(clip: Wanted) -> str:
    alone = [f"{name!r}" for name in clip.names[:1]]
    whole = [f"{clip.whole!r} (the whole video)"] if clip.whole else []
    return " or ".join(whole + alone)
