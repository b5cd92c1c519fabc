"""Scenic's data pipeline on its own records: views, pixels, spectrograms, labels, statistics."""

import re

import golden_cases
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

from av_mae.config import modality, schema
from av_mae.input import pipeline, sampling
from av_mae.preprocess import inputs


def _indices():
    file = golden_cases.FOLDER / "scenic/data/pipeline.json"
    found = golden_cases.settings(file)["sampling_indices"] if file.is_file() else {}
    return [pytest.param(name, indices, id=name) for name, indices in found.items()]


@pytest.mark.parametrize("name, expected", _indices())
def test_frames_of_test_views(name, expected):
    kind, length, frames, stride = re.fullmatch(r"(\w+?)_L(\d+)_n(\d+)_s(\d+)", name).groups()
    length, frames, stride = int(length), int(frames), int(stride)
    views = int(kind.removeprefix("linspace")) if kind.startswith("linspace") else 1
    video = modality.Video(frames=frames, stride=stride, size=8, patch=(1, 8, 8))
    values = (length, 25.0, length * 640, length / 25.0)
    clock = sampling.Clock(*(tf.constant(x) for x in values))
    ours = sampling.test_windows(clock, {"video": video}, "dense_cyclic", views).frames.numpy()
    if views == 1:
        assert ours.tolist() == [expected]
    else:  # first and last frame of each view
        assert ours[:, [0, -1]].tolist() == expected


@pytest.fixture(scope="module")
def scenic():
    """(settings of Scenic's run, its batches by name)."""
    settings = golden_cases.settings(golden_cases.at("scenic/data/pipeline.json"))
    return settings["dataset_configs"], golden_cases.arrays(
        golden_cases.at("scenic/data/pipeline.npz")
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Scenic's records in a table, as a user has them."""
    folder = tmp_path_factory.mktemp("mediasequence")
    files = sorted(golden_cases.at("scenic/data").glob("*.sequence_example.pb"))
    with tf.io.TFRecordWriter(str(folder / "val-00000-of-00001")) as writer:
        for file in files:
            writer.write(file.read_bytes())
    return folder


def _ours(scenic, table, views):
    """(inputs of the model with all views as rows, labels of the clips), by Scenic's settings."""
    c = scenic[0]
    columns = c["num_spec_frames"] * c["spec_shape"][0]
    modalities = {
        "video": modality.Video(
            frames=c["num_frames"], stride=c["stride"], size=c["crop_size"], patch=(2, 4, 4)
        ),
        "audio": modality.Audio(
            seconds=columns / 100, mels=c["spec_shape"][1], patch=(4, 4),
            mean=c["normalization_mean_spec"], std=c["normalization_std_spec"],
        ),
    }  # fmt: skip
    dataset = schema.Dataset(
        format="mediasequence",
        mediasequence=schema.MediaSequence(classes=c["num_classes"]),
        sampling="dense_cyclic",
        test_short_side=c["min_resize_test"],
    )
    split = c["tables"]["validation"]
    (batch,) = pipeline.eval_batches(
        table, split, modalities, dataset=dataset, batch_size=2, temporal_views=views
    )
    rows = {k: jnp.asarray(batch[k]).reshape(-1, *batch[k].shape[2:]) for k in modalities}
    return inputs.prepare(rows, modalities), batch["label"]


@pytest.mark.parametrize("prefix", ["valid", "test"])
def test_batches_of_its_own_records(scenic, table, prefix):
    """One middle view, or several: pixels, spectrograms and labels are Scenic's."""
    views = 1 if prefix == "valid" else scenic[0]["num_test_clips"]
    ours, labels = _ours(scenic, table, views)
    names = ["valid"] if prefix == "valid" else ["test0", "test1"]  # a batch a clip
    theirs = {
        key: np.concatenate([scenic[1][f"{name}/{key}"][0] for name in names])
        for key in ("inputs/rgb", "inputs/spectrogram", "label")
    }
    golden_cases.close(ours["video"], theirs["inputs/rgb"])
    golden_cases.close(ours["audio"], theirs["inputs/spectrogram"][..., 0])
    assert np.array_equal(np.repeat(labels, views, axis=0), theirs["label"])


def test_normalised_spectrograms(scenic):
    found = scenic[1]
    spectrogram = jnp.asarray(found["spec_in"])[None]

    def ours(mean, std):
        shape = spectrogram.shape[1:]
        spec = modality.Audio(
            seconds=shape[0] / 100, mels=shape[1], patch=(1, 1), mean=mean, std=std
        )
        return np.asarray(inputs.prepare({"audio": spectrogram}, {"audio": spec})["audio"])[0]

    mean, std = 1.102, 2.762  # of AudioSet, in its finetuning config
    golden_cases.close(ours(mean, std), found["decoded_meanstd"][..., 0])
    # "inflate" repeats the one channel that ours has.
    for channel in range(3):
        golden_cases.close(ours(0.0, 1.0), found["decoded_inflate"][..., channel])
    # Without zero_centering (x + 1) / 2 comes last, which other statistics say as well.
    golden_cases.close(ours(-1.0, 2.0), found["decoded_nozero"][..., 0])
