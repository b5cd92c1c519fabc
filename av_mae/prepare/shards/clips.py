"""Every clip of some shards from its media file, decoded once, by several processes."""

import contextlib
import functools
import io
import shutil
import tempfile
from collections.abc import Generator, Iterable

import numpy as np
from PIL import Image

from av_mae.prepare import datasets, pool
from av_mae.prepare.media import container, decode, fetch, still
from av_mae.prepare.shards.assignment import Assignment
from av_mae.prepare.shards.settings import Settings

# Decoding notices between two packets that it is late; only a decoder that hangs has to be killed.
_GRACE = 10.0
_JPEG_SIDE = 65_500


def decoded(
    shards: Iterable[Assignment], settings: Settings, workers: int
) -> Generator[decode.Clip | pool.Lost]:
    """Decodes the clips of the shards in order, their frames as JPEG.

    The processes, and the files that they fetched, are gone when the generator is closed.

    Raises:
        OSError: a store does not answer.
    """
    limits = settings.limits
    entries = (entry for shard in shards for entry in shard.entries)
    with tempfile.TemporaryDirectory(prefix="av_mae_") as scratch:
        results = pool.ordered(
            functools.partial(read, settings),
            ((entry, f"{scratch}/{number}") for number, entry in enumerate(entries)),
            workers=workers,
            patience=limits.patience + _GRACE,
            memory=limits.memory,
        )
        with contextlib.closing(results):
            for number, result in enumerate(results):
                # A process that was killed leaves what it had fetched.
                shutil.rmtree(f"{scratch}/{number}", ignore_errors=True)
                yield result


def read(settings: Settings, task: tuple[datasets.Entry, str]) -> decode.Clip | pool.Lost:
    """Decodes the file of an entry; `task` also names a folder that a remote one is fetched into.

    Raises:
        FetchError: it is remote, and its store does not answer.
    """
    entry, scratch = task
    try:
        with fetch.local(entry.path, scratch, settings.limits) as path:
            return _decode(entry, path, settings)
    except fetch.FetchError:
        raise
    except container.UnreadableError as error:
        return pool.Lost(str(error))
    except MemoryError:
        return pool.Lost("out of memory")
    except Exception as error:  # one strange file must not end a run over a million
        return pool.Lost(f"decoder failed: {type(error).__name__}: {error}")


def _decode(entry: datasets.Entry, path: str, settings: Settings) -> decode.Clip:
    def jpeg(picture_hw3: np.ndarray) -> bytes:
        if max(picture_hw3.shape) > _JPEG_SIDE:
            raise container.UnreadableError(f"too long a side for JPEG: {max(picture_hw3.shape):,}")
        buffer = io.BytesIO()
        Image.fromarray(picture_hw3).save(buffer, "JPEG", quality=settings.jpeg_quality)
        return buffer.getvalue()

    short_side, limits = settings.short_side, settings.limits
    if entry.kind == "picture":
        picture_hw3 = still.decode(path, short_side=short_side, limits=limits)
        height, width = picture_hw3.shape[:2]
        fps = settings.fps
        return decode.Clip((jpeg(picture_hw3),), fps, height, width, None, 0.0, 1 / fps)
    clip = decode.decode(
        path,
        jpeg,
        kind=entry.kind,
        fps=settings.fps,
        short_side=short_side,
        start=entry.start,
        end=entry.end,
        limits=limits,
    )
    if entry.kind == "video":
        stop = clip.start + min(len(clip.frames) / clip.fps, clip.duration)
        for moment in sorted({box.time for box in entry.boxes}):
            if not clip.start <= moment <= stop:
                raise container.UnreadableError(
                    f"no picture for its boxes: they are at {moment:.2f} s, the pictures go from "
                    f"{clip.start:.2f} to {stop:.2f} s"
                )
    return clip
