"""Arrays as pictures: frames side by side, film strips, coloured spectrograms."""

import dataclasses
from collections.abc import Mapping

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8

KINDS = ("original", "masked", "predicted")
Frames = Mapping[str, UInt8[np.ndarray, "f h w 3"]]  # by kind
Spectrograms = Mapping[str, Float[np.ndarray, "t m"]]

_GAP = 4  # pixels between pictures
_BACKGROUND = 24
_UNKNOWN = 128  # grey level of spectrogram values that are not finite


@dataclasses.dataclass(frozen=True)
class Example:
    """One clip's reconstruction; each dict is keyed by `KINDS` and empty without that modality.

    Attributes:
        frames: uint8 `[f h w 3]`, shown at `fps`.
        spectrograms: natural-log mel energies `[t m]`, 100 columns a second; NaN = hidden.
        waves: float `[s]` in [-1, 1] at 16 kHz.
        seconds: length of the clip.
    """

    title: str
    frames: Frames
    fps: float
    spectrograms: Spectrograms
    waves: Mapping[str, Float[np.ndarray, " s"]]
    seconds: float

    def __post_init__(self) -> None:
        for field in ("frames", "spectrograms", "waves"):
            unknown = set(getattr(self, field)) - set(KINDS)
            if unknown:
                raise ValueError(
                    f"Example.{field} has {', '.join(sorted(unknown))}; expected keys of {KINDS}"
                )
        if self.frames and not self.fps > 0:
            raise ValueError(f"Example.fps is {self.fps}, expected frames a second above 0")


def side_by_side(frames: Frames) -> UInt8[np.ndarray, "f h w3 3"]:
    """The kinds next to each other, left to right, as one video."""
    videos = [frames[kind] for kind in KINDS if kind in frames]
    shapes = {v.shape for v in videos}
    if len(shapes) != 1:
        raise ValueError(f"frames of one example have shapes {sorted(shapes)}, expected one shape")
    return _join(videos, axis=2)


def film(
    frames_fhwc: UInt8[np.ndarray, "f h w 3"], columns: int = 8
) -> UInt8[np.ndarray, "h columns_w 3"]:
    """Up to `columns` evenly spaced frames in a row."""
    count = min(columns, len(frames_fhwc))
    chosen = np.linspace(0, len(frames_fhwc) - 1, count).round().astype(int)
    return _join([frames_fhwc[i] for i in chosen], axis=1)


def films(frames: Frames) -> UInt8[np.ndarray, "rows_h columns_w 3"]:
    """The film strips of all kinds, one below the other."""
    return _join([film(frames[kind]) for kind in KINDS if kind in frames], axis=0)


def coloured(by_kind: Spectrograms) -> dict[str, UInt8[np.ndarray, "m t 3"]]:
    """Spectrograms on one colour scale, that of the original where there is one.

    Time runs to the right, low frequencies are at the bottom; values that are not finite are grey.
    """
    reference = by_kind.get("original", next(iter(by_kind.values())))
    finite = reference[np.isfinite(reference)]
    low, high = np.percentile(finite, (1.0, 99.8)) if finite.size else (0.0, 1.0)
    low, high = float(low), float(max(high, low + 1e-6))
    images = {}
    for kind, log_mel_tm in by_kind.items():
        unit = np.clip((log_mel_tm - low) / (high - low), 0.0, 1.0)
        rgb = matplotlib.colormaps["magma"](np.nan_to_num(unit), bytes=True)[..., :3]
        rgb = np.where(np.isfinite(log_mel_tm)[..., None], rgb, np.uint8(_UNKNOWN))
        images[kind] = np.ascontiguousarray(rgb.transpose(1, 0, 2)[::-1], dtype=np.uint8)
    return images


def spectrograms(by_kind: Spectrograms) -> UInt8[np.ndarray, "rows_m t 3"]:
    """The spectrograms of all kinds on one colour scale, one below the other."""
    images = coloured(by_kind)
    return _join([images[kind] for kind in KINDS if kind in images], axis=0)


def _join(images: list[np.ndarray], axis: int) -> np.ndarray:
    """The images along an axis, with a dark gap between them."""
    shape = list(images[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, _BACKGROUND, np.uint8)
    return np.concatenate([piece for image in images for piece in (image, gap)][:-1], axis)
