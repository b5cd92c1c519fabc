"""What records say of their clips (name, source, labels), read past the pictures and the sound.

Records of both formats are maps of features in the same place of their message, each behind its
length: a few hundred bytes of a record are read, whatever its size.
"""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import tensorflow as tf

from av_mae.config import schema
from av_mae.input import example, mediasequence, records, storage

# Features with the name of a clip, where it came from, and its labels, by `dataset.format`.
_FEATURES = {
    "records": ("id", "source", "label"),
    "mediasequence": ("clip/media_id", "clip/data_path", example.LABELS),
}
_BLOCK = 2048  # bytes read at once: most features lie together
_READERS = 32  # shards at once: a store takes milliseconds to answer
_KEY = 64  # bytes; longer names of features are not among those wanted
_HEAD = 11  # bytes: those of a tag, and the most that a length takes


@dataclasses.dataclass(frozen=True)
class Facts:
    """One clip.

    Attributes:
        name: its id; where a file has none, the shard and the number in it.
        source: path of the media file; empty if that is not known.
        labels: indices of label names, ascending, each once.
    """

    name: str
    source: str
    labels: tuple[int, ...]


def clips(dataset: schema.Dataset, split: records.Split, labels: int) -> Iterator[Facts]:
    """All clips of a split, or of a selection, in the order of their positions.

    Args:
        labels: number of label names of the data set; 0 = labels are not read.

    Raises:
        DataError: a shard is missing or damaged.
    """
    with concurrent.futures.ThreadPoolExecutor(_READERS) as threads:
        parts = threads.map(lambda shard: _shard(dataset, shard, labels), split.shards)
        if not isinstance(split, records.Selection):
            for part in parts:
                yield from part
            return
        everything = [*itertools.chain.from_iterable(parts)]
    for start, stop in split.ranges:
        yield from everything[start:stop]


def first(dataset: schema.Dataset, split: records.Split, labels: int, count: int) -> list[Facts]:
    """The first clips of a split; of its shards no more than these lie in are read.

    Raises:
        DataError: as of `clips`.
    """
    if isinstance(split, records.Selection):
        return [*itertools.islice(clips(dataset, split, labels), count)]
    found: list[Facts] = []
    for shard in split.shards:
        if len(found) >= count:
            break
        found += _shard(dataset, shard, labels)
    return found[:count]


def _shard(dataset: schema.Dataset, shard: records.Shard, labels: int) -> list[Facts]:
    wanted, folder = _FEATURES[dataset.format], storage.path(dataset.path)
    path, found = folder / shard.file, []
    ours = dataset.format == "records"
    offsets = records.read_index(folder, shard) if ours else mediasequence.offsets(path)
    with path.open("rb", buffering=_BLOCK) as file:
        for number, offset in enumerate(offsets.tolist()):
            try:
                features = _features(cast(BinaryIO, file), offset, wanted)
            except Exception as error:  # protobuf's DecodeError has several bases
                raise records.DataError(
                    f"{path}, byte {offset:,} is no record of a clip ({error}); prepare or "
                    "copy it again"
                ) from error
            name, source = (
                b"".join(features[key].bytes_list.value[:1]).decode(errors="backslashreplace")
                for key in wanted[:2]
            )
            own = {i for i in features[wanted[2]].int64_list.value if 0 <= i < labels}
            name = name or f"{shard.file}, clip {number}"
            found.append(Facts(name, source, tuple(sorted(own))))
    return found


def _features(file: BinaryIO, offset: int, wanted: tuple[str, ...]) -> Any:
    """The wanted features of the record at an offset; those it lacks are empty."""
    file.seek(offset)
    begin = offset + 12  # behind the length and its checksum
    end = begin + int.from_bytes(file.read(8), "little")
    names, kept = {name.encode() for name in wanted}, tf.train.Example()
    for number, start, stop in _fields(file, begin, end):
        if number != 1:  # what follows the map in a tf.SequenceExample
            continue
        for _, inner, behind in _fields(file, start, stop):
            _, first, last = next(_fields(file, inner, behind))
            file.seek(first)
            if last - first <= _KEY and file.read(last - first) in names:
                file.seek(inner)
                entry = tf.train.Features.FeatureEntry.FromString(file.read(behind - inner))
                kept.features.feature[entry.key].CopyFrom(entry.value)
    return kept.features.feature


def _fields(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of the fields of a message that lies between two bytes of a file."""
    while begin < end:
        file.seek(begin)
        head = file.read(_HEAD)
        size, used = 0, 1
        for used in range(1, len(head)):
            size |= (head[used] & 127) << 7 * (used - 1)
            if head[used] < 128:
                break
        begin += 1 + used
        if head[0] & 7 != 2 or begin + size > end:
            raise ValueError("a field of another kind or size than a clip has")
        yield head[0] >> 3, begin, begin + size
        begin += size
