"""One clip in memory: pictures and sound of a media file on one clock."""

import contextlib
import dataclasses
import math
import os
import types
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from absl import logging
from jaxtyping import Float, UInt8

from av_mae.config.modality import Audio

# Sound louder than this is no sound in [-1, 1] that a resampler or codec drove over its edge.
_LOUDEST = 8.0
# Most channels of a sound; a longer axis is time.
_CHANNELS = 32
# Lengths that differ by this share are alike.
_ALIKE = 0.02
_RATES = (8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclasses.dataclass(frozen=True, repr=False)
class Clip:
    """Pictures and sound on one clock that starts with the first picture.

    Attributes:
        frames: frame i is shown at i / fps; None where there is no picture.
        audio: 16 kHz mono in [-1, 1]; None where there is no sound. It may be given as int16, with
            several channels, whose mean is taken, and at another rate: see `sample_rate`.
        source: where it comes from, for messages.
        start: where t = 0 of the clip lies in the source, seconds.
        sample_rate: of `audio` as it is given; it is resampled to 16 kHz.

    Raises:
        ValueError: pictures or sound of another form; says how to bring them into this one.
    """

    frames: UInt8[np.ndarray, "t h w 3"] | None
    fps: float
    audio: Float[np.ndarray, " s"] | None
    source: str = "clip"
    start: float = 0.0
    sample_rate: dataclasses.InitVar[int] = Audio.sample_rate

    def __post_init__(self, sample_rate: int) -> None:
        if self.frames is not None:
            object.__setattr__(self, "frames", _frames(self.frames, self.fps))
        if self.audio is not None:
            object.__setattr__(self, "audio", _sound(self.audio, sample_rate))
        if self.frames is not None and self.audio is not None:
            longer = len(self.audio) / Audio.sample_rate * self.fps / len(self.frames)
            for rate in _RATES:
                if len(self.frames) > 1 and abs(longer * Audio.sample_rate / rate - 1) < _ALIKE:
                    logging.warning(
                        "%s: the sound is %.2f times as long as the pictures, as if it were at "
                        "%d Hz; say so with sample_rate=%d", self.source, longer, rate, rate,
                    )  # fmt: skip

    def __repr__(self) -> str:
        parts = []
        if self.frames is not None:
            count, height, width, _ = self.frames.shape
            parts.append(f"{count} frames of {height}x{width} at {self.fps:g} a second")
        if self.audio is not None:
            parts.append(f"{len(self.audio) / Audio.sample_rate:.2f} s of sound")
        return f"Clip({self.source}: {', '.join(parts) or 'nothing'})"

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


def _frames(given: Any, fps: float) -> UInt8[np.ndarray, "t h w 3"]:
    """Pictures as a clip holds them.

    Raises:
        ValueError: they are something else.
    """
    frames = np.asarray(given)
    if frames.dtype != np.uint8:
        advice = "round them: frames.round().astype(np.uint8)"
        if frames.size and frames.dtype.kind == "f" and np.abs(frames).max() <= 1.0:
            advice = "scale them: (255 * frames).round().astype(np.uint8)"
        if frames.size and frames.dtype.kind == "f" and frames.min() < 0.0:
            advice = "undo their normalisation: a model has its own"
        raise ValueError(f"frames are {frames.dtype}, expected uint8 of 0 to 255; {advice}")
    if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        advice = ""
        if frames.ndim == 4 and frames.shape[1] == 3:
            advice = "; put the channels last: frames.transpose(0, 2, 3, 1)"
        elif frames.ndim == 4 and frames.shape[0] == 3:
            advice = "; put the channels last: frames.transpose(1, 2, 3, 0)"
        elif frames.ndim == 4 and frames.shape[-1] == 4:
            advice = "; leave out the fourth channel: frames[..., :3]"
        elif frames.ndim == 3 and frames.shape[-1] == 3:
            advice = "; one picture is frames[None]"
        elif frames.ndim == 3 or (frames.ndim == 4 and frames.shape[-1] == 1):
            advice = "; grey pictures have three equal channels"
        raise ValueError(
            f"frames have shape {frames.shape}, expected [t, height, width, 3]{advice}"
        )
    if not 0.0 < fps < math.inf:
        raise ValueError(f"fps is {fps}, expected the frames a second of the pictures")
    return frames


def _sound(given: Any, sample_rate: int) -> Float[np.ndarray, " s"]:
    """Sound as a clip holds it: mono, in [-1, 1], at 16 kHz.

    Raises:
        ValueError: it is something else.
    """
    audio = np.asarray(given)
    if audio.dtype == np.int16:
        audio = audio.astype(np.float32) / 32768.0
    if audio.dtype.kind != "f":
        raise ValueError(
            f"audio is {audio.dtype}, expected int16, or floats in [-1, 1]: divide it by the "
            "largest value that its format has"
        )
    if audio.ndim == 2 and min(audio.shape) <= _CHANNELS:
        audio = audio.mean(int(np.argmin(audio.shape)))
    if audio.ndim != 1:
        raise ValueError(f"audio has shape {audio.shape}, expected [samples]; give it as mono")
    if not np.isfinite(audio).all():
        raise ValueError("audio has samples that are no numbers; np.nan_to_num makes them silent")
    if len(audio) and np.abs(audio).max() > _LOUDEST:
        raise ValueError(
            f"audio reaches {np.abs(audio).max():.0f}, expected values in [-1, 1]; 16-bit samples "
            "are divided by 32768"
        )
    if sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}, expected samples a second")
    if sample_rate != Audio.sample_rate:
        from scipy import signal  # takes long to load, and is rarely wanted

        common = math.gcd(sample_rate, Audio.sample_rate)
        audio = signal.resample_poly(audio, Audio.sample_rate // common, sample_rate // common)
    return audio.astype(np.float32, copy=False)
