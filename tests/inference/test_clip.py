"""Arrays become a clip if they are pictures and sound, or are told how to."""

import numpy as np
import pytest

import av_mae

FRAMES = np.zeros((10, 24, 32, 3), np.uint8)
SOUND = np.sin(np.arange(16_000) / 16_000 * 2 * np.pi * 440).astype(np.float32) / 2


def made(frames=None, audio=None, fps=10.0, **more) -> av_mae.Clip:
    return av_mae.Clip(frames, fps, audio, **more)


@pytest.mark.parametrize(
    ("frames", "advice"),
    [
        (FRAMES / 255.0, r"float64, expected uint8 of 0 to 255; scale them: \(255 \* frames\)"),
        (FRAMES - 0.5, "undo their normalisation"),
        (FRAMES.astype(np.int64), "are int64, expected uint8"),
        (FRAMES.transpose(0, 3, 1, 2), r"channels last: frames.transpose\(0, 2, 3, 1\)"),
        (FRAMES.transpose(3, 0, 1, 2), r"channels last: frames.transpose\(1, 2, 3, 0\)"),
        (FRAMES[0], r"one picture is frames\[None\]"),
        (FRAMES[..., 0], "grey pictures have three equal channels"),
        (np.zeros((4, 8, 8, 4), np.uint8), "leave out the fourth channel"),
        (FRAMES[:0], r"shape \(0, 24, 32, 3\), expected"),
    ],
)
def test_pictures_of_another_form_are_refused_with_what_to_do(frames, advice):
    with pytest.raises(ValueError, match=advice):
        made(frames)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_pictures_need_a_rate(fps):
    with pytest.raises(ValueError, match="fps is .*, expected the frames a second"):
        made(FRAMES, fps=fps)


@pytest.mark.parametrize(
    ("audio", "advice"),
    [
        (SOUND * 32_767, "audio reaches 16384|audio reaches 16383"),
        ((SOUND * 2**31).astype(np.int32), "audio is int32, expected int16, or floats"),
        (np.where(SOUND > 0.4, np.nan, SOUND), "nan_to_num"),
        (np.zeros((2, 3, 4), np.float32), r"shape \(2, 3, 4\), expected \[samples\]"),
        (np.zeros((100, 80), np.float32), r"shape \(100, 80\), expected \[samples\]"),
    ],
)
def test_sound_of_another_form_is_refused_with_what_to_do(audio, advice):
    with pytest.raises(ValueError, match=advice):
        made(audio=audio)


@pytest.mark.parametrize(
    "audio",
    [
        (SOUND * 32_768).astype(np.int16),
        np.stack([SOUND, SOUND]),
        np.stack([SOUND + 0.1, SOUND - 0.1], axis=1),
        SOUND.astype(np.float64),
    ],
    ids=["int16", "channels first", "channels last", "float64"],
)
def test_whatever_is_plainly_sound_is_taken(audio):
    clip = made(audio=audio)
    assert clip.audio.dtype == np.float32
    np.testing.assert_allclose(clip.audio, SOUND, atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_sound_at_another_rate_is_resampled(rate):
    wave = np.sin(np.arange(rate) / rate * 2 * np.pi * 440) / 2
    clip = made(audio=wave, sample_rate=rate)
    assert abs(len(clip.audio) - 16_000) <= 1
    middle = slice(1000, 15_000)
    np.testing.assert_allclose(clip.audio[middle], SOUND[middle], atol=2e-3)


def test_sound_that_is_as_long_as_if_at_another_rate_is_told(caplog):
    made(FRAMES, np.zeros(48_000, np.float32))
    assert "3.00 times as long as the pictures, as if it were at 48000 Hz" in caplog.text
    caplog.clear()
    made(FRAMES, np.zeros(48_000, np.float32), sample_rate=48_000)
    made(FRAMES, SOUND)
    assert not caplog.text


def test_a_clip_is_shown_in_a_line():
    line = "Clip(walk.mp4: 10 frames of 24x32 at 10 a second, 1.00 s of sound)"
    assert repr(made(FRAMES, SOUND, source="walk.mp4")) == line
    assert repr(made(audio=SOUND)) == "Clip(clip: 1.00 s of sound)"
