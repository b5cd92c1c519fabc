"""Frames and sound of a view lie where they should on the clip's clock."""

import dataclasses
import json
import typing

import input_clips
import numpy as np
import pytest
import tensorflow as tf

from av_mae.config import modality, schema
from av_mae.input import order, sampling


def _clock(frames: int, fps: float = 12.5, sound: float | None = None) -> sampling.Clock:
    seconds = frames / fps
    samples = round((seconds if sound is None else sound) * 16_000)
    return sampling.Clock(*(tf.constant(x) for x in (frames, fps, samples, seconds)))


def _video(**changes) -> dict[str, modality.Modality]:
    kinds = input_clips.both(**({"frames": 16, "stride": 4} | changes))
    return {"video": kinds["video"]}


def _audio(seconds: float) -> dict[str, modality.Modality]:
    return {"audio": dataclasses.replace(input_clips.both()["audio"], seconds=seconds)}


def _random(clock, kinds, how="dense", count=40) -> list[sampling.Windows]:
    keys = [order.key(1, tf.constant(c, tf.int64)) for c in range(count)]
    return [sampling.random_window(clock, kinds, how, key) for key in keys]


def _frames(windows) -> np.ndarray:
    return np.concatenate([w.frames.numpy() for w in np.atleast_1d(windows)])


def test_dense_frames_are_a_stride_of_time_apart_at_any_record_rate():
    """Frame i is the picture on show at its time, at most a frame before it."""
    for fps, frames in ((12.5, 60), (25.0, 100), (29.97, 130), (6.0, 40)):
        for row in _frames(_random(_clock(frames, fps), _video(), count=10)):
            late = row[0] / fps + np.arange(16) * 4 / 25.0 - row / fps
            assert np.all((late > -1e-3) & (late < 1 / fps)), fps


def test_random_starts_reach_every_place_that_holds_the_span():
    rows = _frames(_random(_clock(36), _video(), count=60))
    assert set(rows[:, 0]) == {0, 1, 2, 3, 4}
    assert rows.max() == 34 and np.all(np.diff(rows) == 2)


@pytest.mark.parametrize("how", typing.get_args(schema.Sampling))
@pytest.mark.parametrize("frames", [1, 2, 9, 15])
def test_a_short_clip_never_asks_for_a_frame_it_has_not(how, frames):
    clock, kinds = _clock(frames), _video() | _audio(0.4)
    for windows in (*_random(clock, kinds, how, 8), sampling.test_windows(clock, kinds, how, 3)):
        rows, starts = windows.frames.numpy(), windows.audio.numpy()
        assert rows.min() >= 0 and rows.max() <= frames - 1
        if how == sampling.CYCLIC:  # begins again, and so does its sound
            assert np.all((starts >= 0) & (starts < frames * 1280))
            continue
        assert np.all(np.diff(rows) >= 0)
        assert np.all((starts >= 0) & (starts <= max(0, frames * 1280 - 6400)))


def test_a_clip_shorter_than_the_span_holds_its_last_frame():
    row = _frames(_random(_clock(9), _video(), count=1))[0]
    assert row.tolist() == [0, 2, 4, 6, *[8] * 12]


def test_uniform_training_takes_one_frame_of_every_segment():
    rows = _frames(_random(_clock(70), _video(), "uniform", count=200))
    edges = np.arange(17) * 70 // 16
    assert np.all((rows >= edges[:-1]) & (rows < edges[1:]))
    assert all(len(set(rows[:, s])) == edges[s + 1] - edges[s] for s in range(16))


def test_one_view_is_the_middle():
    dense = sampling.test_windows(_clock(42), _video(), "dense", 1).frames.numpy()
    assert dense.tolist() == [list(range(5, 37, 2))]
    uniform = sampling.test_windows(_clock(64), _video(), "uniform", 1).frames.numpy()
    assert uniform.tolist() == [list(range(2, 64, 4))]


def test_dense_views_cover_the_clip_evenly():
    rows = sampling.test_windows(_clock(132), _video(), "dense", 5).frames.numpy()
    assert rows[:, 0].tolist() == [0, 25, 50, 75, 100] and rows[-1, -1] == 130


