"""Pictures upright, in RGB, with square pixels and a bounded short side: of a video, or alone."""

import contextlib
import fractions
import os
import warnings
from collections.abc import Iterator

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from av_mae.prepare.media import container
from av_mae.prepare.media.container import Limits, UnreadableError

# A pixel that claims to be longer than this many times its width is a damaged header.
_STRANGEST_PIXEL = 8
# Of Pillow's formats those that photographs are kept in; some of the others run programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
_MOVING = ("WEBP", "GIF", "PNG")  # may be animations


def decode(
    path: str | os.PathLike[str],
    *,
    short_side: int | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> UInt8[np.ndarray, "h w 3"]:
    """Reads a file that is one picture, whatever its name says.

    Of an animation or of several pages it is the first one.

    Args:
        short_side: pixels that the short side is scaled down to; None keeps the size.

    Raises:
        UnreadableError: there is no whole picture in the file, or the limits do not allow it.
    """
    image = load(path, limits)
    size = scaled_size(*image.size, fractions.Fraction(1), short_side)
    return scaled(image, size)


def load(path: str | os.PathLike[str], limits: Limits = container.DEFAULT_LIMITS) -> Image.Image:
    """The picture of a file in RGB, upright and of its own size.

    Raises:
        UnreadableError: there is no whole picture in the file, or the limits do not allow it.
    """
    container.check_file(path)
    with reasons(), Image.open(path, formats=_FORMATS) as image:
        container.check_pixels(*image.size, limits)
        return upright(image)


def scaled(image: Image.Image, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an RGB picture at another (width, height)."""
    with reasons():
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Whatever Pillow raises in the block becomes an UnreadableError."""
    try:
        # Warnings of damaged orientation tags, and of sizes, which have a limit of their own here.
        with warnings.catch_warnings(action="ignore"):
            yield
    except UnidentifiedImageError as error:
        raise UnreadableError("not a picture: of no known format") from error
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"too many pixels: {error}") from error
    except UnreadableError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UnreadableError(f"picture damaged: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """The picture as its orientation tag says, in RGB."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode == "F":
        raise UnreadableError("not a picture: floating point values without a known range")
    if turned.mode.startswith("I"):  # 16 bits of grey, which `convert` cuts off at 255
        grey = np.asarray(turned).clip(0, 65_535) // 257
        turned = Image.fromarray(grey.astype(np.uint8))
    return turned.convert("RGB")  # what is transparent shows its own colour


def is_still(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one picture that does not move; of several pages counts the first."""
    try:
        container.check_file(path)
        with reasons(), Image.open(path, formats=_FORMATS) as image:
            return image.format not in _MOVING or not getattr(image, "is_animated", False)
    except UnreadableError:
        return False


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
    scale = fractions.Fraction(1)
    if short_side is not None:
        scale = min(scale, short_side / min(shown, fractions.Fraction(height)))
    wide, high = (max(2, 2 * round(side * scale / 2)) for side in (shown, height))
    return wide, high


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
