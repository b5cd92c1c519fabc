"""The record format: clips as tf.train.Examples in shards with an offset index, described by Info.

A data set is one folder, local or remote: `<name>-<split>.tfrecord-00000-of-00004` shards, beside
each one `<shard>.index` (little-endian int64, the byte offset of every record) and `av_mae.json`
(Info).
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from av_mae.config.limits import ConfigError
from av_mae.input import record, storage

INFO_FILE = "av_mae.json"
# Records of format 1 have pictures in every clip and no boxes; all else is the same.
FORMAT = 2
_READABLE = (1, 2)
SAMPLE_RATE = 16_000  # that of `config.modality.Audio`, whose module loads JAX

# A split, and perhaps a slice of it: train, train[:10%], train[100:].
_PIECE = re.compile(r"([^\[\]]+)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?")

# A TFRecord is: length (8 bytes), its checksum (4), payload, its checksum (4).
FRAMING = 16


class DataError(ValueError):
    """Records that cannot be used; the message names the file and what to do."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished file of records; `file` is its name inside the data set's folder."""

    file: str
    clips: int
    with_pictures: int
    with_sound: int
    with_boxes: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    """A named part of a data set, such as `train`, and the shards that hold it."""

    name: str
    shards: tuple[Shard, ...]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Which clips of the shards, in their order, belong to it: [start, stop) and so on."""
        return ((0, sum(shard.clips for shard in self.shards)),)

    @property
    def clips(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    @property
    def having(self) -> dict[str, int]:
        """Number of clips in its shards with pictures (`video`), sound (`audio`) and `boxes`."""
        fields = {"video": "with_pictures", "audio": "with_sound", "boxes": "with_boxes"}
        return {k: sum(getattr(shard, x) for shard in self.shards) for k, x in fields.items()}

    def lacking(self, modality: str) -> int:
        """Number of clips in its shards without pictures (`video`) or without sound (`audio`)."""
        return sum(shard.clips for shard in self.shards) - self.having[modality]


@dataclasses.dataclass(frozen=True)
class Selection(Split):
    """Clips of one or several splits: all shards of these, and the ranges that are selected."""

    selected: tuple[tuple[int, int], ...]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        return self.selected


@dataclasses.dataclass(frozen=True)
class Info:
    """What a data set holds and how it was made.

    Attributes:
        fps, short_side: rate and size that frames were prepared at.
        labels: names in index order.
        preprocessing: how the media was turned into records, for the reader of the data set.
        counts: outcome of the preparation, such as clips, clips without sound, rejected files.
        audio_mean, audio_std: of the log-mel spectrograms of the training split.
    """

    name: str
    version: str
    fps: float
    short_side: int
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    preprocessing: dict[str, Any]
    counts: dict[str, Any]
    audio_mean: float | None
    audio_std: float | None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `av_mae.json` in one move, so that a reader sees the old or the new one whole."""
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1)
        path = storage.path(folder) / INFO_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.write(path, text.encode())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Info":
        """Reads a data set's description.

        Raises:
            ConfigError: there is none in `folder`.
            DataError: it is damaged or of another format.
        """
        path = storage.path(folder) / INFO_FILE
        if not path.is_file():
            if str(folder) and path.parent.is_dir() and any(path.parent.iterdir()):
                raise ConfigError(
                    f"no data set in {str(folder)!r} ({INFO_FILE} missing); if it holds media "
                    f"files, --config.dataset.source={folder} prepares them at first use: leave "
                    "out dataset.path"
                )
            raise ConfigError(
                f"no data set in {str(folder)!r} ({INFO_FILE} missing); write one with "
                f"python -m av_mae.prepare --dataset=folder --source=VIDEOS --out={folder or 'DIR'}"
            )
        try:
            values = json.loads(path.read_text())
            if values["format"] not in _READABLE:
                readable = " and ".join(map(str, _READABLE))
                raise DataError(f"format {values['format']}, this program reads {readable}")
            splits = {}
            for name, split in values["splits"].items():
                # Format 1 counts neither: all of its clips have pictures and none has boxes.
                shards = [
                    {"with_pictures": x["clips"], "with_boxes": 0} | x for x in split["shards"]
                ]
                splits[name] = Split(split["name"], tuple(Shard(**shard) for shard in shards))
            known = {k: x for k, x in values.items() if k != "format"}
            return cls(**(known | {"splits": splits, "labels": tuple(values["labels"])}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is not a readable data set description ({error!r}); prepare it again"
            ) from error

    def split(self, name: str) -> Split:
        """The named split, or clips of several: `train+val`, `train[:10%]`, `train[20%:]+val`.

        The slices are those of TensorFlow Datasets: numbers of clips or percent, negative ones
        from the end. Records lie shuffled in their split, so that every slice is a fair sample.

        Raises:
            ConfigError: there is no such split, or the selection is empty or has a clip twice.
        """
        if name in self.splits:
            return self.splits[name]
        ranges: list[tuple[int, int]] = []
        first_clip, shards = {}, []
        for piece in name.split("+"):
            match = _PIECE.fullmatch(piece.strip())
            if not match or match[1] not in self.splits:
                known = ", ".join(self.splits) or "none"
                raise ConfigError(
                    f"data set {self.name!r} has no split {name!r}; it has: {known} "
                    "(and selections of them, as in train+val, train[:10%] or train[20%:80%])"
                )
            whole = self.splits[match[1]]
            if whole.name not in first_clip:
                first_clip[whole.name] = sum(shard.clips for shard in shards)
                shards += whole.shards
            start, stop = (match[k] and _place(match[k], whole.clips) for k in (2, 3))
            start, stop, _ = slice(start, stop).indices(whole.clips)
            begin = first_clip[whole.name] + start
            ranges.append((begin, begin + stop - start))
        selected = np.concatenate([np.arange(*r) for r in ranges])
        if not len(selected) or len(np.unique(selected)) < len(selected):
            what = "has some clips twice" if len(selected) else "holds no clip"
            raise ConfigError(f"the selection {name!r} of data set {self.name!r} {what}")
        return Selection(name, tuple(shards), tuple(ranges))

    def most_labels(self, split: str) -> int | None:
        """The most labels that a clip of a split has; None where nobody counted them."""
        return self.counts.get("labels", {}).get(split, {}).get("most")

    def clips_by_label(self, split: str) -> list[int] | None:
        """Number of clips of a split for each label; None where nobody counted them."""
        return self.counts.get("labels", {}).get(split, {}).get("clips")


def write_shard(path: str | os.PathLike[str], clips: Iterable[record.Clip]) -> Shard:
    """Writes clips to `path` and their offsets to `<path>.index`.

    Both are written under temporary names, flushed to the disk and renamed, the shard last: a
    shard that exists under its own name is whole and has its index.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    import tensorflow as tf  # takes seconds, and reading records does not need it

    path = storage.path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    offsets, position = [], 0
    counts = {"with_pictures": 0, "with_sound": 0, "with_boxes": 0}
    with storage.writing(path) as temporary:
        try:
            with tf.io.TFRecordWriter(os.fspath(temporary)) as writer:
                for clip in clips:
                    payload = record.encode(clip)
                    writer.write(payload)
                    offsets.append(position)
                    position += len(payload) + FRAMING
                    counts["with_pictures"] += bool(clip.frames)
                    counts["with_sound"] += record.has_sound(clip)
                    counts["with_boxes"] += bool(clip.boxes)
        except tf.errors.OpError as error:  # how TensorFlow reports a full disk
            raise OSError(f"cannot write {path}: {error.message.rpartition('; ')[2]}") from error
        with open(temporary, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = temporary.stat().st_size
        storage.write(index_path(path), np.asarray(offsets, "<i8").tobytes())
    return Shard(path.name, len(offsets), **counts, bytes=size, sha256=digest)


def _place(text: str, clips: int) -> int:
    """A bound of a slice: a number of clips, or percent of all, rounded to the nearest clip."""
    return round(int(text[:-1]) * clips / 100) if text.endswith("%") else int(text)


def index_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Where the byte offsets of a shard's records lie."""
    return storage.path(f"{path}.index")


def read_index(folder: str | os.PathLike[str], shard: Shard) -> np.ndarray:
    """Byte offsets int64 `[clips]` of a shard's records, checked against the shard without it.

    Raises:
        DataError: the shard or its index is missing, or does not have the size it was written at.
    """
    folder = storage.path(folder)
    files = (folder / shard.file, index_path(folder / shard.file))
    sizes = {file.name: file.stat().st_size for file in files if file.is_file()}
    if wrong := problem(folder, shard, sizes):
        raise DataError(wrong)
    offsets = np.frombuffer(files[1].read_bytes(), "<i8")
    if not plausible(offsets, shard.bytes):
        raise DataError(
            f"{files[1]} does not fit its shard of {shard.clips} clips and {shard.bytes:,} bytes; "
            "copy or prepare both again"
        )
    return offsets


def problem(folder: pathlib.Path, shard: Shard, sizes: Mapping[str, int]) -> str:
    """What is wrong with a shard or its index by the sizes of the files; empty if both are whole.

    Args:
        sizes: {name: bytes} of the files in the folder.
    """
    index = f"{shard.file}.index"
    for name in (shard.file, index):
        if name not in sizes:
            return f"{folder / name} is missing though {INFO_FILE} lists it; prepare it again"
    if sizes[shard.file] != shard.bytes:
        return (
            f"{folder / shard.file} has {sizes[shard.file]:,} bytes, {INFO_FILE} says "
            f"{shard.bytes:,}; it was copied in part or written anew: copy or prepare it again"
        )
    if sizes[index] != 8 * shard.clips:  # an int64 offset for each
        return (
            f"{folder / index} does not fit its shard of {shard.clips} clips and "
            f"{shard.bytes:,} bytes; copy or prepare both again"
        )
    return ""


def whole_clips(folder: pathlib.Path) -> int | None:
    """Number of clips of a data set whose shards are all there and whole; None if they are not."""
    try:
        info, sizes = Info.load(folder), storage.sizes(folder)
    except (OSError, ValueError):
        return None
    shards = [shard for split in info.splits.values() for shard in split.shards]
    if any(problem(folder, shard, sizes) for shard in shards):
        return None
    return sum(shard.clips for shard in shards)


def plausible(offsets: np.ndarray, size: int) -> bool:
    """Whether records may begin at these offsets of a file of `size` bytes."""
    if not len(offsets):
        return size == 0
    ends = np.append(offsets[1:], size)
    return bool(offsets[0] == 0 and np.all(ends - offsets >= FRAMING))
