"""Written files decode to what went in."""

import fractions
import io

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from av_mae.report import media


def gradient(f: int, h: int, w: int) -> np.ndarray:
    """Smooth frames, each a little brighter than the one before."""
    y, x = np.mgrid[0:h, 0:w]
    first = np.stack([60 + 2 * x, 60 + 2 * y, np.full_like(x, 90)], -1)
    return np.stack([first + 5 * i for i in range(f)]).clip(0, 255).astype(np.uint8)


def tone(hertz: float, seconds: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 16_000)) / 16_000)).astype(
        np.float32
    )


def pitch(wave_s: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave_s * np.hanning(len(wave_s))))
    return float(spectrum.argmax() * 16_000 / len(wave_s))


def decode_sound(file: str | io.BytesIO) -> np.ndarray:
    pieces = [frame.to_ndarray() for frame in av.open(file, "r").decode(audio=0)]
    sound = np.concatenate([piece.reshape(-1) for piece in pieces])
    return sound / 32768.0 if sound.dtype == np.int16 else sound


def test_mp4_has_the_frames_the_rate_and_the_sound(tmp_path):
    frames = gradient(10, 32, 48)
    media.write_mp4(tmp_path / "a.mp4", frames, 6.25, tone(440, 1.6))
    with av.open(str(tmp_path / "a.mp4")) as file:
        video, sound = file.streams.video[0], file.streams.audio[0]
        assert (video.codec.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (sound.codec.name, sound.rate) == ("aac", 16_000)
        assert video.average_rate == fractions.Fraction(25, 4)
        decoded = np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video)])
    assert decoded.shape == frames.shape
    assert abs(decoded.astype(int) - frames).mean() < 4
    assert pitch(decode_sound(str(tmp_path / "a.mp4"))) == pytest.approx(440, abs=3)


def test_odd_sizes_are_padded_with_the_edge(tmp_path):
    frames = gradient(3, 33, 47)
    media.write_mp4(tmp_path / "odd.mp4", frames, 25.0)
    with av.open(str(tmp_path / "odd.mp4")) as file:
        assert not file.streams.audio
        decoded = np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])
    assert decoded.shape == (3, 34, 48, 3)
    assert abs(decoded[:, :33, :47].astype(int) - frames).mean() < 4
    assert abs(decoded[:, :33, 47].astype(int) - frames[:, :, 46]).mean() < 6


def test_one_frame_and_sound_longer_than_the_frames(tmp_path):
    media.write_mp4(tmp_path / "still.mp4", gradient(1, 16, 16), 12.5, tone(300, 2.0))
    with av.open(str(tmp_path / "still.mp4")) as file:
        assert len(list(file.decode(video=0))) == 1
    assert len(decode_sound(str(tmp_path / "still.mp4"))) == pytest.approx(32_000, abs=2048)


@pytest.mark.parametrize(
    ("frames", "fps", "words"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), 25.0, "f >= 1"),
        (np.zeros((2, 8, 8, 3), np.float32), 25.0, "float32"),
        (np.zeros((2, 8, 8), np.uint8), 25.0, r"\(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), 0.0, "rate above 0"),
    ],
)
def test_what_is_no_video_is_refused_and_leaves_no_file(tmp_path, frames, fps, words):
    with pytest.raises(ValueError, match=words):
        media.write_mp4(tmp_path / "bad.mp4", frames, fps)
    assert not list(tmp_path.iterdir())


def test_wav_round_trip_clips_what_is_too_loud():
    wave = np.array([0.0, 0.5, -0.5, 1.7, -1.7, np.nan], np.float32)
    back = media.read_wav(media.wav(wave))
    np.testing.assert_allclose(back, [0, 0.5, -0.5, 1, -1, 0], atol=1 / 32767)


def test_mp3_is_small_and_keeps_the_tone():
    wave = tone(440, 4.0)
    data = media.mp3(wave)
    assert len(data) < len(media.wav(wave)) / 4
    sound = decode_sound(io.BytesIO(data))
    assert len(sound) == pytest.approx(len(wave), abs=2500)
    assert pitch(sound) == pytest.approx(440, abs=3)


def test_webp_moves_and_loops():
    image = Image.open(io.BytesIO(media.webp(gradient(5, 20, 30), 10.0)))
    assert (image.size, image.info["loop"]) == ((30, 20), 0)
    assert len(list(ImageSequence.Iterator(image))) == 5
    image.seek(0)
    first = np.asarray(image.convert("RGB")).astype(int)
    image.seek(4)
    assert np.asarray(image.convert("RGB")).astype(int).mean() - first.mean() == pytest.approx(
        20, abs=3
    )
