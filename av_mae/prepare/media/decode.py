"""Decodes one media file, whatever its name says, into pictures and sound on one clock."""

import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from av_mae.prepare.media import container, reading, stamps
from av_mae.prepare.media.clip import Clip
from av_mae.prepare.media.container import Limits

__all__ = ["Clip", "decode", "pieces", "seconds"]


def decode(
    path: str | os.PathLike[str],
    convert: Callable[[np.ndarray], Any] = np.asarray,
    *,
    kind: container.Kind = "video",
    fps: float | None = None,
    short_side: int | None = None,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> Clip:
    """Decodes a file once, giving each shown picture uint8 `[h w 3]` to `convert` as it comes.

    Damaged packets are left out, and after one the pictures up to the next key frame; the last
    good picture stays, and sound is silent. A clip of which at least a second or a quarter could be
    decoded is returned with `damage` saying what is missing.

    Args:
        kind: a video has pictures, with or without sound; of sound no pictures are taken; any
            takes what there is.
        fps: frames a second; None takes the file's own rate.
        short_side: pixels that the short side is scaled down to; None keeps the size.
        start, end: the part of the file to read, seconds.

    Raises:
        UnreadableError: there is no clip in it, or the limits do not allow it.
    """
    (clip,) = pieces(
        path,
        math.inf,
        convert,
        kind=kind,
        fps=fps,
        short_side=short_side,
        start=start,
        end=end,
        limits=limits,
    )
    return clip


def pieces(
    path: str | os.PathLike[str],
    length: float,
    convert: Callable[[np.ndarray], Any] = np.asarray,
    *,
    kind: container.Kind = "video",
    fps: float | None = None,
    short_side: int | None = None,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> Iterator[Clip]:
    """Decodes a file of any length in one pass, about `length` seconds at a time.

    The pieces follow each other without a gap; only what is decoded and not given yet is kept. A
    piece behind the end of the pictures has sound alone. The last one is what is left, and says
    what is to be noted of the whole. Arguments are those of `decode`; patience is that with a
    piece.

    Raises:
        UnreadableError: as of `decode`; behind some pieces, too.
    """
    given, seek, sort = 0, bool(start), False
    deadline = time.monotonic() + limits.patience
    while True:
        with container.open_media(path, limits) as file:
            seek = seek and container.can_seek(file)
            opened = reading.Reading(
                file, kind, convert, fps, short_side, start, end, limits, seek, sort
            )
            if seek and not opened.seek():
                seek = False
                continue
            try:
                opened.deadline = deadline
                for number, piece in enumerate(opened.pieces(length)):
                    if number >= given:  # the others came before the file was begun again
                        given += 1
                        yield piece
                        opened.deadline = deadline = time.monotonic() + limits.patience
                return
            except reading.StartsLateError:
                seek = False
            except stamps.DisorderError:
                sort = True


def seconds(
    path: str | os.PathLike[str],
    *,
    kind: container.Kind = "any",
    limits: Limits = container.DEFAULT_LIMITS,
) -> float:
    """How long a file is: as its header says, else as its packets do, of which none is decoded.

    Raises:
        UnreadableError: there is nothing to decode in it.
    """
    with container.open_media(path, limits) as file:
        video, audio = container.streams(file, kind, limits)
        announced = container.announced_seconds(file, video or audio)
        if announced < math.inf:
            return announced
        opened = reading.Reading(
            file, kind, np.asarray, None, None, None, None, limits, False, False
        )
        return opened.seconds()
