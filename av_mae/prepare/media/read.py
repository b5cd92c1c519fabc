"""Reads one clip, kept as a media file, an animation, a picture or extracted frames."""

import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from av_mae.prepare.media import container, decode, picture, sequence
from av_mae.prepare.media.container import Limits

Kind = Literal["video", "sound", "picture", "frames", "any"]
_STILL_RATE = 25.0  # at which a lone picture is one frame


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
