"""One clip in memory, and how much of it is enough."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Int16

from av_mae.prepare.media.container import UnreadableError

# A clip in which less than this could be decoded is rejected.
_LEAST_SECONDS = 1.0
_LEAST_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip in memory, as its file shows it.

    Attributes:
        frames: uint8 `[h w 3]` each, or what `convert` made of it; frame i is shown at i / fps.
            Empty without pictures, and then fps, height and width are 0.
        audio: `[s]` at 16 kHz, sample s at s / 16000; None without sound.
        start: where t = 0 lies in the file, seconds: where the pictures begin, or the part that
            was asked for; without pictures the sound.
        duration: seconds up to the end of the pictures or the sound, whichever is later.
        notes: what a user may want to know about the file.
        damage: what could not be decoded; empty for a whole file.
    """

    frames: tuple[Any, ...]
    fps: float
    height: int
    width: int
    audio: Int16[np.ndarray, " s"] | None
    start: float
    duration: float
    notes: tuple[str, ...] = ()
    damage: str = ""


def check(damage: str, good: float, expected: float) -> None:
    """Raises UnreadableError if of `expected` seconds too few (`good`) could be decoded.

    Args:
        damage: what could not be decoded; empty for a whole clip.
    """
    if damage and good < min(_LEAST_SECONDS, _LEAST_SHARE * expected):
        raise UnreadableError(f"too little could be decoded: {damage}")
