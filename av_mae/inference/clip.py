"""One clip in memory: pictures and sound of a media file on one clock."""

import contextlib
import dataclasses
import math
import os
import types
from collections.abc import Iterator
from typing import Literal

import numpy as np
from absl import logging
from jaxtyping import Float, UInt8

from av_mae.config.modality import Audio


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
    most_bytes: float = 4e9,
    frame_rate: float | None = None,
    kind: Literal["any", "sound"] = "any",
) -> Clip:
    """Reads a media file, a picture or a folder of frames, or its part from `start` to `end`.

    Args:
        fps: frames a second; None keeps the file's own rate.
        short_side: pixels that the short side is scaled down to; None keeps the size. Data sets
            are prepared at 256, too.
        start, end: seconds; None is the beginning or the end.
        most_bytes: memory that the frames may take.
        frame_rate: pictures a second in a folder of extracted frames, whose sound may lie beside it
            by its name; None assumes 25 and says so.
        kind: what to read of it; of sound no picture is decoded.

    Returns:
        A clip; its frames are None for a file of sound only, its audio for one without sound. A
        picture is one frame.

    Raises:
        ValueError: no such file, neither pictures nor sound can be decoded from it, or its frames
            are too large.
        ModuleNotFoundError: PyAV is not installed.
    """
    name = os.fspath(path)
    with reasons(name):
        found = media().clip(
            path,
            kind=kind,
            fps=fps,
            short_side=short_side,
            start=start,
            end=end,
            frame_rate=frame_rate,
            limits=media().Limits(frames=most_bytes, seconds=math.inf, patience=math.inf),
        )
    for note in filter(None, (*found.notes, found.damage)):
        logging.warning("%s: %s", name, note)
    frames = np.stack(found.frames) if found.frames else None
    audio = None if found.audio is None else found.audio.astype(np.float32) / 32768.0
    return Clip(frames, found.fps, audio, name, found.start)


def media() -> types.ModuleType:
    """The reader of media, for which alone PyAV is wanted.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
    """
    try:
        from av_mae.prepare.media import read
    except ModuleNotFoundError as error:
        message = "reading media files needs PyAV: pip install av scipy"
        raise ModuleNotFoundError(message, name=error.name) from error
    return read


@contextlib.contextmanager
def reasons(name: str) -> Iterator[None]:
    """What cannot be read in the block is a ValueError that begins with the name of the file."""
    try:
        yield
    except media().UnreadableError as error:
        raise ValueError(f"{name}: {error}") from error
