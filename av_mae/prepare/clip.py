"""One clip from its media file to the contents of a record: what a worker process does."""

import dataclasses
import io

import numpy as np
from PIL import Image

from av_mae.prepare import container, media

_JPEG_SIDE = 65_500


@dataclasses.dataclass(frozen=True)
class Job:
    """Which file to read, and how; `start` and `end` in seconds."""

    path: str
    start: float | None
    end: float | None
    fps: float
    short_side: int
    quality: int
    limits: container.Limits


@dataclasses.dataclass(frozen=True)
class Content:
    """What a record holds of a file.

    Attributes:
        frames: JPEG pictures.
        audio: int16 `[s]`; None without sound.
        damage: what could not be decoded; empty for a whole file.
    """

    frames: tuple[bytes, ...]
    height: int
    width: int
    audio: np.ndarray | None
    start: float
    duration: float
    damage: str


@dataclasses.dataclass(frozen=True)
class Rejected:
    reason: str


def content(job: Job) -> Content | Rejected:
    """Decodes the file of a job once."""
    try:
        clip = media.decode(
            job.path,
            lambda picture_hw3: _jpeg(picture_hw3, job.quality),
            fps=job.fps,
            short_side=job.short_side,
            start=job.start,
            end=job.end,
            limits=job.limits,
        )
    except container.UnreadableError as error:
        return Rejected(str(error))
    except MemoryError:
        return Rejected("out of memory")
    except Exception as error:  # one strange file must not end a run over a million
        return Rejected(f"decoder failed: {type(error).__name__}: {error}")
    return Content(
        frames=tuple(clip.pictures),
        height=clip.height,
        width=clip.width,
        audio=clip.audio,
        start=clip.start,
        duration=clip.duration,
        damage=clip.damage,
    )


def _jpeg(picture_hw3: np.ndarray, quality: int) -> bytes:
    if max(picture_hw3.shape) > _JPEG_SIDE:
        raise container.UnreadableError(f"too long a side for JPEG: {max(picture_hw3.shape):,}")
    buffer = io.BytesIO()
    Image.fromarray(picture_hw3).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
