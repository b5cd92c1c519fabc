"""Reads one shard from end to end: what a worker process does."""

import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from av_mae.input import record, records
from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import measure

# Pictures shown of a clip, their height in pixels, and columns of its sound.
_PICTURES, _HEIGHT, _COLUMNS = 6, 90, 240
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Job:
    """Which shard to read, and how.

    Attributes:
        labels: number of label names of the data set.
        every_frame: decode all pictures, not three a clip.
        shown: positions of clips whose pictures are wanted.
    """

    folder: str
    shard: records.Shard
    labels: int
    every_frame: bool
    shown: tuple[int, ...]

    @property
    def path(self) -> pathlib.Path:
        return pathlib.Path(self.folder) / self.shard.file


@dataclasses.dataclass(frozen=True)
class Shown:
    """A clip to look at.

    Attributes:
        pictures: small JPEGs, evenly spread.
        sound: largest magnitude, 0 to 1, in each of some equal pieces `[columns]`; None without.
    """

    id: str
    labels: tuple[int, ...]
    seconds: float
    pictures: tuple[bytes, ...]
    sound: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Found:
    """What is in a shard.

    Attributes:
        rows: `[clips]` of `measure.COLUMNS`.
        labels: clips by label index `[labels]`.
        unlabelled: clips without a label.
    """

    rows: np.ndarray
    ids: tuple[str, ...]
    labels: np.ndarray
    unlabelled: int
    shown: tuple[Shown, ...]
    findings: findings_lib.Findings


def examine(job: Job) -> Found:
    """Reads every byte of a shard once, one record in memory at a time."""
    try:
        return _examine(job, findings_lib.Findings())
    except OSError as error:
        return nothing(job, f"{error.strerror or error}")


def nothing(job: Job, reason: str) -> Found:
    """What is found of a shard that cannot be read at all."""
    found = findings_lib.Findings()
    found.add("unreadable shard", f"{job.path}: {reason}")
    labels = np.zeros(job.labels, np.int64)
    return Found(np.zeros(0, measure.COLUMNS), (), labels, 0, (), found)


def _examine(job: Job, found: findings_lib.Findings) -> Found:
    path = job.path
    rows, ids, shown, unlabelled = [], [], [], 0
    labels = np.zeros(job.labels, np.int64)
    for number, (position, payload) in enumerate(_payloads(path, job.shard, found)):
        try:
            clip = record.decode(payload)
        except ValueError as error:
            found.add("unreadable record", f"{path}, byte {position:,}: {error}")
            continue
        rows.append(measure.row(clip, job.labels, job.every_frame, found))
        ids.append(clip.id)
        unlabelled += not clip.labels
        np.add.at(labels, [i for i in set(clip.labels) if 0 <= i < job.labels], 1)
        if number in job.shown:
            shown.append(_show(clip))
    if len(rows) < job.shard.clips:
        what = f"{path}: {len(rows)} clips can be read, {records.INFO_FILE} says {job.shard.clips}"
        found.add("missing clips", what, job.shard.clips - len(rows))
    table = np.array(rows, measure.COLUMNS)
    return Found(table, tuple(ids), labels, unlabelled, tuple(shown), found)


def _payloads(
    path: pathlib.Path, shard: records.Shard, found: findings_lib.Findings
) -> Iterator[tuple[int, bytes]]:
    """(position, payload) of every record; size, checksum and index are checked on the way."""
    missing = [p for p in (path, records.index_path(path)) if not p.is_file()]
    for file in missing:
        found.add("missing file", f"{file}, which {records.INFO_FILE} lists")
    if path in missing:
        return
    size = path.stat().st_size
    state, offsets = hashlib.sha256(), []
    with open(path, "rb") as file:
        while read := _next(file, state, size, path, found):
            offsets.append(read[0])
            yield read
        while block := file.read(_BLOCK):  # after a record whose end is not known
            state.update(block)
    if size != shard.bytes:  # then no checksum and no index can be right
        what = f"{path}: {size:,} bytes, {records.INFO_FILE} says {shard.bytes:,}"
        found.add("wrong size", what)
    elif state.hexdigest() != shard.sha256:
        found.add("wrong checksum", f"{path}: its bytes are not those that were written")
    elif not missing and not _fits(records.index_path(path), offsets):
        found.add("wrong index", f"{records.index_path(path)} does not fit the records of {path}")


def _next(
    file: BinaryIO, state, size: int, path: pathlib.Path, found: findings_lib.Findings
) -> tuple[int, bytes] | None:
    """Position and payload of the next record: length, checksum, payload, checksum."""
    position = file.tell()
    head = file.read(12)
    state.update(head)
    if not head:
        return None
    length = int.from_bytes(head[:8], "little")
    if len(head) < 12 or position + 12 + length + 4 > size:
        found.add(
            "unreadable record", f"{path}, byte {position:,}: the file ends before the record"
        )
        return None
    payload, tail = file.read(length), file.read(4)
    state.update(payload)
    state.update(tail)
    return position, payload


def _fits(index: pathlib.Path, offsets: list[int]) -> bool:
    return index.read_bytes() == np.asarray(offsets, "<i8").tobytes()


def _show(clip: record.Clip) -> Shown:
    chosen = np.linspace(0, len(clip.frames) - 1, min(_PICTURES, len(clip.frames))).round()
    small = [_small(clip.frames[int(i)]) for i in chosen]
    return Shown(
        id=clip.id,
        labels=clip.labels,
        seconds=clip.duration,
        pictures=tuple(picture for picture in small if picture),
        sound=_envelope(clip) if record.has_sound(clip) else None,
    )


def _small(frame: bytes) -> bytes:
    """A JPEG of small height; empty for a broken one, which is reported elsewhere."""
    try:
        picture = Image.open(io.BytesIO(frame))
        picture.load()
    except (OSError, SyntaxError):
        return b""
    size = (max(1, round(picture.width * _HEIGHT / picture.height)), _HEIGHT)
    stream = io.BytesIO()
    picture.convert("RGB").resize(size).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _envelope(clip: record.Clip) -> np.ndarray:
    """On the clip's own clock: where its sound has ended, zeros."""
    assert clip.audio is not None
    wave_s = np.zeros(max(round(clip.duration * records.SAMPLE_RATE), len(clip.audio)), np.float32)
    wave_s[: len(clip.audio)] = np.abs(clip.audio.astype(np.float32)) / 32768
    edges = np.linspace(0, len(wave_s), min(_COLUMNS, len(wave_s)) + 1).astype(int)
    return np.maximum.reduceat(wave_s, edges[:-1])
