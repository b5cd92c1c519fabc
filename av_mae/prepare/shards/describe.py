"""Describes finished shards: the info, the reports, and metadata for tensorflow-datasets."""

import collections
import csv
import dataclasses
import functools
import io
import pathlib
import tempfile
from typing import Any

import numpy as np

from av_mae import version
from av_mae.input import records, storage
from av_mae.prepare.lists import extracted
from av_mae.prepare.lists.listing import readable
from av_mae.prepare.shards import report, statistics
from av_mae.prepare.shards.settings import Settings

DATASET_VERSION = "1.0.0"


def describe(result: report.Report, settings: Settings, labels: tuple[str, ...]) -> None:
    """Writes the info, the statistics in it, metadata of tensorflow-datasets, and the reports."""
    out = result.out
    splits: dict[str, list[records.Shard]] = collections.defaultdict(list)
    for assignment in result.shards:
        splits[assignment.split].append(result.outcomes[assignment.file].shard)
    notes = [readable(said) for said in (*result.listing.notes, *result.listing.warnings)]
    info = records.Info(
        name=settings.name,
        version=DATASET_VERSION,
        fps=settings.fps,
        short_side=settings.short_side,
        labels=labels,
        splits={name: records.Split(name, tuple(shards)) for name, shards in splits.items()},
        preprocessing={
            "program": f"av_mae {version.__version__}",
            "frames": "shown at i / fps, upright, square pixels, RGB, JPEG",
            "jpeg_quality": settings.jpeg_quality,
            "sound": f"mono int16 at {records.SAMPLE_RATE} Hz on the clock of the frames",
            "max_pixels": settings.limits.pixels,
            "max_seconds": settings.limits.seconds,
            **extracted.described(result.listing.entries),
            **({"notes": notes} if notes else {}),
        },
        counts=result.counts() | {"labels": result.labels(labels)},
        audio_mean=None,
        audio_std=None,
    )
    if "train" in splits and (found := statistics.log_mel(out, info.splits["train"])):
        info = dataclasses.replace(info, audio_mean=found[0], audio_std=found[1])
    for name, rows in (("rejected", result.rejected), ("partial", result.partial)):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("id", "path", "reason"), *rows])
        content = text.getvalue().encode("utf-8", errors="surrogateescape")
        storage.write(out / f"{name}.csv", content)
    if result.clips:
        _write_metadata(out, info)
    info.save(out)


def _write_metadata(folder: pathlib.Path, info: records.Info) -> None:
    """Writes `dataset_info.json` and `features.json` for `tfds.builder_from_directory(folder)`.

    tensorflow-datasets then reads the records without this package.
    """
    import tensorflow_datasets as tfds  # slow to load
    from etils import epath

    # It writes in place, which a full disk or a kill would leave half done.
    with tempfile.TemporaryDirectory() as written:
        # It wants to see how shards are named.
        examples = [pathlib.Path(written) / split.shards[0].file for split in info.splits.values()]
        for example in examples:
            example.touch()

        template = functools.partial(
            tfds.core.ShardedFileTemplate,
            epath.Path(written),
            dataset_name=info.name,
            filetype_suffix="tfrecord",
        )
        splits = [
            tfds.core.SplitInfo(
                name=split.name,
                shard_lengths=[shard.clips for shard in split.shards],
                num_bytes=sum(shard.bytes for shard in split.shards),
                filename_template=template(split=split.name),
            )
            for split in info.splits.values()
        ]
        tfds.folder_dataset.write_metadata(
            data_dir=written,
            features=_features(info),
            split_infos=splits,
            filename_template=template(),
            version=info.version,
            description=f"{info.name}: video and sound on one clock, prepared by av_mae.",
            check_data=False,
        )
        for file in sorted(set(pathlib.Path(written).iterdir()) - set(examples)):
            storage.write(folder / file.name, file.read_bytes())


def _features(info: records.Info) -> Any:
    from tensorflow_datasets import features

    label = features.ClassLabel(names=list(info.labels)) if info.labels else np.int64
    found = {
        "id": features.Text(),
        "source": features.Text(),
        "frames": features.Sequence(features.Image(shape=(None, None, 3), encoding_format="jpeg")),
        "fps": np.float32,
        "height": np.int64,
        "width": np.int64,
        "audio": features.Tensor(shape=(None,), dtype=np.int16, encoding=features.Encoding.BYTES),
        "has_audio": np.int64,
        "start": np.float32,
        "duration": np.float32,
        "label": features.Sequence(label),
    }
    if any(split.having["boxes"] for split in info.splits.values()):
        found |= {
            "box": features.Tensor(shape=(None, 4), dtype=np.float32),
            "box_label": features.Sequence(label),
            "box_person": features.Sequence(np.int64),
            "box_time": features.Sequence(np.float32),
        }
    return features.FeaturesDict(found)
