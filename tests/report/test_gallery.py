"""Galleries are whole or absent, and the folder stays small."""

import dataclasses

import av
import numpy as np
import pytest
from PIL import Image

from av_mae.report import gallery, media, pictures


def test_everything_is_written_and_found_again(tmp_path, example):
    gallery.write(tmp_path, 1200, "val", [example, example])
    (found,) = gallery.read(tmp_path)
    assert (found.step, found.name, len(found.examples)) == (1200, "val", 2)
    shown = found.examples[0]
    assert shown.title == example.title
    assert shown.sound_seconds == 1.28
    for kinds in (shown.films, shown.spectrograms, shown.sounds):
        assert tuple(kinds) == pictures.KINDS
    assert Image.open(shown.folder / "original.jpg").size == (8 * 48 + 7 * 4, 32)
    assert Image.open(shown.folder / "original.png").size == (128, 32)
    wave = media.read_wav((shown.folder / "predicted.wav").read_bytes())
    np.testing.assert_allclose(wave, example.waves["predicted"], atol=1e-4)
    with av.open(str(shown.folder / "reconstruction.mp4")) as file:
        picture = next(file.decode(video=0)).to_ndarray(format="rgb24")
        assert picture.shape == (32, 152, 3)
        assert file.streams.audio


def test_sound_of_another_length_stays_out_of_the_looping_video(tmp_path, example):
    waves = {kind: np.tile(wave, 4) for kind, wave in example.waves.items()}
    longer = dataclasses.replace(example, waves=waves)
    gallery.write(tmp_path, 1, "val", [longer])
    shown = gallery.read(tmp_path)[0].examples[0]
    with av.open(str(shown.folder / "reconstruction.mp4")) as file:
        assert not file.streams.audio
    assert shown.sound_seconds == 5.12


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_one_modality_alone(tmp_path, example, modality):
    without = {"frames": {}} if modality == "audio" else {"spectrograms": {}, "waves": {}}
    one = dataclasses.replace(example, **without)
    gallery.write(tmp_path, 1, "val", [one])
    shown = gallery.read(tmp_path)[0].examples[0]
    assert (shown.video is None) == (modality == "audio")
    assert (not shown.films) == (modality == "audio")
    assert (not shown.sounds) == (modality == "video")


def test_writing_a_step_again_replaces_it(tmp_path, example):
    gallery.write(tmp_path, 5, "val/all", [example, example])
    gallery.write(tmp_path, 5, "val/all", [example])
    (found,) = gallery.read(tmp_path)
    assert (found.name, len(found.examples)) == ("val/all", 1)


def test_a_half_written_gallery_is_not_seen_and_goes_on_restart(tmp_path, example):
    gallery.write(tmp_path, 5, "val", [example])
    half = tmp_path / gallery.FOLDER / "00000010" / "val.tmp"
    (half / "0").mkdir(parents=True)
    (half / "gallery.json").write_text("{")
    assert [g.step for g in gallery.read(tmp_path)] == [5]
    gallery.restart(tmp_path, None)
    assert not half.exists()


def test_restart_removes_what_came_after_the_restored_step(tmp_path, example):
    sound_only = dataclasses.replace(example, frames={})
    for step in (5, 10, 15):
        gallery.write(tmp_path, step, "val", [sound_only])
    gallery.restart(tmp_path, 10)
    assert [g.step for g in gallery.read(tmp_path)] == [5, 10]


def test_only_some_are_kept_with_the_first_and_the_last(tmp_path, example):
    silent = dataclasses.replace(example, frames={}, waves={})
    for step in range(1, 31):
        gallery.write(tmp_path, step, "val", [silent])
        gallery.write(tmp_path, step, "other", [silent]) if step == 3 else None
    steps = [g.step for g in gallery.read(tmp_path) if g.name == "val"]
    assert len(steps) == gallery.KEPT
    assert (steps[0], steps[-1]) == (1, 30)
    assert max(np.diff(steps)) <= 10
    assert [g.step for g in gallery.read(tmp_path) if g.name == "other"] == [3]
