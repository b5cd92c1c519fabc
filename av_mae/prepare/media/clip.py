"""One clip from its media file to the contents of a record: what a worker process does."""

import dataclasses
import io

import numpy as np
from PIL import Image

from av_mae.prepare.media import container, decode, fetch, sound, still

_JPEG_SIDE = 65_500


@dataclasses.dataclass(frozen=True)
class Job:
    """Which file to read, and how.

    Attributes:
        kind: what the file has to hold: video, sound or picture.
        start, end: the part of it, seconds.
        moments: times that the pictures have to reach, seconds of the file.
        scratch: folder of this machine that a remote file is fetched into.
    """

    path: str
    kind: str
    start: float | None
    end: float | None
    moments: tuple[float, ...]
    fps: float
    short_side: int
    quality: int
    limits: container.Limits
    scratch: str = ""


@dataclasses.dataclass(frozen=True)
class Content:
    """What a record holds of a file.

    Attributes:
        frames: JPEG pictures; none of a sound.
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
    """Decodes the file of a job once.

    Raises:
        FetchError: it is remote, and its store does not answer.
    """
    read = {"video": _video, "sound": _sound, "picture": _picture}[job.kind]
    try:
        with fetch.local(job.path, job.scratch, job.limits) as path:
            return read(dataclasses.replace(job, path=path))
    except fetch.FetchError:
        raise
    except container.UnreadableError as error:
        return Rejected(str(error))
    except MemoryError:
        return Rejected("out of memory")
    except Exception as error:  # one strange file must not end a run over a million
        return Rejected(f"decoder failed: {type(error).__name__}: {error}")


def _video(job: Job) -> Content:
    clip = decode.decode(
        job.path,
        lambda picture_hw3: _jpeg(picture_hw3, job.quality),
        fps=job.fps,
        short_side=job.short_side,
        start=job.start,
        end=job.end,
        limits=job.limits,
    )
    _check_moments(job.moments, clip.start, min(len(clip.pictures) / clip.fps, clip.duration))
    return Content(
        frames=tuple(clip.pictures),
        height=clip.height,
        width=clip.width,
        audio=clip.audio,
        start=clip.start,
        duration=clip.duration,
        damage=clip.damage,
    )


def _sound(job: Job) -> Content:
    heard = sound.decode(job.path, start=job.start, end=job.end, limits=job.limits)
    return Content((), 0, 0, heard.audio, heard.start, heard.duration, heard.damage)


def _picture(job: Job) -> Content:
    picture_hw3 = still.decode(job.path, short_side=job.short_side, limits=job.limits)
    height, width = picture_hw3.shape[:2]
    jpeg = _jpeg(picture_hw3, job.quality)
    return Content((jpeg,), height, width, None, start=0.0, duration=1 / job.fps, damage="")


def _check_moments(moments: tuple[float, ...], start: float, seconds: float) -> None:
    for moment in moments:
        if not start <= moment <= start + seconds:
            raise container.UnreadableError(
                f"no picture for its boxes: they are at {moment:.2f} s, the pictures go from "
                f"{start:.2f} to {start + seconds:.2f} s"
            )


def _jpeg(picture_hw3: np.ndarray, quality: int) -> bytes:
    if max(picture_hw3.shape) > _JPEG_SIDE:
        raise container.UnreadableError(f"too long a side for JPEG: {max(picture_hw3.shape):,}")
    buffer = io.BytesIO()
    Image.fromarray(picture_hw3).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
