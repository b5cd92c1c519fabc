"""Pictures and sound on one clock."""

import fractions
import types

import av
import av.error
import numpy as np
import pytest

from av_mae.prepare.media import clock, container, stamps


def sampled(times, *, fps, length, **limits):
    pictures = clock.Pictures(fps, lambda number: number, **limits)
    for number, time in enumerate(times):
        pictures.show(time, number)
    pictures.finish(length)
    return pictures


def shown_at(times, time):
    return max(i for i, start in enumerate(times) if start <= time + 1e-3)


@pytest.mark.parametrize("fps", [1.0, 7.0, 12.5, 25.0, 60.0])
@pytest.mark.parametrize("seed", range(4))
def test_sample_i_is_the_picture_shown_at_i_over_fps(fps, seed):
    rng = np.random.default_rng(seed)
    times = list(3.0 + np.cumsum(rng.uniform(0.005, 0.5, 40)))
    pictures = sampled(times, fps=fps, length=0.1)
    expected = [shown_at(times, times[0] + i / fps) for i in range(len(pictures.sampled))]
    assert pictures.sampled == expected
    assert pictures.start == times[0]
    seconds = times[-1] + 0.1 - times[0]
    assert len(pictures.sampled) / fps == pytest.approx(seconds, abs=1 / fps)


def test_time_stamps_rounded_to_milliseconds_lose_no_picture():
    times = [round(i / 30, 3) for i in range(90)]
    assert sampled(times, fps=30.0, length=0.033).sampled == list(range(90))


def test_a_picture_is_converted_once_and_only_if_shown():
    converted = []
    pictures = clock.Pictures(2.0, converted.append)
    for number in range(100):  # 100 a second
        pictures.show(number / 100, number)
    pictures.finish(1.5)
    assert converted == [0, 50, 99]
    assert len(pictures.sampled) == 5


def test_part_begins_with_the_picture_that_is_on_show():
    pictures = sampled([0.0, 1.0, 2.0, 3.0], fps=4.0, length=1.0, begin=1.5, end=2.5)
    assert pictures.sampled == [1, 1, 2, 2]
    assert pictures.start == 1.5
    assert pictures.stop == 2.5


def test_times_that_go_back_or_repeat_change_nothing():
    steady = sampled([0.0, 0.5, 1.0], fps=10.0, length=0.5)
    assert sampled([0.0, 0.0, 0.5, 0.2, 1.0], fps=10.0, length=0.5).stop == steady.stop


def test_a_wrong_time_stamp_does_not_fill_the_memory():
    with pytest.raises(container.UnreadableError, match="longer than 600 s"):
        sampled([0.0, 1e9], fps=12.5, length=0.1)


def test_a_single_short_picture_is_one_sample():
    assert sampled([0.0], fps=12.5, length=0.001).sampled == [0]


def tone(seconds, rate=48_000, hertz=440.0, start=0.0):
    seconds_s = start + np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * seconds_s)).astype(np.float32)


def frame(wave, rate=48_000, layout="mono"):
    made = av.AudioFrame.from_ndarray(np.atleast_2d(wave), format="fltp", layout=layout)
    made.sample_rate = rate
    made.time_base = fractions.Fraction(1, rate)
    return made


def heard(*pieces, rate=48_000, start=0.0, end=float("inf")):
    sound = clock.Sound()
    for time, wave in pieces:
        sound.add(frame(wave, rate), time)
    return sound.samples(start, end)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_tone_keeps_its_pitch_level_and_length_at_any_rate(rate):
    wave_s = heard((0.0, tone(1.0, rate)), rate=rate)
    assert wave_s.dtype == np.int16 and len(wave_s) == 16_000
    inner = slice(200, -200)
    expected = 32768 * tone(1.0, 16_000)
    np.testing.assert_allclose(wave_s[inner], expected[inner], atol=200)


