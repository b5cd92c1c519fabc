"""What a data set lists: its clips, the boxes in them, and the clips that are refused."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Literal

Kind = Literal["video", "sound", "picture", "frames"]


@dataclasses.dataclass(frozen=True)
class Box:
    """A person or an object at one moment of a video.

    Attributes:
        x1, y1, x2, y2: left, top, right and bottom as fractions of the frame's width and height.
        time: seconds on the file's clock.
        labels: names, all of them among those of the entry.
        person: number of the person, the same throughout a video; -1 if it is not known.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    time: float
    labels: tuple[str, ...]
    person: int = -1


@dataclasses.dataclass(frozen=True)
class Entry:
    """One clip to prepare.

    Attributes:
        id: unique in the data set.
        path: the media file.
        source: the path as the user gave it, kept in the record.
        labels: names; empty for an unlabelled clip.
        start, end: the part of the file, seconds; None is its beginning or end.
        kind: what is read from the file: the video with its sound, only the sound, or the single
            picture that the file is; of a folder the frames in it.
        boxes: annotations of a video's frames.
        frame_rate: of the frames in a folder, pictures a second.
    """

    id: str
    path: str
    source: str
    split: str
    labels: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    kind: Kind = "video"
    boxes: tuple[Box, ...] = ()
    frame_rate: float | None = None


@dataclasses.dataclass(frozen=True)
class Refused:
    """A clip that is rejected before anything is decoded."""

    id: str
    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """All clips of a source, and what is known about them before decoding.

    Attributes:
        labels: names in the index order of the data set; None where it has no order of its own.
        listed: number of clips by split in the official lists, whether their files exist or not;
            empty where there are no such lists.
        published: number of clips in the official lists when their authors published them; None
            where it is not known or the lists differ.
        warnings: sentences on what was chosen where the source is ambiguous.
        notes: sentences on how the source was read, where people write such in several ways.
    """

    entries: tuple[Entry, ...]
    refused: tuple[Refused, ...] = ()
    labels: tuple[str, ...] | None = None
    listed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    published: int | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line says about a source.

    Attributes:
        out: the folder that is written.
        media: folder of the media; None is that of the list, or the source.
        val_share: fraction of the clips that goes to `val` where the source has no splits; None
            is `splits.VAL_SHARE`.
        test_share: the same of `test`; None is 0.
        ignore_columns: columns of a csv that are not read.
        workers: number of processes that may be used.
    """

    out: str = ""
    media: str | None = None
    val_share: float | None = None
    test_share: float | None = None
    ignore_columns: tuple[str, ...] = ()
    workers: int = 1


def readable(name: str) -> str:
    """A file name as valid UTF-8; bytes that are no text are escaped."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def order(id: str) -> bytes:
    """A sort key that shuffles clips in the same way on every machine."""
    return hashlib.sha256(id.encode()).digest()
