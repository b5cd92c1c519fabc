"""Clips that are there twice, in one split or in two, and what is merely alike."""

import dataclasses
import io
import re

import made_media
import numpy as np
import pytest
from PIL import Image
from test_check import clip, jpeg, write

from av_mae.prepare.check import result
from av_mae.prepare.datasets import folder
from av_mae.prepare.lists.listing import Options
from av_mae.prepare.shards import build


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


def with_intro(frames, colour=0):
    """Pictures of one colour where `check` looks first, and between them those of a clip."""
    flat = jpeg(np.full((40, 60, 3), colour, np.uint8))
    looked = {1, 5, 8}  # a sixth, a half and five sixths of ten
    return tuple(flat if i in looked else frame for i, frame in enumerate(frames))


DARK = with_intro(clip("train", 3).frames)
MUTE = np.zeros(12_800, np.int16)
SONG = clip("train", 30).audio


@pytest.mark.parametrize("audio", [None, MUTE, SONG], ids=["none", "mute", "song"])
@pytest.mark.parametrize("lit", [1, 10])
def test_a_copy_whose_looked_at_pictures_are_flat_is_a_copy(tmp_path, lit, audio):
    dark = tuple(DARK[1] if i >= lit else frame for i, frame in enumerate(DARK))
    twins = {"train3", "val20"}

    def change(made):
        values = {"frames": dark, "audio": audio} if made.id in twins else {}
        return dataclasses.replace(made, **values)

    kinds = result.check(write(tmp_path, {"train": range(6), "val": range(20, 23)}, change))
    found = kinds.findings.kinds["clip in two splits"]
    assert "'train3' (train) and 'val20' (val)" in found.examples[0] and found.count == 1


@pytest.mark.parametrize("audio", [None, MUTE, SONG], ids=["none", "mute", "song"])
@pytest.mark.parametrize(
    "frames",
    [(DARK, with_intro(clip("val", 20).frames)), (DARK[1:2] * 10, with_intro(DARK, 90)[1:2] * 10)],
    ids=["dark beginnings", "one colour each"],
)
def test_other_clips_of_the_same_sound_are_at_most_a_warning(tmp_path, frames, audio):
    own = dict(zip(("train3", "val20"), frames, strict=True))

    def change(made):
        if made.id not in own:
            return made
        return dataclasses.replace(made, frames=own[made.id], audio=audio)

    outcome = result.check(write(tmp_path, {"train": range(6), "val": range(20, 23)}, change))
    kinds = outcome.findings.kinds.keys() - {"digital silence", "still pictures"}
    assert outcome.ok and kinds == ({"same sound in two splits"} if audio is SONG else set())


def film(seed):
    """Four scenes after a dark beginning, uint8 `[96 144 3]` each."""
    scenes = np.random.default_rng(seed).integers(30, 220, (4, 6, 9, 3), np.uint8)
    lit = [Image.fromarray(x).resize((144, 96), Image.Resampling.BICUBIC) for x in scenes]
    return [np.zeros((96, 144, 3), np.uint8)] * 15 + [np.asarray(lit[i // 10]) for i in range(40)]


def test_copies_of_files_are_found_however_they_were_made(tmp_path):
    small = [np.asarray(Image.fromarray(x).resize((96, 64))) for x in film(0)]
    song = made_media.click(0.5, 2.2)
    for name, pictures, options in (
        ("train/film.mp4", film(0), {"wave": song}),
        ("val/renamed.mp4", film(0), {"wave": song}),
        ("val/again.mkv", film(0), {"wave": song, "codec": "mpeg4"}),
        ("val/small.mp4", small, {"wave": song}),
        ("val/mute.mp4", film(0), {}),
        ("val/other.mp4", film(1), {"wave": song}),
    ):
        path = tmp_path / "media" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made_media.write(path, pictures, **options)
    listing = folder.clips(str(tmp_path / "media"), Options())
    settings = dataclasses.replace(made_media.SETTINGS, short_side=96)
    build.build(listing, tmp_path / "out", settings, workers=1)
    kinds = result.check(tmp_path / "out").findings.kinds

    def named(kind):
        return set(re.findall(r"(\w+)\.\w+'", " ".join(kinds[kind].examples)))

    assert named("clip in two splits") == {"film", "renamed"}
    assert "mute" in named("same pictures in two splits")
    assert {"film", "again", "small"} <= named("look-alikes in two splits")
    assert "same sound in two splits" in kinds
    assert not [kind for kind in kinds if "other" in named(kind)]  # the last of those of its sound
