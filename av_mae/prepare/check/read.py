"""Reads all shards of a data set again, in parallel, each from its first byte to its last."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from av_mae.input import record, records
from av_mae.prepare import bar, pool
from av_mae.prepare.check import measure
from av_mae.prepare.check.findings import Findings

# Seconds that one shard may take before its process is killed.
_TIMEOUT = 3600.0
_BLOCK = 1 << 20
# Clips of a split whose pictures are shown, pictures shown of a clip, their height in pixels, and
# columns of its sound.
_SHOWN, _PICTURES, _HEIGHT, _COLUMNS = 4, 6, 90, 240


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
    pictures: Sequence[bytes]
    sound: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Contents:
    """What was read of a shard, or of all shards of a split.

    Attributes:
        name: of the shard's file or of the split.
        listed: number of clips according to av_mae.json.
        rows: `[clips]` of `measure.COLUMNS`.
        labels: number of clips by label index `[labels]`.
        unlabelled: number of clips without a label.
    """

    name: str
    listed: int
    shards: int
    rows: np.ndarray
    ids: Sequence[str]
    labels: np.ndarray
    unlabelled: int
    shown: Sequence[Shown]


def read(
    folder: pathlib.Path, info: records.Info, found: Findings, *, every_frame: bool, workers: int
) -> list[Contents]:
    """Reads every shard once and returns the splits; what is wrong is added to `found`.

    Takes about 200 bytes of memory a clip, and one record a process.

    Args:
        every_frame: decode all pictures, not three a clip.
    """
    labels, jobs = len(info.labels), []
    for split in info.splits.values():
        count = min(_SHOWN, split.clips)
        chosen = {i * split.clips // count for i in range(count)}
        first = 0
        for shard in split.shards:
            own = range(first, first + shard.clips)
            jobs.append((shard, {i - first for i in chosen if i in own}))
            first += shard.clips
    work = functools.partial(_read_shard, folder, labels, every_frame)
    workers = min(workers, len(jobs))
    if workers > 1:
        results = pool.ordered(work, jobs, workers=workers, patience=_TIMEOUT)
    else:  # in this process
        results = (work(job) for job in jobs)
    total = sum(split.clips for split in info.splits.values())
    splits = []
    with bar.shown("check", total) as progress, contextlib.closing(results):
        for split in info.splits.values():
            parts: list[Contents] = []
            for shard in split.shards:
                result = next(results)
                progress.update(shard.clips)
                if isinstance(result, pool.Lost):
                    found.add("unreadable shard", f"{folder / shard.file}: {result.reason}")
                else:
                    parts.append(result[0])
                    found.merge(result[1])
            whole = Contents(
                name=split.name,
                listed=split.clips,
                shards=len(split.shards),
                rows=np.concatenate([np.zeros(0, measure.COLUMNS), *(part.rows for part in parts)]),
                ids=[id for part in parts for id in part.ids],
                labels=sum((part.labels for part in parts), np.zeros(labels, np.int64)),
                unlabelled=sum(part.unlabelled for part in parts),
                shown=[clip for part in parts for clip in part.shown],
            )
            splits.append(whole)

    known = {shard.file for split in info.splits.values() for shard in split.shards}
    for path in sorted(folder.glob("*.tfrecord-*")):
        if path.name.removesuffix(".index") not in known:
            found.add("strange file", f"{path} is not listed in {records.INFO_FILE}")
    return splits


def _read_shard(
    folder: pathlib.Path, labels: int, every_frame: bool, job: tuple[records.Shard, set[int]]
) -> tuple[Contents, Findings] | pool.Lost:
    """What a worker does: one shard, one record in memory at a time.

    Args:
        labels: number of label names of the data set.
        job: the shard, and the positions of clips whose pictures are wanted.
    """
    shard, chosen = job
    path, found = folder / shard.file, Findings()
    rows, ids, shown, unlabelled = [], [], [], 0
    counts = np.zeros(labels, np.int64)
    try:
        for number, (position, payload) in enumerate(_payloads(path, shard, found)):
            try:
                clip = record.decode(payload)
            except ValueError as error:
                found.add("unreadable record", f"{path}, byte {position:,}: {error}")
                continue
            rows.append(measure.row(clip, path, labels, every_frame, found))
            ids.append(clip.id)
            unlabelled += not clip.labels
            np.add.at(counts, [i for i in set(clip.labels) if 0 <= i < labels], 1)
            if number in chosen:
                shown.append(_show(clip))
    except OSError as error:
        return pool.Lost(error.strerror or str(error))
    if len(rows) < shard.clips:
        what = f"{path}: {len(rows)} clips can be read, {records.INFO_FILE} says {shard.clips}"
        found.add("missing clips", what, count=shard.clips - len(rows))
    table = np.array(rows, measure.COLUMNS)
    return Contents(shard.file, shard.clips, 1, table, ids, counts, unlabelled, shown), found


def _payloads(
    path: pathlib.Path, shard: records.Shard, found: Findings
) -> Iterator[tuple[int, bytes]]:
    """(position, payload) of every record; size, checksum and index are checked on the way."""
    index = records.index_path(path)
    missing = [p for p in (path, index) if not p.is_file()]
    for file in missing:
        found.add("missing file", f"{file}, which {records.INFO_FILE} lists")
    if path in missing:
        return
    size, position = path.stat().st_size, 0
    state, offsets = hashlib.sha256(), []
    with open(path, "rb") as file:
        # A record is its length (8 bytes), a checksum (4), the payload and a checksum (4).
        while head := file.read(12):
            state.update(head)
            length = int.from_bytes(head[:8], "little")
            if len(head) < 12 or position + records.FRAMING + length > size:
                what = f"{path}, byte {position:,}: the file ends before the record"
                found.add("unreadable record", what)
                break
            payload, tail = file.read(length), file.read(4)
            state.update(payload)
            state.update(tail)
            offsets.append(position)
            yield position, payload
            position += records.FRAMING + length
        while block := file.read(_BLOCK):  # after a record whose end is not known
            state.update(block)

    if size != shard.bytes:  # then neither checksum nor index can be right
        what = f"{path}: {size:,} bytes, {records.INFO_FILE} says {shard.bytes:,}"
        found.add("wrong size", what)
    elif state.hexdigest() != shard.sha256:
        found.add("wrong checksum", f"{path}: its bytes are not those that were written")
    elif not missing and index.read_bytes() != np.asarray(offsets, "<i8").tobytes():
        found.add("wrong index", f"{index} does not fit the records of {path}")


def _show(clip: record.Clip) -> Shown:
    pictures = []
    chosen = np.linspace(0, len(clip.frames) - 1, min(_PICTURES, len(clip.frames))).round()
    for i in chosen.astype(int):
        try:
            picture = Image.open(io.BytesIO(clip.frames[i])).convert("RGB")
        except (OSError, SyntaxError):  # a broken one is reported elsewhere
            continue
        size = (max(1, round(picture.width * _HEIGHT / picture.height)), _HEIGHT)
        stream = io.BytesIO()
        picture.resize(size).save(stream, "JPEG", quality=80)
        pictures.append(stream.getvalue())

    sound = None
    if clip.audio is not None and len(clip.audio):
        # The largest values in equal pieces of the clip's clock: zeros after the end of its sound.
        length = max(round(clip.duration * records.SAMPLE_RATE), len(clip.audio))
        wave_s = np.zeros(length, np.float32)
        wave_s[: len(clip.audio)] = np.abs(clip.audio.astype(np.float32)) / 32768
        edges = np.linspace(0, len(wave_s), min(_COLUMNS, len(wave_s)) + 1).astype(int)
        sound = np.maximum.reduceat(wave_s, edges[:-1])
    return Shown(clip.id, clip.labels, clip.duration, pictures, sound)
