"""DMVR's MediaSequence files, read as they are: one tf.SequenceExample a clip, in TFRecords.

A split is a table of shards `<table>-00000-of-00004` in one folder; `train@4` asks for just four.
Scenic's AV-MAE was trained on such files (https://github.com/google-deepmind/dmvr).

The byte offsets of their records are scanned once, from length to length, and kept as
`<shard>.index` beside the shard or, where that folder cannot be written, in the user's cache.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from av_mae.config import schema
from av_mae.input import example, order, records, storage

# What to do about a record that cannot be used.
ADVICE = "copy or write its shard again"

# Clips of a table that are read to learn its features.
_SAMPLED = 32
# Reads wait for the disk or the network, not for a core.
_READERS = 16
_GZIP = b"\x1f\x8b"
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})")


def info(folder: str | os.PathLike[str], settings: schema.MediaSequence) -> records.Info:
    """Describes the tables of a folder; each is read when it is looked up in `splits`.

    Raises:
        ConfigError: the folder or the file of label names does not exist, or settings contradict.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise schema.ConfigError(f"dataset.path is {os.fspath(folder)!r}, which is no folder")
    if settings.sample_rate % records.SAMPLE_RATE:
        raise schema.ConfigError(
            f"dataset.mediasequence.sample_rate is {settings.sample_rate}, expected a multiple of "
            f"{records.SAMPLE_RATE}; for other rates make records with python -m av_mae.prepare"
        )
    return records.Info(
        name=folder.name,
        version="",
        fps=settings.fps,
        short_side=0,
        labels=_labels(settings),
        splits=_Tables(folder),
        preprocessing={},
        counts={},
        audio_mean=None,
        audio_std=None,
    )


def opened(maker: example.Maker, split: records.Split) -> tuple[order.Table, example.SequenceMaker]:
    """Where the records of a split lie, and what builds examples as `maker` would of them.

    Raises:
        ConfigError: its first clips do not have the requested kind of sound.
    """
    folder, wanted = pathlib.Path(maker.dataset.path), maker.dataset.mediasequence.sound
    paths = [folder / shard.file for shard in split.shards]
    table = order.Table.of([os.fspath(path) for path in paths], _offsets_of_shards(paths))
    features = _features(paths)
    found = [kind for kind, name in example.SOUNDS.items() if name in features]
    sound = found[0] if wanted == "auto" and found else wanted
    if "audio" in maker.modalities and sound not in found:
        names = ", ".join(example.SOUNDS.values())
        raise schema.ConfigError(
            f"dataset.mediasequence.sound is {sound!r}, but the first {_SAMPLED} clips of "
            f"{split.name!r} have {' and '.join(found) or 'no sound'} ({names})"
        )
    return table, example.SequenceMaker(**vars(maker), sound=sound)


