"""Where the records of a TFRecord file of any origin begin: found once, and kept for the next time.

Only the lengths between the records are read. What was found is kept as `<shard>.index` beside the
shard or, where that folder cannot be written, in the user's cache folder.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np
from absl import logging

from av_mae.input import records

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
    places = (records.index_path(path), _in_cache(path))
    for place in places:
        found = _read(place, path)
        if found is not None:
            return found
    found = _scan(path)
    _keep(found, places)
    return found


def _scan(path: pathlib.Path) -> np.ndarray:
    """Goes from length to length through the whole file."""
    offsets, position = [], 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while position < size:
            end = _end(file.fileno(), position)
            if end > size:
                raise records.DataError(_unusable(path, file.fileno(), position))
            offsets.append(position)
            position = end
    return np.asarray(offsets, "<i8")


def _read(place: pathlib.Path, path: pathlib.Path) -> np.ndarray | None:
    """An index that was kept, if its last record ends where the shard does."""
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


def _end(file: int, position: int) -> int:
    """Where the record that begins at `position` ends, by the length that it says."""
    length = int.from_bytes(os.pread(file, 8, position), "little")
    return position + length + records.FRAMING


def _unusable(path: pathlib.Path, file: int, position: int) -> str:
    if os.pread(file, 2, 0) == _GZIP:
        return (
            f"{path} is compressed; records are read in random order, so write it again with "
            "tf.io.TFRecordWriter(path) without compression"
        )
    if position == 0:
        return f"{path} is not a TFRecord file; leave it out of the table"
    return f"{path} ends inside the record at byte {position:,}; copy or write it again"


def _keep(offsets: np.ndarray, places: Sequence[pathlib.Path]) -> None:
    """Writes the index at the first place that can be written."""
    errors = []
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # Hosts of one run may all write the same index: each under a name of its own.
            handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(offsets.tobytes())
            os.replace(temporary, place)
            return
        except OSError as error:
            errors.append(str(error))
    logging.warning("no index can be kept, each start scans the shards: %s", "; ".join(errors))


def _in_cache(path: pathlib.Path) -> pathlib.Path:
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = hashlib.sha256(os.fsencode(path.parent.resolve())).hexdigest()[:16]
    return root / "av_mae" / "index" / folder / records.index_path(path).name
