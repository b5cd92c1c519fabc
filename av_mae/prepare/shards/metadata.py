"""Describes finished records to tensorflow-datasets, which then reads them without this package."""

import pathlib
import tempfile
from typing import Any

import numpy as np

from av_mae.input import records, storage


def write(folder: pathlib.Path, info: records.Info) -> None:
    """Writes `dataset_info.json` and `features.json` for `tfds.builder_from_directory(folder)`."""
    import tensorflow_datasets as tfds  # slow to load
    from etils import epath

    # It writes in place, which a full disk or a kill would leave half done.
    with tempfile.TemporaryDirectory() as written:
        # It wants to see how shards are named.
        examples = [pathlib.Path(written) / split.shards[0].file for split in info.splits.values()]
        for example in examples:
            example.touch()

        def template(split: str | None = None) -> Any:
            return tfds.core.ShardedFileTemplate(
                data_dir=epath.Path(written),
                dataset_name=info.name,
                split=split,
                filetype_suffix="tfrecord",
            )

        splits = [
            tfds.core.SplitInfo(
                name=split.name,
                shard_lengths=[shard.clips for shard in split.shards],
                num_bytes=sum(shard.bytes for shard in split.shards),
                filename_template=template(split.name),
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
