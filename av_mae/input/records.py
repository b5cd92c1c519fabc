"""The record format: clips as tf.train.Examples in shards with an offset index, described by Info.

A data set is one folder: `<name>-<split>.tfrecord-00000-of-00004` shards, beside each one
`<shard>.index` (little-endian int64, the byte offset of every record) and `av_mae.json` (Info).
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from av_mae import config

INFO_FILE = "av_mae.json"
FORMAT = 1
SAMPLE_RATE = 16_000

# A TFRecord is: length (8 bytes), its checksum (4), payload, its checksum (4).
_FRAMING = 16


class DataError(ValueError):
    """Records that cannot be used; the message names the file and what to do."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip on its own clock: frame i is shown at i / fps, sound sample s at s / 16000 seconds.

    Attributes:
        id: unique in the data set.
        source: path of the media file, as given to the preparation.
        frames: JPEG pictures, all `height` x `width`.
        audio: int16 `[s]`, mono at 16 kHz; None where the source has no sound.
        start: where t = 0 of the clip lies in the source, seconds.
        duration: seconds.
        labels: indices into `Info.labels`.
    """

    id: str
    source: str
    frames: tuple[bytes, ...]
    fps: float
    height: int
    width: int
    audio: np.ndarray | None
    start: float
    duration: float
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished file of records; `file` is its name inside the data set's folder."""

    file: str
    clips: int
    with_sound: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    name: str
    shards: tuple[Shard, ...]

    @property
    def clips(self) -> int:
        return sum(shard.clips for shard in self.shards)

    @property
    def with_sound(self) -> int:
        """Number of clips that have sound; the others hold pictures only."""
        return sum(shard.with_sound for shard in self.shards)


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
    splits: dict[str, Split]
    preprocessing: dict[str, Any]
    counts: dict[str, Any]
    audio_mean: float | None
    audio_std: float | None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `av_mae.json` in one move, so that a reader sees the old or the new one whole."""
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1)
        path = pathlib.Path(folder) / INFO_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text.encode())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Info":
        """Reads a data set's description.

        Raises:
            ConfigError: there is none in `folder`.
            DataError: it is damaged or of another format.
        """
        path = pathlib.Path(folder) / INFO_FILE
        if not path.is_file():
            raise config.ConfigError(
                f"no data set in {os.fspath(folder)!r} ({INFO_FILE} missing); write one with "
                f"python -m av_mae.prepare --dataset=csv --source=FILE --out={folder or 'DIR'}"
            )
        try:
            return _info(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a readable data set description ({error!r}); prepare it again"
            ) from error

    def split(self, name: str) -> Split:
        """The named split.

        Raises:
            ConfigError: there is no such split; names the ones there are.
        """
        if name not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise config.ConfigError(
                f"data set {self.name!r} has no split {name!r}; it has: {known}"
            )
        return self.splits[name]


def encode(clip: Clip) -> bytes:
    """Serialises a clip as a tf.train.Example.

    Raises:
        DataError: no frame, a frame rate that is not positive, or sound that is not int16 `[s]`.
    """
    _check(clip)
    audio = b"" if clip.audio is None else clip.audio.astype("<i2", copy=False).tobytes()
    feature = {
        "id": _bytes([clip.id.encode()]),
        "source": _bytes([os.fsencode(clip.source)]),
        "frames": _bytes(clip.frames),
        "fps": _floats([clip.fps]),
        "height": _ints([clip.height]),
        "width": _ints([clip.width]),
        "audio": _bytes([audio]),
        "has_audio": _ints([int(clip.audio is not None)]),
        "start": _floats([clip.start]),
        "duration": _floats([clip.duration]),
        "label": _ints(clip.labels),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def decode(record: bytes) -> Clip:
    """Inverse of `encode`; floats come back at float32 precision.

    Raises:
        DataError: the bytes are not a clip.
    """
    try:
        feature = tf.train.Example.FromString(record).features.feature
        has_audio = bool(feature["has_audio"].int64_list.value[0])
        audio = np.frombuffer(feature["audio"].bytes_list.value[0], "<i2")
        return Clip(
            id=feature["id"].bytes_list.value[0].decode(),
            source=os.fsdecode(feature["source"].bytes_list.value[0]),
            frames=tuple(feature["frames"].bytes_list.value),
            fps=feature["fps"].float_list.value[0],
            height=feature["height"].int64_list.value[0],
            width=feature["width"].int64_list.value[0],
            audio=audio if has_audio else None,
            start=feature["start"].float_list.value[0],
            duration=feature["duration"].float_list.value[0],
            labels=tuple(feature["label"].int64_list.value),
        )
    except Exception as error:  # protobuf's DecodeError is no ValueError in every implementation
        raise DataError(f"a record of {len(record)} bytes is not a clip: {error!r}") from error


def has_sound(clip: Clip) -> bool:
    """Whether there is a sound to hear; an empty track is none."""
    return clip.audio is not None and len(clip.audio) > 0


def write_shard(path: str | os.PathLike[str], clips: Iterable[Clip]) -> Shard:
    """Writes clips to `path` and their offsets to `<path>.index`.

    Both are written under temporary names, flushed to the disk and renamed, the shard last: a
    shard that exists under its own name is whole and has its index.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        offsets, with_sound = _write_records(temporary, clips)
        with open(temporary, "rb+") as file:  # fsync needs a writable file on some systems
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = temporary.stat().st_size
        _replace(index_path(path), np.asarray(offsets, "<i8").tobytes())
        os.replace(temporary, path)
    except tf.errors.OpError as error:  # how TensorFlow reports a full disk
        raise OSError(f"cannot write {path}: {error.message.rpartition('; ')[2]}") from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return Shard(path.name, len(offsets), with_sound, size, digest)


