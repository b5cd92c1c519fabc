"""An open data set of either format: what it holds, where its records are, how one is read."""

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
        advice: what to do about a record that cannot be used, for error messages.
    """

    table: order.Table
    maker: example.Maker
    advice: str


def open_split(
    folder: str | os.PathLike[str],
    dataset: schema.Dataset,
    split_name: str,
    modalities: Mapping[str, modality_lib.Modality],
) -> Source:
    """Checks that the data set in `folder` has what is requested and finds its records.

    Raises:
        ConfigError: no such data set or split, or nothing in it that is requested.
        DataError: a shard or its index is missing or damaged.
    """
    dataset = dataclasses.replace(dataset, path=os.fspath(folder))
    if not modalities:
        raise schema.ConfigError("modalities is empty, expected video, audio or both")
    if dataset.sampling not in sampling_lib.SAMPLINGS:
        raise schema.ConfigError(
            f"dataset.sampling is {dataset.sampling!r}, expected one of "
            f"{', '.join(sampling_lib.SAMPLINGS)}"
        )
    video, _ = sampling_lib.kinds(modalities)
    if video is not None and 0 < dataset.test_short_side < video.size:
        raise schema.ConfigError(
            f"dataset.test_short_side is {dataset.test_short_side}, which holds no crop of "
            f"modalities.video.size ({video.size}); use {video.size} or more, or 0"
        )

    info = description.of(dataset)
    split = info.split(split_name)
    _check_holds(dataset.path, split, modalities)
    classes, lacking = len(info.labels), description.lacking(dataset, split, modalities)
    if dataset.format == "mediasequence":
        paths = mediasequence.shard_paths(dataset.path, split)
        return Source(
            order.Table.of([os.fspath(path) for path in paths], offsets.of_shards(paths)),
            mediasequence.maker(dataset, split, modalities, classes, lacking),
            "copy or write its shard again",
        )
    return Source(
        order.Table.load(dataset.path, split),
        example.Maker(modalities, dataset.sampling, classes, lacking),
        f"compare its shards with the sha256 in {records.INFO_FILE} and prepare them again",
    )


def _check_holds(
    folder: str, split: records.Split, modalities: Mapping[str, modality_lib.Modality]
) -> None:
    """Raises ConfigError unless some clip of the split has each of the modalities."""
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
