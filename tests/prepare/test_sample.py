"""The embedded data set: deterministic, real files, classes that need both modalities."""

import collections

import av
import numpy as np
import pytest

from av_mae.prepare import datasets
from av_mae.prepare.datasets import sample
from av_mae.prepare.media import decode


def test_the_same_clip_is_the_same_bytes(tmp_path):
    task = sample.Task(str(tmp_path / "a.mp4"), "turning", "falling", (1, 2, 3))
    sample.render_clip(task)
    first = (tmp_path / "a.mp4").read_bytes()
    sample.render_clip(task)
    assert (tmp_path / "a.mp4").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_clips_are_real_files_with_picture_and_sound(tmp_path):
    path = tmp_path / "a.mp4"
    sample.render_clip(sample.Task(str(path), "moving", "beeping", (0,)))
    with av.open(str(path)) as file:
        assert [stream.codec_context.name for stream in file.streams] == ["h264", "aac"]
    clip = decode.decode(path)
    assert len(clip.frames) == 50 and clip.frames[0].shape == (64, 64, 3)
    assert clip.duration == pytest.approx(2.0, abs=0.05)
    assert np.abs(clip.audio / 32768).max() > 0.05


def test_finished_files_are_kept_and_missing_ones_rendered(tmp_path):
    clips = {"train": 1}
    sample.render(tmp_path, workers=1, clips=clips)
    files = sorted(tmp_path.rglob("*.mp4"))
    assert [file.parent.name for file in files] == sorted(sample.CLASSES)
    lost, *others = files
    expected = lost.read_bytes()
    lost.unlink()
    before = [file.stat().st_mtime_ns for file in others]
    sample.render(tmp_path, workers=1, clips=clips)
    assert lost.read_bytes() == expected
    assert [file.stat().st_mtime_ns for file in others] == before


def test_files_of_another_revision_are_rendered_anew(tmp_path):
    sample.render(tmp_path, workers=1, clips={"train": 1})
    (tmp_path / "rendered.json").write_text('{"revision": 0}')
    file = next(tmp_path.rglob("*.mp4"))
    file.write_bytes(b"of long ago")
    sample.render(tmp_path, workers=1, clips={"train": 1})
    assert len(file.read_bytes()) > 1000


def test_each_class_is_a_pair_that_either_modality_sees_half_of():
    motions = collections.Counter(name.split("+")[0] for name in sample.CLASSES)
    sounds = collections.Counter(name.split("+")[1] for name in sample.CLASSES)
    assert len(sample.CLASSES) == len(motions) * len(sounds) == len(set(sample.CLASSES))
    assert set(motions.values()) == {len(sounds)} and set(sounds.values()) == {len(motions)}


def shape_of(frames):
    """Centre [t, 2], area [t] and direction of the long axis [t, 2] of the bright shape."""
    bright_thw = frames.mean(-1) > 115
    centres, areas, axes = [], [], []
    for bright_hw in bright_thw:
        points_n2 = np.argwhere(bright_hw).astype(float)
        centres.append(points_n2.mean(0))
        areas.append(len(points_n2))
        axes.append(np.linalg.eigh(np.cov(points_n2.T))[1][:, -1])
    return np.array(centres), np.array(areas), np.array(axes)


def drawn(motion, seeds=12):
    return [shape_of(sample.draw(motion, np.random.default_rng(seed))) for seed in range(seeds)]


def test_only_moving_shapes_leave_their_place():
    way = {m: np.median([np.ptp(c, 0).max() for c, _, _ in drawn(m)]) for m in sample.MOTIONS}
    assert way["moving"] > 2 * max(way["turning"], way["breathing"])


def test_only_breathing_shapes_change_their_size():
    change = {m: np.median([a.max() / a.min() for _, a, _ in drawn(m)]) for m in sample.MOTIONS}
    assert change["breathing"] > 2 > 1.5 * max(change["moving"], change["turning"]) / 1.2


def pitch(wave_s):
    """Hertz of the loudest of 400 windows, as loud as it is: weights and pitches."""
    windows = wave_s[: len(wave_s) // 2048 * 2048].reshape(-1, 2048) * np.hanning(2048)
    power = np.abs(np.fft.rfft(windows)) ** 2
    return power.max(1), power.argmax(1) * sample.RATE / 2048


def climbs(sound, seed):
    """Share of the loud moments after which the pitch is higher."""
    power, hertz = pitch(sample.play(sound, np.random.default_rng(seed)))
    loud = (power[1:] > 0.2 * power.max()) & (power[:-1] > 0.2 * power.max())
    steps = np.diff(hertz)[loud]
    return np.mean(np.sign(steps))


def test_sounds_rise_fall_or_stay():
    for seed in range(8):
        assert climbs("rising", seed) > 0.2
        assert climbs("falling", seed) < -0.2
        assert abs(climbs("beeping", seed)) < 0.2


def test_rising_and_falling_have_the_same_average_spectrum():
    def spectrum(sound):
        waves = [sample.play(sound, np.random.default_rng(seed)) for seed in range(40)]
        power = np.mean([np.abs(np.fft.rfft(wave)) ** 2 for wave in waves], 0)
        bands = power[: 4000 * 2].reshape(10, -1).mean(1)
        return bands / bands.sum()

    np.testing.assert_allclose(spectrum("rising"), spectrum("falling"), atol=0.06)


def test_a_source_is_refused(tmp_path):
    with pytest.raises(ValueError, match="leave out --source=x"):
        sample.clips("x", datasets.Options(out=str(tmp_path)))
