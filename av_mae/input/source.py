"""A data set of either format, opened: what it holds, where its records lie, how one is read."""

import dataclasses
import os
from collections.abc import Mapping

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.input import description, example, mediasequence, offsets, order, records
from av_mae.input import sampling as sampling_lib

_CALLED = {"video": "pictures", "audio": "sound"}


@dataclasses.dataclass(frozen=True)
class Source:
    """A split that can be read.

    Attributes:
        remedy: what to do about a record that cannot be used.
    """

    table: order.Table
    maker: example.Maker
    remedy: str


def open_split(
    dataset: schema.Dataset, split_name: str, modalities: Mapping[str, modality_lib.Modality]
) -> Source:
    """Checks that the data set can give what is asked and finds its records.

    Raises:
        ConfigError: no such data set or split, or nothing in it that is asked for.
        DataError: a shard or its index is missing or damaged.
    """
    _check(dataset, modalities)
    found = description.of(dataset)
    split = found.split(split_name)
    _check_split(dataset.path, split, modalities)
    classes = len(found.labels)
    lacking = description.lacking(dataset, split, modalities)
    if dataset.format == "mediasequence":
        paths = mediasequence.shard_paths(dataset.path, split)
        return Source(
            order.Table.of([os.fspath(path) for path in paths], offsets.of_shards(paths)),
            mediasequence.maker(dataset, split, modalities, classes, lacking),
            "copy or write its shard again",
        )
    remedy = f"compare its shards with the sha256 in {records.INFO_FILE} and prepare them again"
    maker = example.Maker(modalities, dataset.sampling, classes, lacking)
    return Source(order.Table.load(dataset.path, split), maker, remedy)


def _check(dataset: schema.Dataset, modalities: Mapping[str, modality_lib.Modality]) -> None:
    if not modalities:
        raise schema.ConfigError("modalities is empty, expected video, audio or both")
    if dataset.sampling not in sampling_lib.SAMPLINGS:
        choices = ", ".join(sampling_lib.SAMPLINGS)
        raise schema.ConfigError(
            f"dataset.sampling is {dataset.sampling!r}, expected one of {choices}"
        )
    video, _ = sampling_lib.kinds(modalities)
    if video is not None and 0 < dataset.test_short_side < video.size:
        raise schema.ConfigError(
            f"dataset.test_short_side is {dataset.test_short_side}, which holds no crop of "
            f"modalities.video.size ({video.size}); use {video.size} or more, or 0"
        )


def _check_split(
    folder: str, split: records.Split, modalities: Mapping[str, modality_lib.Modality]
) -> None:
    if split.clips == 0:
        raise schema.ConfigError(
            f"split {split.name!r} of {folder!r} holds no clip; "
            "see the rejected.csv of its preparation"
        )
    for name in modalities:
        if split.having[name] == 0:
            raise schema.ConfigError(
                f"modalities.{name} is set, but no clip of split {split.name!r} in {folder!r} has "
                f"{_CALLED[name]}; leave {name} out or choose another data set"
            )
