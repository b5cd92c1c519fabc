"""Writes shards: several processes decode their clips, this one stores them."""

import contextlib
import dataclasses
import functools
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from av_mae.input import record, records, storage
from av_mae.prepare import bar, pool
from av_mae.prepare.lists.listing import Entry
from av_mae.prepare.media import container, decode, fetch
from av_mae.prepare.media import read as read_media
from av_mae.prepare.shards import state
from av_mae.prepare.shards.settings import Assignment, Settings

# Decoding notices between two packets that it is late; only a decoder that hangs has to be killed.
_GRACE = 10.0
_JPEG_SIDE = 65_500


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the shards of a data set have in common.

    Attributes:
        out: the folder or address that they are written into.
        labels: names in index order.
    """

    out: str
    settings: Settings
    labels: tuple[str, ...]


def shards(
    recipe: Recipe, assignments: Sequence[Assignment], *, workers: int, done: int | None = None
) -> dict[str, state.Outcome]:
    """Writes shards, and the outcome of each beside it; the outcomes by file name.

    They are the same bytes wherever and whenever it is done.

    Args:
        workers: processes that decode.
        done: number of clips that were finished before, for a progress bar; None shows none.

    Raises:
        OSError: they cannot be written, the disk is full, or a store does not answer.
    """
    entries = [entry for assignment in assignments for entry in assignment.entries]
    limits = recipe.settings.limits
    with tempfile.TemporaryDirectory(prefix="av_mae_") as scratch:
        results = pool.ordered(
            functools.partial(read, recipe.settings),
            ((entry, f"{scratch}/{number}") for number, entry in enumerate(entries)),
            workers=min(workers, len(entries)),
            patience=limits.patience + _GRACE,
            memory=limits.memory,
        )

        def decoded() -> Iterator[decode.Clip | pool.Lost]:
            for number, result in enumerate(results):
                # A process that was killed leaves what it had fetched.
                shutil.rmtree(f"{scratch}/{number}", ignore_errors=True)
                progress.update()
                yield result

        total, hidden = (done or 0) + len(entries), done is None
        with (
            contextlib.closing(results),
            bar.shown("prepare", total, done or 0, hidden=hidden) as progress,
        ):
            clips = decoded()
            return {one.file: _shard(recipe, one, clips) for one in assignments}


def read(settings: Settings, task: tuple[Entry, str]) -> decode.Clip | pool.Lost:
    """Decodes the file of an entry, its pictures as JPEG: what a worker does.

    Args:
        task: the entry, and the folder that a remote file is fetched into.

    Raises:
        FetchError: it is remote, and its store does not answer.
    """
    entry, scratch = task
    if entry.kind == "frames" and storage.is_address(entry.path):
        return pool.Lost("remote folder: frames are read on this machine; copy the folder to it")
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


def _decode(entry: Entry, path: str, settings: Settings) -> decode.Clip:
    def jpeg(picture_hw3: np.ndarray) -> bytes:
        if max(picture_hw3.shape) > _JPEG_SIDE:
            raise container.UnreadableError(f"too long a side for JPEG: {max(picture_hw3.shape):,}")
        buffer = io.BytesIO()
        Image.fromarray(picture_hw3).save(buffer, "JPEG", quality=settings.jpeg_quality)
        return buffer.getvalue()

    fps, short_side, limits = settings.fps, settings.short_side, settings.limits
    clip = read_media.clip(
        path,
        jpeg,
        kind=entry.kind,
        fps=fps,
        short_side=short_side,
        start=entry.start,
        end=entry.end,
        frame_rate=entry.frame_rate,
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


def _shard(
    recipe: Recipe, assignment: Assignment, clips: Iterator[decode.Clip | pool.Lost]
) -> state.Outcome:
    """Writes a shard from the next of `clips`, and its outcome."""
    labels, rejected, partial, silent = recipe.labels, [], [], 0

    def stored() -> Iterator[record.Clip]:
        nonlocal silent
        for entry in assignment.entries:
            clip, row = next(clips), (entry.id, entry.source)
            if isinstance(clip, pool.Lost):
                rejected.append((*row, clip.reason))
                continue
            boxes = tuple(
                record.Box(box.x1, box.y1, box.x2, box.y2, labels.index(name), box.person, moment)
                for box in entry.boxes
                for moment in [box.time - clip.start]
                for name in box.labels
            )
            if wrong := record.box_problem(boxes, clip.duration):
                rejected.append((*row, f"impossible box: {wrong}"))
                continue
            if clip.damage:
                partial.append((*row, clip.damage))
            silent += clip.audio is not None and not np.any(clip.audio)
            yield record.Clip(
                id=entry.id,
                source=entry.source,
                frames=clip.frames,
                fps=recipe.settings.fps,
                height=clip.height,
                width=clip.width,
                audio=clip.audio,
                start=clip.start,
                duration=clip.duration,
                labels=tuple(labels.index(name) for name in entry.labels),
                boxes=boxes,
            )

    out = storage.path(recipe.out)
    made = records.write_shard(out / assignment.file, stored())
    without_sound = made.clips - made.with_sound
    outcome = state.Outcome(made, tuple(rejected), tuple(partial), without_sound, silent)
    state.finish(out, assignment, outcome)
    return outcome