def test_draws_depend_on_the_key_alone():
    first, again = (_frames(_random(_clock(90), _video(), "uniform", 5)) for _ in range(2))
    assert np.array_equal(first, again) and len({tuple(row) for row in first}) == 5


def test_sound_is_centred_on_the_frames_and_clamped_to_the_clip():
    clock, kinds = _clock(100), _video() | _audio(4.0)
    windows = sampling.test_windows(clock, kinds, "dense", 9)
    rows, starts = windows.frames.numpy(), windows.audio.numpy() / 16_000
    centres = (rows[:, 0] + rows[:, -1] + 1) / 2 / 12.5
    assert np.allclose(starts, np.clip(centres - 2.0, 0.0, 4.0), atol=1e-4)
    assert starts[0] == 0.0 and starts[-1] == 4.0 and 0 < starts[4] < 4


def test_a_window_as_long_as_the_clip_starts_with_it():
    for seconds in (8.0, 8.5, 20.0):
        kinds = _video() | _audio(seconds)
        assert all(w.audio.numpy() == 0 for w in _random(_clock(100), kinds, count=10))


def test_sound_that_ends_early_does_not_move_the_window():
    """The window follows the pictures; the missing sound is silence, not a shift."""
    whole, short, none = (
        sampling.test_windows(
            _clock(100, sound=s), _video() | _audio(1.0), "dense", 4
        ).audio.numpy()
        for s in (8.0, 2.0, 0.0)
    )
    assert np.array_equal(whole, short) and np.array_equal(whole, none)


def test_sound_alone_is_random_in_training_and_even_at_test():
    clock = _clock(100)
    starts = np.concatenate([w.audio.numpy() for w in _random(clock, _audio(3.0))])
    assert starts.min() >= 0 and starts.max() <= 5 * 16_000 and len(set(starts)) == 40
    assert np.ptp(starts) > 3 * 16_000
    even = sampling.test_windows(clock, _audio(3.0), "dense", 6).audio.numpy()
    assert even.tolist() == [0, 16_000, 32_000, 48_000, 64_000, 80_000]
    assert sampling.test_windows(clock, _audio(3.0), "dense", 1).audio.numpy() == [40_000]


def test_cutting_ends_in_zeros():
    wave = tf.constant(np.arange(1, 9, dtype=np.int16))
    cuts = sampling.cut(wave, tf.constant([0, 2, 6, 8, 50]), 4).numpy()
    assert cuts.tolist() == [[1, 2, 3, 4], [3, 4, 5, 6], [7, 8, 0, 0], [0] * 4, [0] * 4]
    assert sampling.cut(wave[:0], tf.constant([0]), 4).numpy().tolist() == [[0] * 4]


@pytest.fixture
def official(golden) -> dict:
    file = golden / "videomae" / "official_data" / "sampling_and_views.json"
    return json.loads(file.read_text())


def test_dense_frames_equal_videomae_pretraining(official):
    """VideoMAE also holds the last frame of a short clip, but stops up to two steps early."""
    for case in official["pretrain_sampling"]:
        kinds = _video(stride=case["step"])
        clock = _clock(case["duration"], fps=25.0)
        row = _frames(_random(clock, kinds, count=1))[0]
        theirs = np.array(case["frames"])
        if case["duration"] > 16 * case["step"]:
            assert np.array_equal(row - row[0], theirs - theirs[0])
            last_start = case["duration"] - 16 * case["step"]
            assert 0 <= theirs[0] <= last_start and 0 <= row[0] <= last_start
        else:
            assert np.all((row - theirs >= 0) & (row - theirs <= 2 * case["step"]))


def test_uniform_test_views_equal_videomae(official):
    """Two views: the starts and the middles of the segments."""
    cases = [c for c in official["ssv2_sampling"] if c["mode"] == "test"]
    for case in cases:
        clock = _clock(case["duration"], fps=25.0)
        views = sampling.test_windows(clock, _video(), "uniform", 2).frames.numpy()
        assert [list(views[0]), list(views[1])] == [case["frames"][0::2], case["frames"][1::2]]
    assert len(cases) > 3