class _Tables(Mapping[str, records.Split]):
    """The tables of a folder by name, `train` or `train@4`."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def __getitem__(self, name: str) -> records.Split:
        paths = self._paths(name)
        if not paths:
            raise KeyError(name)
        by_shard = _offsets_of_shards(paths)  # first, since it reports what is no TFRecord file
        features = _features(paths)
        heard = not features.isdisjoint(example.SOUNDS.values())
        shown = example.FRAMES in features
        shards = []
        for path, found in zip(paths, by_shard, strict=True):
            file, size = os.path.relpath(path, self._folder), path.stat().st_size
            has = {"with_pictures": shown * len(found), "with_sound": heard * len(found)}
            shards.append(
                records.Shard(file, len(found), **has, with_boxes=0, bytes=size, sha256="")
            )
        return records.Split(name, tuple(shards))

    def __iter__(self) -> Iterator[str]:
        matches = (_SHARD.fullmatch(path.name) for path in self._folder.iterdir())
        return iter(sorted({match[1] for match in matches if match}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._paths(name))

    def _paths(self, name: str) -> list[pathlib.Path]:
        """The shards of a table in order; none if there is no such table."""
        table, at, count = name.partition("@")
        if at and not count.isdecimal():
            raise schema.ConfigError(f"table {name!r}: expected a number of shards behind the @")
        place = self._folder / table
        found = {path.name for path in place.parent.glob("*-of-*")}
        matches = [match for match in map(_SHARD.fullmatch, found) if match]
        sizes = {int(match[3]) for match in matches if match[1] == place.name}
        if not sizes:
            return []
        if not at and len(sizes) > 1:
            known = " and ".join(f"{name}@{n}" for n in sorted(sizes))
            raise schema.ConfigError(f"table {name!r} is there more than once: say {known}")
        number = int(count) if at else sizes.pop()
        shards = [f"{table}-{i:05d}-of-{number:05d}" for i in range(number)]
        missing = [shard for shard in shards if pathlib.Path(shard).name not in found]
        if missing:
            raise schema.ConfigError(
                f"table {name!r} lacks {len(missing)} of {number} shards, the first is {missing[0]}"
            )
        return [self._folder / shard for shard in shards]


def _features(paths: list[pathlib.Path]) -> set[str]:
    """Names of the features that the first clips of a table have; any one clip may lack some."""
    names: set[str] = set()
    clips = 0
    for path in paths:
        with open(path, "rb") as file:
            while clips < _SAMPLED and (head := file.read(12)):
                payload = file.read(int.from_bytes(head[:8], "little"))
                file.read(4)
                try:
                    clip = tf.train.SequenceExample.FromString(payload)
                except Exception as error:  # protobuf's DecodeError has several bases
                    problem = f"{path} holds no tf.SequenceExample: {error}"
                    raise records.DataError(problem) from error
                names |= set(clip.feature_lists.feature_list)
                clips += 1
    return names


def _labels(settings: schema.MediaSequence) -> tuple[str, ...]:
    if not settings.labels:
        return tuple(str(i) for i in range(settings.classes))
    path = pathlib.Path(settings.labels)
    if not path.is_file():
        raise schema.ConfigError(f"dataset.mediasequence.labels: no file {settings.labels!r}")
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    if not all(names):
        raise schema.ConfigError(
            f"{path}, line {names.index('') + 1} is empty; expected a label name in every line"
        )
    if settings.classes not in (0, len(names)):
        raise schema.ConfigError(
            f"dataset.mediasequence.classes is {settings.classes}, but {settings.labels} has "
            f"{len(names)} lines; leave classes at 0"
        )
    return names


def _offsets_of_shards(paths: list[pathlib.Path]) -> list[np.ndarray]:
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(offsets, paths))


def offsets(path: pathlib.Path) -> np.ndarray:
    """Byte offsets int64 `[records]` of one shard.

    Raises:
        DataError: it is no TFRecord file, is compressed, or was cut off.
    """
    index = records.index_path(path)
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = hashlib.sha256(os.fsencode(path.parent.resolve())).hexdigest()[:16]
    places = (index, cache / "av_mae" / "index" / folder / index.name)
    for place in places:
        if (found := _cached(place, path)) is not None:
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
    found = np.frombuffer(raw[: len(raw) // 8 * 8], "<i8")
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        last = _end(file.fileno(), int(found[-1])) if len(found) else 0
    fits = len(raw) % 8 == 0 and last == size and records.plausible(found, size)
    return found if fits else None


def _scan(path: pathlib.Path) -> np.ndarray:
    """Goes from length to length through the whole file."""
    found, position = [], 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while position < size:
            end = _end(file.fileno(), position)
            if end <= size:
                found.append(position)
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
    return np.asarray(found, "<i8")


def _end(file: int, position: int) -> int:
    """Where the record that begins at `position` ends, by its length field."""
    length = int.from_bytes(os.pread(file, 8, position), "little")
    return position + length + records.FRAMING