def index_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Where the byte offsets of a shard's records lie."""
    return pathlib.Path(f"{os.fspath(path)}.index")


def read_index(folder: str | os.PathLike[str], shard: Shard) -> np.ndarray:
    """Byte offsets int64 `[clips]` of a shard's records, checked against the shard without it.

    Raises:
        DataError: the shard or its index is missing, or does not have the size it was written at.
    """
    path = pathlib.Path(folder) / shard.file
    for file in (path, index_path(path)):
        if not file.is_file():
            raise DataError(f"{file} is missing though {INFO_FILE} lists it; prepare it again")
    size = path.stat().st_size
    if size != shard.bytes:
        raise DataError(
            f"{path} has {size:,} bytes, {INFO_FILE} says {shard.bytes:,}; "
            "it was copied in part or written anew: copy or prepare it again"
        )
    raw = index_path(path).read_bytes()
    offsets = np.frombuffer(raw, "<i8") if len(raw) % 8 == 0 else np.empty(0, "<i8")
    if len(raw) != 8 * shard.clips or not _plausible(offsets, size):
        raise DataError(
            f"{index_path(path)} does not fit its shard of {shard.clips} clips and {size:,} bytes; "
            "copy or prepare both again"
        )
    return offsets


def _check(clip: Clip) -> None:
    if not clip.frames:
        raise DataError(f"clip {clip.id!r} has no frame; a record needs at least one")
    if not clip.fps > 0:
        raise DataError(f"clip {clip.id!r} has {clip.fps} frames a second, expected more than 0")
    audio = clip.audio
    if audio is not None and (audio.dtype != np.int16 or audio.ndim != 1):
        raise DataError(
            f"clip {clip.id!r} has sound {audio.dtype} {audio.shape}, expected mono int16 [s]"
        )


def _info(values: Mapping[str, Any]) -> Info:
    values = dict(values)
    found = values.pop("format")
    if found != FORMAT:
        raise DataError(f"format {found}, this program reads {FORMAT}")
    splits = {
        name: Split(split["name"], tuple(Shard(**shard) for shard in split["shards"]))
        for name, split in values["splits"].items()
    }
    return Info(**(values | {"splits": splits, "labels": tuple(values["labels"])}))


def _write_records(path: pathlib.Path, clips: Iterable[Clip]) -> tuple[list[int], int]:
    offsets, position, with_sound = [], 0, 0
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for clip in clips:
            record = encode(clip)
            writer.write(record)
            offsets.append(position)
            position += len(record) + _FRAMING
            with_sound += has_sound(clip)
    return offsets, with_sound


def _plausible(offsets: np.ndarray, size: int) -> bool:
    if not len(offsets):
        return size == 0
    ends = np.append(offsets[1:], size)
    return bool(offsets[0] == 0 and np.all(ends - offsets >= _FRAMING))


def _replace(path: pathlib.Path, content: bytes) -> None:
    temporary = _temporary(path)
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _sync_folder(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bytes(values: Iterable[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _floats(values: Iterable[float]) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _ints(values: Iterable[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
