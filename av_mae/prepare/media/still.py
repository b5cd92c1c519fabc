"""Decodes one still picture, whatever its name says, upright, in RGB and at the asked size."""

import fractions
import os
import warnings

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from av_mae.prepare.media import container, picture
from av_mae.prepare.media.container import Limits, UnreadableError

# Of Pillow's formats those that photographs are kept in; some of the others run programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")


def decode(
    path: str | os.PathLike[str],
    *,
    short_side: int | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> UInt8[np.ndarray, "h w 3"]:
    """Reads a picture; of an animation or of several pages the first one.

    Args:
        short_side: pixels that the short side is scaled down to; None keeps the size.

    Raises:
        UnreadableError: there is no whole picture in the file, or the limits do not allow it.
    """
    container.check_file(path)
    with warnings.catch_warnings():
        # Warnings of damaged orientation tags, and of sizes, which have a limit of their own here.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_FORMATS) as image:
                container.check_pixels(*image.size, limits)
                upright = _rgb(ImageOps.exif_transpose(image))
                size = picture.scaled_size(*upright.size, fractions.Fraction(1), short_side)
                return np.asarray(upright.resize(size, Image.Resampling.BICUBIC))
        except UnidentifiedImageError as error:
            raise UnreadableError("not a picture: of no known format") from error
        except Image.DecompressionBombError as error:
            raise UnreadableError(f"too many pixels: {error}") from error
        except UnreadableError:
            raise
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise UnreadableError(f"picture damaged: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    """Eight bits of red, green and blue; what is transparent shows its own colour."""
    if image.mode == "F":
        raise UnreadableError("not a picture: floating point values without a known range")
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would cut off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) // 257).astype(np.uint8))
    return image.convert("RGB")