def test_uniform_training_segments_equal_videomae(official):
    """VideoMAE drops the remainder, and gives of clips shorter than 16 frames the first."""
    cases = [c for c in official["ssv2_sampling"] if c["mode"] != "test"]
    for case in cases:
        length = case["duration"] // 16
        row = _frames(_random(_clock(case["duration"]), _video(), "uniform_floor", 1))[0]
        theirs = np.array(case["frames"])
        if length == 0:
            assert np.array_equal(row, theirs) and row.max() == 0
            continue
        assert np.array_equal(row // length, theirs // length)
        if case["duration"] % 16 == 0:
            row = _frames(_random(_clock(case["duration"]), _video(), "uniform", 1))[0]
            assert np.array_equal(row // length, theirs // length)
    assert len(cases) > 8


def test_dense_finetuning_frames_equal_videomae(official):
    """Frames relative to the first, and the range of the start; 64 / 15 apart, not 4."""
    cases = [c for c in official["k400_ucf_sampling"] if c["mode"] != "test"]
    for case in cases:
        clock, kinds = _clock(case["duration"], fps=25.0), _video(stride=case["rate"])
        rows = _frames(_random(clock, kinds, "dense_linspace", 12))
        theirs = np.array(case["frames"])
        assert np.all(rows - rows[:, :1] == theirs - theirs[0])
        latest = max(case["duration"] - 16 * case["rate"] - 1, 0)
        assert theirs[0] <= latest and rows[:, 0].min() >= 0 and rows[:, 0].max() <= latest
    assert len(cases) > 20


def test_dense_linspace_starts_reach_every_place_but_the_last():
    clock = _clock(68, fps=25.0)
    rows = _frames(_random(clock, _video(), "dense_linspace", 80))
    assert set(rows[:, 0]) == {0, 1, 2, 3} and rows.max() == 66


def test_dense_linspace_keeps_time_at_any_record_rate():
    """At half the rate, the same places in time: half of every index, rounded down."""
    whole = _frames(_random(_clock(64, fps=25.0), _video(), "dense_linspace", 1))[0]
    half = _frames(_random(_clock(32, fps=12.5), _video(), "dense_linspace", 1))[0]
    assert np.all(np.abs(half - whole / 2) <= 1)


def test_dense_test_frames_are_a_stride_apart_as_videomaes(official):
    """VideoMAE's views start at a multiple of the stride, ours up to a stride beside it."""
    cases = [c for c in official["k400_ucf_sampling"] if c["mode"] == "test"]
    for case in cases:
        rate, theirs = case["rate"], np.array(case["frames"])
        clock, kinds = _clock(case["duration"], fps=25.0), _video(stride=rate)
        views = sampling.test_windows(clock, kinds, "dense_linspace", 5).frames.numpy()
        for chunk, view in enumerate(views):
            start = int(chunk * (len(theirs) - 16) / 4)
            assert np.all(np.abs(view - theirs[start : start + 16]) <= rate)
            if case["duration"] >= 16 * rate:
                assert np.all(np.diff(view) == rate)
    assert len(cases) > 10


def test_uniform_test_views_are_what_videomaes_crops_hold(official):
    (case,) = official["test_views_ssv2"]
    clock = _clock(case["n_subsampled_frames"], fps=25.0)
    views = sampling.test_windows(clock, _video(), "uniform_floor", 2).frames.numpy()
    assert len(case["views"]) == 6
    assert all(list(views[v["chunk"]]) == v["t"] for v in case["views"])


def test_dense_test_views_equal_videomae(official):
    """VideoMAE drops frames before it places its views: that is a clip prepared at its rate."""
    for case in official["test_views_k400"]:
        kinds = _video(stride=1)
        clock = _clock(case["n_subsampled_frames"], fps=25.0)
        views = sampling.test_windows(clock, kinds, "dense", case["segments"]).frames.numpy()
        theirs = {v["chunk"]: v["t"] for v in case["views"] if v["n_frames"] == 16}
        assert len(theirs) == case["segments"]
        assert all(list(views[chunk]) == frames for chunk, frames in theirs.items())
