"""One clip in memory: pictures and sound of a media file on one clock."""

import dataclasses
import math
import os

import numpy as np
from absl import logging
from jaxtyping import Float, UInt8

from av_mae.config.modality import Audio

# Decoders of sound need some packets before their first right sample.
_PREROLL = 1.0


@dataclasses.dataclass(frozen=True)
class Clip:
    """Pictures and sound on one clock that starts with the first picture.

    Attributes:
        frames: frame i is shown at i / fps; None where there is no picture.
        audio: 16 kHz mono in [-1, 1]; None where there is no sound.
        source: where it comes from, for messages.
        start: where t = 0 of the clip lies in the source, seconds.
    """

    frames: UInt8[np.ndarray, "t h w 3"] | None
    fps: float
    audio: Float[np.ndarray, " s"] | None
    source: str = "clip"
    start: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the longer of pictures and sound."""
        pictures = 0.0 if self.frames is None else len(self.frames) / self.fps
        sound = 0.0 if self.audio is None else len(self.audio) / Audio.sample_rate
        return max(pictures, sound)


def read(
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    short_side: int | None = 256,
    start: float | None = None,
    end: float | None = None,
) -> Clip:
    """Reads a media file, or its part from `start` to `end` seconds.

    Args:
        fps: frames a second; None keeps the file's own rate.
        short_side: pixels that the short side is scaled down to; None keeps the size. Data sets
            are prepared at 256, too.

    Returns:
        A clip; its frames are None for a file of sound only, its audio for one without sound.

    Raises:
        ValueError: no such file, or neither pictures nor sound can be decoded from it.
        ModuleNotFoundError: PyAV is not installed.
    """
    try:
        from av_mae.prepare.media import container, decode
    except ModuleNotFoundError as error:
        message = "reading media files needs PyAV: pip install av_mae[prepare]"
        raise ModuleNotFoundError(message, name=error.name) from error
    try:
        found = decode.read(path, fps=fps, short_side=short_side, start=start, end=end)
    except container.UnreadableError as error:
        if not str(error).startswith("no video stream"):
            raise ValueError(f"{os.fspath(path)}: {error}") from error
        return _sound_only(path, start or 0.0, math.inf if end is None else end)
    for note in found.notes:
        logging.warning("%s: %s", os.fspath(path), note)
    return Clip(found.frames, found.fps, found.audio, os.fspath(path), found.start)


def _sound_only(path: str | os.PathLike[str], start: float, end: float) -> Clip:
    """A clip without pictures; of a damaged file, what could be decoded."""
    import av
    from av import error as av_error

    from av_mae.prepare.media import clock, container

    limits = container.Limits()
    sound = clock.Sound(longest=limits.seconds + 2 * _PREROLL)
    try:
        with container.open_media(path, limits) as file:
            stream = container.audio_stream(file)
            if stream is None:
                raise container.UnreadableError("neither pictures nor sound in it")
            origin = (file.start_time or 0) / av.time_base
            if start:
                file.seek(round((max(start - _PREROLL, 0.0) + origin) * av.time_base))
            for frame in file.decode(stream):
                moment = None if frame.time is None else frame.time - origin
                if moment is not None and moment >= end:
                    break
                sound.add(frame, moment)
    except container.UnreadableError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    except av_error.FFmpegError as error:
        logging.warning("%s: sound damaged: %s", os.fspath(path), error)
    wave_s = sound.samples(start, end)
    if wave_s is None:
        raise ValueError(f"{os.fspath(path)}: no sound could be decoded from it")
    return Clip(None, 0.0, wave_s.astype(np.float32) / 32768.0, os.fspath(path), start)
