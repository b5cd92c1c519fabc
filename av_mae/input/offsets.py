"""Byte offsets of the records of TFRecord files of any origin, scanned once and then cached.

A scan reads only the lengths between the records. Its result is kept as `<shard>.index` beside the
shard or, where that folder cannot be written, in the user's cache folder.
"""

import concurrent.futures
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from av_mae.input import records, storage

# Reads wait for the disk or the network, not for a core.
_READERS = 16
_GZIP = b"\x1f\x8b"


def of_shards(paths: Sequence[pathlib.Path]) -> list[np.ndarray]:
    """Byte offsets int64 `[records]` of every shard.

    Raises:
        DataError: a file is no TFRecord file, is compressed, or was cut off.
    """
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(of_shard, paths))


def of_shard(path: pathlib.Path) -> np.ndarray:
    """Byte offsets int64 `[records]` of one shard; see `of_shards`."""
    index = records.index_path(path)
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = hashlib.sha256(os.fsencode(path.parent.resolve())).hexdigest()[:16]
    places = (index, cache / "av_mae" / "index" / folder / index.name)
    for place in places:
        found = _cached(place, path)
        if found is not None:
            return found
    found, errors = _scan(path), []
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            storage.write(place, found.tobytes())
            return found
        except OSError as error:
            errors.append(str(error))
    logging.warning("no index can be kept, each start scans the shards: %s", "; ".join(errors))
    return found


def _cached(place: pathlib.Path, path: pathlib.Path) -> np.ndarray | None:
    """The offsets of an index file, if its last record ends where the shard does."""
    try:
        raw = place.read_bytes()
    except OSError:
        return None
    offsets = np.frombuffer(raw[: len(raw) // 8 * 8], "<i8")
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        last = _end(file.fileno(), int(offsets[-1])) if len(offsets) else 0
    fits = len(raw) % 8 == 0 and last == size and records.plausible(offsets, size)
    return offsets if fits else None


def _scan(path: pathlib.Path) -> np.ndarray:
    """Goes from length to length through the whole file."""
    offsets, position = [], 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while position < size:
            end = _end(file.fileno(), position)
            if end <= size:
                offsets.append(position)
                position = end
            elif os.pread(file.fileno(), 2, 0) == _GZIP:
                raise records.DataError(
                    f"{path} is compressed; records are read in random order, so write it again "
                    "with tf.io.TFRecordWriter(path) without compression"
                )
            elif position == 0:
                raise records.DataError(f"{path} is not a TFRecord file; leave it out of the table")
            else:
                raise records.DataError(
                    f"{path} ends inside the record at byte {position:,}; copy or write it again"
                )
    return np.asarray(offsets, "<i8")


def _end(file: int, position: int) -> int:
    """Where the record that begins at `position` ends, by its length field."""
    length = int.from_bytes(os.pread(file, 8, position), "little")
    return position + length + records.FRAMING