def test_late_sound_has_silence_in_front_and_early_sound_is_cut():
    late = heard((2.5, tone(1.0)), start=2.0)
    assert len(late) == 24_000
    assert not late[:8_000].any() and late[8_100:].any()
    early = heard((0.0, tone(3.0)), start=2.0)
    assert len(early) == 16_000
    np.testing.assert_allclose(
        early[200:-200], 32768 * tone(1.0, 16_000, start=2.0)[200:-200], atol=200
    )


def test_a_frame_that_cannot_be_sound_is_silence():
    sound, broken = clock.Sound(), frame(tone(0.5))
    broken.sample_rate = 0  # as damaged headers have it
    sound.add(frame(tone(0.5)), 0.0)
    with pytest.raises(av.error.FFmpegError):
        sound.add(broken, 0.5)
    sound.add(frame(tone(0.5)), 1.0)
    loud_s = np.abs(sound.samples(0.0)) > 1000
    assert len(loud_s) == 24_000
    assert loud_s[:7900].mean() > 0.8 and loud_s[16_100:].mean() > 0.8
    assert not loud_s[8_100:15_900].any()


def test_a_gap_becomes_silence_and_what_follows_stays_in_place():
    wave_s = heard((0.0, tone(0.5)), (1.5, tone(0.5)))
    assert len(wave_s) == 32_000
    assert not wave_s[8_100:23_900].any()
    np.testing.assert_allclose(
        wave_s[24_200:31_800], 32768 * tone(0.5, 16_000)[200:7_800], atol=200
    )


def test_sound_lost_between_close_pieces_moves_nothing():
    sound = clock.Sound()
    sound.add(frame(tone(0.1)), 0.0)
    sound.interrupt()
    sound.add(frame(tone(0.1)), 0.12)
    wave_s = sound.samples(0.0)
    assert len(wave_s) == round(0.22 * 16_000)
    assert not wave_s[1_650:1_900].any()


def test_frames_without_time_stamps_follow_each_other():
    placed = stamps.Stamps(origin=3.0)
    frames = [frame(tone(0.5)), frame(tone(0.5, start=0.5)), frame(tone(0.5)), frame(tone(0.5))]
    frames[2].pts = 5 * 48_000
    times = [placed.place(one, 0.5) for one in frames]
    assert times == [0.0, 0.5, 2.0, 2.5]
    sound = clock.Sound()
    for one, time in zip(frames[:2], times, strict=False):
        sound.add(one, time)
    wave_s = sound.samples(0.0)
    np.testing.assert_allclose(wave_s[200:-200], 32768 * tone(1.0, 16_000)[200:-200], atol=300)


def test_rate_and_channels_may_change_on_the_way():
    sound = clock.Sound()
    sound.add(frame(tone(0.5)), 0.0)
    sound.add(frame(np.stack([tone(0.5, 44_100)] * 6), 44_100, "5.1"), 0.5)
    wave_s = sound.samples(0.0)
    assert len(wave_s) == 16_000
    assert np.abs(wave_s[8_500:]).max() > 3_000


def test_no_sound_at_all_is_none():
    assert clock.Sound().samples(0.0) is None
    assert heard((0.0, tone(1.0)), start=5.0) is None


def test_sound_does_not_grow_without_end():
    sound = clock.Sound(longest=1.0)
    sound.add(frame(tone(0.9)), 0.0)
    with pytest.raises(container.UnreadableError, match="longer than 1 s"):
        sound.add(frame(tone(0.2)), 0.9)


def test_sorted_times_that_still_go_back_are_no_reason_to_read_again():
    """As of damaged files, which would be read for ever."""
    placed = stamps.Stamps(origin=0.0, sort=True)
    codec = types.SimpleNamespace(name="h264", has_b_frames=True)
    for ticks in (50, 3, 4):
        packet = types.SimpleNamespace(dts=ticks, pts=None, time_base=fractions.Fraction(1, 25))
        placed.send(packet, decoding_times=True)
        placed.place(types.SimpleNamespace(time=None), 0.04, codec)
    assert placed.next == pytest.approx(5 / 25)
