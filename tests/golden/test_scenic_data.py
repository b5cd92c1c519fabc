"""Frames of Scenic's test views, and its spectrograms' statistics.

Its records (MediaSequence files) are not read yet; what is compared here does not depend on them.
"""

import re

import golden_cases
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

from av_mae import modality
from av_mae.input import sampling
from av_mae.preprocess import audio


def _indices():
    file = golden_cases.FOLDER / "scenic/data/pipeline.json"
    found = golden_cases.settings(file)["sampling_indices"] if file.is_file() else {}
    return [pytest.param(name, indices, id=name) for name, indices in found.items()]


@pytest.mark.parametrize("name, expected", _indices())
def test_frames_of_test_views(name, expected):
    """A clip shorter than the span begins again in Scenic; here it holds its last frame."""
    kind, length, frames, stride = re.fullmatch(r"(\w+?)_L(\d+)_n(\d+)_s(\d+)", name).groups()
    length, frames, stride = int(length), int(frames), int(stride)
    views = int(kind.removeprefix("linspace")) if kind.startswith("linspace") else 1
    video = modality.Video(frames=frames, stride=stride, size=8, patch=(1, 8, 8))
    values = (length, 25.0, length * 640, length / 25.0)
    clock = sampling.Clock(*(tf.constant(x) for x in values))
    ours = sampling.test_windows(clock, {"video": video}, "dense", views).frames.numpy()
    if views == 1:
        theirs = np.array([expected])
    else:  # first and last frame of each view
        theirs, ours = np.array(expected), ours[:, [0, -1]]
    if length >= frames * stride:
        assert np.array_equal(ours, theirs)
    else:
        again = np.minimum(np.arange(frames) * stride, length - 1)
        assert np.array_equal(ours[0], again if views == 1 else again[[0, -1]])


def test_normalised_spectrograms():
    found = golden_cases.arrays(golden_cases.at("scenic/data/pipeline.npz"))
    mean, std = 1.102, 2.762  # of AudioSet, in its finetuning config
    ours = audio.normalise(jnp.asarray(found["spec_in"])[None], mean, std)
    expected = found["decoded_meanstd"][..., 0]
    golden_cases.close(np.asarray(ours)[0], expected)
