"""Reads one clip, kept as a media file, an animation, a picture or extracted frames."""

import math
import os
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from av_mae.prepare.media import container, decode, picture, sequence
from av_mae.prepare.media.container import Limits, UnreadableError

__all__ = [
    "Kind",
    "Limits",
    "UnreadableError",
    "can_seek",
    "clip",
    "has_sound",
    "pieces",
    "seconds",
]

Kind = Literal["video", "sound", "picture", "frames", "any"]
_STILL_RATE = 25.0  # at which a lone picture is one frame
_ROUNDING = 1e-6


def clip(
    path: str | os.PathLike[str],
    convert: Callable[[np.ndarray], Any] = np.asarray,
    *,
    kind: Kind = "video",
    fps: float | None = None,
    short_side: int | None = None,
    start: float | None = None,
    end: float | None = None,
    frame_rate: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> decode.Clip:
    """Reads a clip, giving each shown picture uint8 `[h w 3]` to `convert`.

    Args:
        kind: what the path has to be; a video may be an animation; any takes what there is.
        fps: frames a second; None takes the rate of what is read.
        short_side: pixels that the short side is scaled down to; None keeps the size.
        start, end: the part to read, seconds; a picture has none.
        frame_rate: pictures a second of a folder of frames; None assumes 25, and notes it.

    Raises:
        UnreadableError: it is no such clip, or the limits do not allow it.
    """
    options: dict[str, Any] = {"fps": fps, "short_side": short_side, "start": start, "end": end}
    if kind == "frames" or (kind == "any" and os.path.isdir(path)):
        found = sequence.of_folder(path, frame_rate, limits)
        return sequence.read(found, convert, **options, limits=limits)
    if kind == "picture" or (kind == "any" and picture.is_still(path)):
        pixels_hw3 = picture.decode(path, short_side=short_side, limits=limits)
        rate = fps or _STILL_RATE
        height, width = pixels_hw3.shape[:2]
        return decode.Clip((convert(pixels_hw3),), rate, height, width, None, 0.0, 1 / rate)
    if kind != "sound" and sequence.is_animated_webp(path):
        return sequence.read(sequence.of_webp(path, limits), convert, **options, limits=limits)
    return decode.decode(path, convert, kind=kind, **options, limits=limits)


def pieces(
    path: str | os.PathLike[str],
    length: float,
    *,
    kind: Literal["any", "sound"] = "any",
    fps: float | None = None,
    short_side: int | None = None,
    start: float | None = None,
    end: float | None = None,
    frame_rate: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> Iterator[decode.Clip]:
    """Reads a clip of any kind and length in one pass, about `length` seconds at a time.

    Arguments are those of `clip`; see `decode.pieces`.
    """
    options: dict[str, Any] = {"short_side": short_side, "limits": limits}
    if os.path.isdir(path) and kind == "any":
        found = sequence.of_folder(path, frame_rate, limits)
        fps = fps or found.rate
        length = max(1, round(length * fps)) / fps
        begin, stop = start or 0.0, min(math.inf if end is None else end, found.times[-1])
        for number in range(max(1, math.ceil((stop - begin) / length - _ROUNDING))):
            first = begin + number * length
            until = min(first + length, end or math.inf)
            yield sequence.read(found, fps=fps, start=first, end=until, **options)
    elif picture.is_still(path) or sequence.is_animated_webp(path):
        yield clip(path, kind="any", fps=fps, start=start, end=end, **options)
    else:
        options |= {"fps": fps, "start": start, "end": end}
        yield from decode.pieces(path, length, kind=kind, **options)


def seconds(path: str | os.PathLike[str], *, frame_rate: float | None = None) -> float:
    """How long a clip of any kind is, without decoding it; 0 of a picture.

    Raises:
        UnreadableError: there is no clip.
    """
    if os.path.isdir(path):
        return sequence.of_folder(path, frame_rate).times[-1]
    if picture.is_still(path):
        return 0.0
    if sequence.is_animated_webp(path):
        return sequence.of_webp(path).times[-1]
    return decode.seconds(path)


def has_sound(path: str | os.PathLike[str]) -> bool:
    """Whether a file has sound that can be read without its pictures."""
    if os.path.isdir(path) or picture.is_still(path) or sequence.is_animated_webp(path):
        return False
    with container.open_media(path, container.DEFAULT_LIMITS) as file:
        _, audio = container.streams(file, "any", container.DEFAULT_LIMITS)
        return audio is not None


def can_seek(path: str | os.PathLike[str]) -> bool:
    """Whether a part in the middle is read without what is before it."""
    if os.path.isdir(path):
        return True
    if picture.is_still(path) or sequence.is_animated_webp(path):
        return False
    with container.open_media(path, container.DEFAULT_LIMITS) as file:
        return container.can_seek(file)
