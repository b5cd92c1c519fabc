"""DMVR's MediaSequence files, read as they are: one tf.SequenceExample a clip, in TFRecords.

A split is a table of shards `<table>-00000-of-00004` in one folder; `train@4` asks for just four.
Scenic's AV-MAE was trained on such files (https://github.com/google-deepmind/dmvr).
"""

import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

import tensorflow as tf

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.input import offsets, records, sequence_example

# Clips of a table that are read to learn its features.
_SAMPLED = 32
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
        name=folder.name, version="", fps=settings.fps, short_side=0, labels=_labels(settings),
        splits=_Tables(folder), preprocessing={}, counts={}, audio_mean=None, audio_std=None,
    )  # fmt: skip


def shard_paths(folder: str | os.PathLike[str], split: records.Split) -> list[pathlib.Path]:
    return [pathlib.Path(folder) / shard.file for shard in split.shards]


def maker(
    dataset: schema.Dataset,
    split: records.Split,
    modalities: Mapping[str, modality_lib.Modality],
    classes: int,
    lacking: frozenset[str],
) -> sequence_example.SequenceMaker:
    """Builds examples of a split, from the kind of sound that its first clips have.

    Raises:
        ConfigError: none of them has the requested one.
    """
    settings = dataset.mediasequence
    found = _sounds(_features(shard_paths(dataset.path, split)))
    sound = found[0] if settings.sound == "auto" and found else settings.sound
    if "audio" in modalities and sound not in found:
        names = ", ".join(sequence_example.SOUNDS.values())
        raise schema.ConfigError(
            f"dataset.mediasequence.sound is {sound!r}, but the first {_SAMPLED} clips of "
            f"{split.name!r} have {' and '.join(found) or 'no sound'} ({names})"
        )
    return sequence_example.SequenceMaker(
        modalities, dataset.sampling, classes, lacking, settings, sound
    )


class _Tables(Mapping[str, records.Split]):
    """The tables of a folder by name, `train` or `train@4`."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def __getitem__(self, name: str) -> records.Split:
        paths = self._paths(name)
        if not paths:
            raise KeyError(name)
        by_shard = offsets.of_shards(paths)  # first, since it reports what is no TFRecord file
        features = _features(paths)
        heard, shown = bool(_sounds(features)), sequence_example.FRAMES in features
        shards = [
            records.Shard(
                file=os.path.relpath(path, self._folder),
                clips=len(found),
                with_pictures=len(found) if shown else 0,
                with_sound=len(found) if heard else 0,
                with_boxes=0,
                bytes=path.stat().st_size,
                sha256="",
            )
            for path, found in zip(paths, by_shard, strict=True)
        ]
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
        by_size: dict[int, dict[int, pathlib.Path]] = {}
        for path in place.parent.glob("*-of-*"):
            match = _SHARD.fullmatch(path.name)
            if match and match[1] == place.name:
                by_size.setdefault(int(match[3]), {})[int(match[2])] = path
        if not by_size:
            return []
        if not at and len(by_size) > 1:
            sizes = " and ".join(f"{name}@{n}" for n in sorted(by_size))
            raise schema.ConfigError(f"table {name!r} is there more than once: say {sizes}")
        number = int(count) if at else next(iter(by_size))
        shards = by_size.get(number, {})
        missing = [i for i in range(number) if i not in shards]
        if missing:
            raise schema.ConfigError(
                f"table {name!r} lacks {len(missing)} of {number} shards, the first is "
                f"{table}-{missing[0]:05d}-of-{number:05d}"
            )
        return [shards[i] for i in range(number)]


def _features(paths: list[pathlib.Path]) -> frozenset[str]:
    """Names of the features that the first clips of a table have; any one clip may lack some."""
    names: set[str] = set()
    for clip in itertools.islice(_clips(paths), _SAMPLED):
        names |= set(clip.feature_lists.feature_list)
    return frozenset(names)


def _clips(paths: list[pathlib.Path]) -> Iterator[tf.train.SequenceExample]:
    for path in paths:
        with open(path, "rb") as file:
            while head := file.read(12):
                payload = file.read(int.from_bytes(head[:8], "little"))
                file.read(4)
                try:
                    yield tf.train.SequenceExample.FromString(payload)
                except Exception as error:  # protobuf's DecodeError has several bases
                    raise records.DataError(
                        f"{path} holds no tf.SequenceExample: {error}"
                    ) from error


def _sounds(held: frozenset[str]) -> list[str]:
    return [kind for kind, name in sequence_example.SOUNDS.items() if name in held]


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
