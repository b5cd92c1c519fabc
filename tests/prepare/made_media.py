"""Small media files whose pictures and sounds say when they belong, for tests of preparation."""

import fractions
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import av
import numpy as np

from av_mae.prepare.shards.settings import Settings

SETTINGS = Settings(name="tiny", fps=12.5, short_side=48, clips_per_shard=5)
RATE = 48_000
_TICK = fractions.Fraction(1, 1000)


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey picture uint8 `[h w 3]` that `number_of` reads."""
    return np.full((height, width, 3), 20 + 4 * number, np.uint8)


def number_of(picture_hw3: np.ndarray) -> int:
    return round((float(picture_hw3.mean()) - 20) / 4)


def click(at: float, seconds: float) -> np.ndarray:
    """Silence `[s]` with a burst of 1 kHz that begins at `at` and lasts 50 ms."""
    seconds_s = np.arange(round(seconds * RATE)) / RATE
    inside_s = (seconds_s >= at) & (seconds_s < at + 0.05)
    return (0.8 * np.sin(2 * np.pi * 1000 * seconds_s) * inside_s).astype(np.float32)


def onset(wave_s: np.ndarray) -> float:
    """Second at which sound at 16 kHz, as a float or int16, becomes loud."""
    loud = 0.3 if np.issubdtype(wave_s.dtype, np.floating) else 0.3 * 32768
    return int(np.argmax(np.abs(wave_s.astype(float)) > loud)) / 16_000


def write(
    path: str | os.PathLike[str],
    pictures: Sequence[np.ndarray],
    times: Sequence[float] | None = None,
    *,
    wave: np.ndarray | None = None,
    sound_at: float = 0.0,
    codec: str = "libx264",
    format: str | None = None,
    turn: Sequence[int] | None = None,
    degrees: int | None = None,
    aspect: fractions.Fraction | None = None,
    layout: str = "mono",
) -> str:
    """Writes pictures at `times` (default: 25 a second) and a waveform that begins at `sound_at`.

    Args:
        turn: display matrix (a, b, c, d) of the shown point x' = a x + c y, y' = b x + d y.
        degrees: display matrix of a turn counterclockwise.
        aspect: width of a pixel by its height.
    """
    times = [i / 25 for i in range(len(pictures))] if times is None else times
    with av.open(os.fspath(path), "w", format=format) as file:
        video = file.add_stream(codec, rate=25)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            video.options = {"crf": "8", "g": "12", "preset": "ultrafast"}
        video.codec_context.time_base = fractions.Fraction(1, 25) if codec == "mjpeg" else _TICK
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            a, b, c, d = (value * 65536 for value in turn)
            video.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        if degrees is not None:
            video.set_display_rotation(degrees)
        sound = None if wave is None else file.add_stream("aac", rate=RATE, layout=layout)
        for time, pixels in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = video.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if sound is not None and wave is not None:
            frame = av.AudioFrame.from_ndarray(np.atleast_2d(wave), format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = RATE, fractions.Fraction(1, RATE)
            frame.pts = round(sound_at * RATE)
            file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
    return os.fspath(path)


def write_sound(
    path: pathlib.Path, wave: np.ndarray, *, rate: int = RATE, layout: str = "mono"
) -> pathlib.Path:
    """Writes a waveform `[s]` or `[channels s]` in the format that the suffix says."""
    codecs = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".m4a": "aac"}
    with av.open(os.fspath(path), "w") as file:
        sound = file.add_stream(codecs[path.suffix], rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.atleast_2d(wave), format="fltp", layout=layout)
        frame.sample_rate = rate
        form = av.AudioResampler(format=sound.codec_context.format, layout=layout, rate=rate)
        for piece in form.resample(frame):
            file.mux(sound.encode(piece))
        file.mux(sound.encode(None))
    return path


def child(script: str, *arguments: str, timeout: float = 120.0) -> str:
    """What a Python script prints in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
