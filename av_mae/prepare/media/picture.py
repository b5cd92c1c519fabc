"""Decoded frames to upright RGB pictures with square pixels and a bounded short side."""

import fractions

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import UInt8

# A pixel that claims to be longer than this many times its width is a damaged header.
_STRANGEST_PIXEL = 8


class Scaler:
    """Converts the frames of one clip; the first one decides the size of all.

    Converting and scaling are one pass of libswscale, so that no full-size RGB copy is made.

    Attributes:
        height, width: of the pictures; 0 before the first one.
    """

    def __init__(self, short_side: int | None, pixel_aspect: fractions.Fraction | None) -> None:
        """None keeps the short side as it is; it is never enlarged."""
        self.height = self.width = 0
        self._short_side = short_side
        aspect = pixel_aspect or fractions.Fraction(1)
        if not 1 / _STRANGEST_PIXEL <= aspect <= _STRANGEST_PIXEL:
            aspect = fractions.Fraction(1)
        self._aspect = aspect
        self._reformatter = VideoReformatter()
        self._turn: tuple[bool, bool, bool] | None = None
        self._stored = (0, 0)

    def __call__(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        if self._turn is None:
            self._turn = _orientation(frame)
            self._stored = scaled_size(frame.width, frame.height, self._aspect, self._short_side)
        width, height = self._stored
        scaled = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )
        picture_hw3 = scaled.to_ndarray()
        swap, mirror, flip = self._turn
        if swap:
            picture_hw3 = picture_hw3.transpose(1, 0, 2)
        if mirror:
            picture_hw3 = picture_hw3[:, ::-1]
        if flip:
            picture_hw3 = picture_hw3[::-1]
        self.height, self.width = picture_hw3.shape[:2]
        return np.ascontiguousarray(picture_hw3)


def scaled_size(
    width: int, height: int, pixel_aspect: fractions.Fraction, short_side: int | None
) -> tuple[int, int]:
    """(width, height) with square pixels, the short side at most `short_side`, both sides even."""
    shown = width * pixel_aspect
    short = min(shown, height)
    scale = 1 if short_side is None else min(1, fractions.Fraction(short_side) / short)
    return _even(shown * scale), _even(height * scale)


def _even(side: fractions.Fraction | int) -> int:
    return max(2, 2 * round(side / 2))


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(swap rows and columns, mirror left-right, mirror top-bottom), in this order.

    The display matrix maps a stored point to a shown one: x' = a x + c y, y' = b x + d y
    (ISO 14496-12, `tkhd`); a turn that is no multiple of 90 degrees goes to the nearest one.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0
