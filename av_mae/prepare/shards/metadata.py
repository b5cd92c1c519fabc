"""Describes finished records to tensorflow-datasets, which then reads them without this package."""

import pathlib
import tempfile
from typing import Any

import numpy as np

from av_mae.input import records, storage


def write(folder: pathlib.Path, info: records.Info) -> None:
    """Writes `dataset_info.json` and `features.json` for `tfds.builder_from_directory(folder)`."""
    import tensorflow_datasets as tfds  # slow to load

    # It writes in place, which a full disk or a kill would leave half done.
    with tempfile.TemporaryDirectory() as made:
        # It wants to see how shards are named.
        examples = [pathlib.Path(made) / split.shards[0].file for split in info.splits.values()]
        for example in examples:
            example.touch()
        tfds.folder_dataset.write_metadata(
            data_dir=made,
            features=_features(info),
            split_infos=[_split(made, info.name, split) for split in info.splits.values()],
            filename_template=_template(made, info.name),
            version=info.version,
            description=f"{info.name}: video and sound on one clock, prepared by av_mae.",
            check_data=False,
        )
        for file in sorted(set(pathlib.Path(made).iterdir()) - set(examples)):
            storage.write(folder / file.name, file.read_bytes())


def _features(info: records.Info):
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel(names=list(info.labels)) if info.labels else np.int64
    boxes = any(split.with_boxes for split in info.splits.values())
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "source": tfds.features.Text(),
            "frames": tfds.features.Sequence(
                tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
            ),
            "fps": np.float32,
            "height": np.int64,
            "width": np.int64,
            "audio": tfds.features.Tensor(
                shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES
            ),
            "has_audio": np.int64,
            "start": np.float32,
            "duration": np.float32,
            "label": tfds.features.Sequence(label),
        }
        | (_boxes(label) if boxes else {})
    )


def _boxes(label: Any) -> dict[str, Any]:
    import tensorflow_datasets as tfds

    return {
        "box": tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
        "box_label": tfds.features.Sequence(label),
        "box_person": tfds.features.Sequence(np.int64),
        "box_time": tfds.features.Sequence(np.float32),
    }


def _split(folder: str, name: str, split: records.Split):
    import tensorflow_datasets as tfds

    return tfds.core.SplitInfo(
        name=split.name,
        shard_lengths=[shard.clips for shard in split.shards],
        num_bytes=sum(shard.bytes for shard in split.shards),
        filename_template=_template(folder, name, split.name),
    )


def _template(folder: str, name: str, split: str | None = None):
    import tensorflow_datasets as tfds
    from etils import epath

    return tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(folder),
        dataset_name=name,
        split=split,
        filetype_suffix="tfrecord",
    )
