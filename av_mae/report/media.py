"""Frames and sound encoded: mp4 (H.264 + AAC), animated WebP, PNG, JPEG, wav, mp3.

mp4 and mp3 need PyAV (`pip install av`), the others do not; see `encoders`.
"""

import fractions
import importlib.util
import io
import os
import pathlib
import wave as wave_lib
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from av_mae.config import modality

SAMPLE_RATE = modality.Audio.sample_rate
_OPTIONS = {
    "PNG": {"optimize": True},
    "JPEG": {"quality": 88, "subsampling": 0},
    "WEBP": {"quality": 80},
}


def encoders() -> bool:
    """Whether PyAV is installed, and with it `write_mp4` and `mp3`."""
    return importlib.util.find_spec("av") is not None


def write_mp4(
    path: pathlib.Path | str,
    frames_fhwc: UInt8[np.ndarray, "f h w 3"],
    fps: float,
    wave_s: Float[np.ndarray, " s"] | None = None,
) -> None:
    """Writes H.264 (yuv420p, so that browsers play it), with AAC sound where `wave_s` is given.

    Args:
        frames_fhwc: odd heights and widths are padded by repeating the edge.
        wave_s: 16 kHz mono in [-1, 1], starting with the first frame; may be longer or shorter.

    Raises:
        ValueError: no frames, or a shape or rate that is not a video's.
        ModuleNotFoundError: PyAV is not installed.
    """
    import av

    _check_frames(path, frames_fhwc, fps)
    h, w = frames_fhwc.shape[1:3]
    even = np.pad(frames_fhwc, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    # Temporary name, then rename: a killed run leaves no half file that looks whole.
    unfinished = pathlib.Path(f"{path}.tmp")
    with av.open(str(unfinished), "w", format="mp4", options={"movflags": "faststart"}) as file:
        video = file.add_stream("libx264", rate=fractions.Fraction(fps).limit_denominator(1001))
        video.height, video.width = even.shape[1:3]
        video.pix_fmt, video.options = "yuv420p", {"crf": "18"}
        sound = None if wave_s is None else file.add_stream("aac", SAMPLE_RATE, layout="mono")
        for picture in even:
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(video.encode())
        if sound is not None and wave_s is not None:
            _encode_sound(file, sound, wave_s)
    os.replace(unfinished, path)


def webp(frames_fhwc: UInt8[np.ndarray, "f h w 3"], fps: float) -> bytes:
    """A looping animation that every browser shows, without sound."""
    _check_frames("webp", frames_fhwc, fps)
    later = [Image.fromarray(frame) for frame in frames_fhwc[1:]]
    moving = {"save_all": True, "append_images": later, "duration": round(1000 / fps), "loop": 0}
    return image(frames_fhwc[0], "WEBP", **moving)


def image(image_hwc: UInt8[np.ndarray, "h w 3"], kind: str, **options: Any) -> bytes:
    """A PNG (lossless, for spectrograms and figures), a JPEG (small, for frames) or a WEBP."""
    stream = io.BytesIO()
    Image.fromarray(image_hwc).save(stream, kind, **_OPTIONS[kind], **options)
    return stream.getvalue()


def wav(wave_s: Float[np.ndarray, " s"]) -> bytes:
    """16-bit mono at 16 kHz; values outside [-1, 1] are clipped."""
    stream = io.BytesIO()
    with wave_lib.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(_int16(wave_s).astype("<i2").tobytes())
    return stream.getvalue()


def read_wav(data: bytes) -> Float[np.ndarray, " s"]:
    """What `wav` wrote, as float32 in [-1, 1]."""
    with wave_lib.open(io.BytesIO(data)) as file:
        samples_s = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples_s.astype(np.float32) / 32767.0


def mp3(wave_s: Float[np.ndarray, " s"]) -> bytes:
    """48 kbit/s mono: a fifth of the wav, and every browser plays it."""
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format="mp3") as file:
        sound = file.add_stream("libmp3lame", SAMPLE_RATE, layout="mono")
        sound.bit_rate = 48_000
        _encode_sound(file, sound, wave_s)
    return stream.getvalue()


def _encode_sound(file: Any, stream: Any, wave_s: np.ndarray) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(_int16(wave_s)[None], format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    frame.pts = 0
    resampler = av.AudioResampler(stream.format, "mono", SAMPLE_RATE, stream.frame_size or None)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        file.mux(stream.encode(piece))
    file.mux(stream.encode())


def _int16(wave_s: np.ndarray) -> np.ndarray:
    return np.round(np.clip(np.nan_to_num(wave_s), -1.0, 1.0) * 32767.0).astype(np.int16)


def _check_frames(path: pathlib.Path | str, frames_fhwc: np.ndarray, fps: float) -> None:
    shape, kind = frames_fhwc.shape, frames_fhwc.dtype
    if len(shape) != 4 or shape[3] != 3 or not shape[0] or kind != np.uint8:
        raise ValueError(f"{path}: frames are {kind} {shape}, expected uint8 (f, h, w, 3), f >= 1")
    if not fps > 0:
        raise ValueError(f"{path}: {fps} frames a second, expected a rate above 0")
