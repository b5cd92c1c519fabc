"""Clips that are there twice, in one split or in two, and what is merely alike."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from test_check import clip, jpeg, write

from av_mae.prepare.check import result


def planted(tmp_path, **values):
    """What is found where `val20` gets values of `train3`, or others."""
    source = clip("train", 3)
    same = {name: getattr(source, name) for name, value in values.items() if value is True}
    other = {name: value for name, value in values.items() if value is not True}

    def change(made):
        return dataclasses.replace(made, **same, **other) if made.id == "val20" else made

    outcome = result.check(write(tmp_path, {"train": range(6), "val": range(20, 23)}, change))
    return outcome.findings.kinds, outcome.ok


def again(frames):
    """The same pictures, coded anew."""
    pictures = [np.asarray(Image.open(io.BytesIO(frame))) for frame in frames]
    return tuple(jpeg(picture) for picture in pictures)


LOUDER = clip("train", 3).audio * 2


@pytest.mark.parametrize(
    "values, kind, fails",
    [
        ({"frames": True, "audio": True}, "clip in two splits", True),
        ({"frames": True, "audio": True, "source": True}, "clip in two splits", True),
        ({"source": True, "start": 0.2}, "clip in two splits", True),
        ({"source": True, "start": 0.5}, "source in two splits", False),
        ({"frames": True, "audio": LOUDER}, "same pictures in two splits", False),
        ({"audio": True}, "same sound in two splits", False),
        ({"frames": again(clip("train", 3).frames)}, "look-alikes in two splits", False),
    ],
)
def test_what_two_splits_share_is_named_and_fails_where_it_is_one_clip(
    tmp_path, values, kind, fails
):
    kinds, ok = planted(tmp_path, **values)
    assert kinds.keys() == {kind}
    assert "'train3' (train) and 'val20' (val)" in kinds[kind].examples[0]
    assert ok == (not fails)


def test_what_is_twice_in_a_split_is_a_warning(tmp_path):
    source = clip("train", 3)

    def change(made):
        return dataclasses.replace(source, id=made.id) if made.id == "train4" else made

    outcome = result.check(write(tmp_path, {"train": range(6)}, change))
    assert outcome.ok and outcome.findings.kinds.keys() == {"same clip twice in a split"}


def test_flat_pictures_and_silence_are_like_nothing(tmp_path):
    flat = (jpeg(np.zeros((40, 60, 3), np.uint8)),) * 10

    def change(made):
        length = 12_800 - int(made.id.strip("trainvl"))
        return dataclasses.replace(made, frames=flat, audio=np.zeros(length, np.int16))

    outcome = result.check(write(tmp_path, {"train": range(4), "val": range(20, 22)}, change))
    assert outcome.findings.kinds.keys() == {"digital silence", "still pictures"}
