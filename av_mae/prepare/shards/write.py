"""Writes a shard from the clips assigned to it, and in the end what describes all shards."""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from av_mae import version
from av_mae.input import record, records, storage
from av_mae.prepare import datasets, pool
from av_mae.prepare.media import decode
from av_mae.prepare.shards import metadata, report, state, statistics
from av_mae.prepare.shards.assignment import Assignment
from av_mae.prepare.shards.settings import Settings

DATASET_VERSION = "1.0.0"


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


def shard(
    recipe: Recipe, assignment: Assignment, clips: Iterator[decode.Clip | pool.Lost]
) -> state.Outcome:
    """Writes a shard from the next of `clips`, and its outcome beside it.

    Both are the same bytes wherever and whenever it is done.

    Raises:
        OSError: they cannot be written, or the disk is full.
    """
    rejected, partial, silent = [], [], 0

    def written() -> Iterator[record.Clip]:
        nonlocal silent
        for entry in assignment.entries:
            clip, row = next(clips), (entry.id, entry.source)
            if isinstance(clip, pool.Lost):
                rejected.append((*row, clip.reason))
                continue
            found = _record(recipe, entry, clip)
            wrong = record.box_problem(found.boxes, found.duration)
            if wrong:
                rejected.append((*row, f"impossible box: {wrong}"))
                continue
            if clip.damage:
                partial.append((*row, clip.damage))
            silent += clip.audio is not None and not np.any(clip.audio)
            yield found

    out = storage.path(recipe.out)
    made = records.write_shard(out / assignment.file, written())
    outcome = state.Outcome(
        shard=dataclasses.asdict(made),
        rejected=tuple(rejected),
        partial=tuple(partial),
        without_sound=made.clips - made.with_sound,
        silent=silent,
    )
    state.finish(out, assignment, outcome)
    return outcome


def _record(recipe: Recipe, entry: datasets.Entry, clip: decode.Clip) -> record.Clip:
    labels = recipe.labels
    return record.Clip(
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
        boxes=tuple(
            record.Box(box.x1, box.y1, box.x2, box.y2, labels.index(name), box.person, moment)
            for box in entry.boxes
            for moment in [box.time - clip.start]
            for name in box.labels
        ),
    )


def description(recipe: Recipe, result: report.Report) -> None:
    """Writes the info, the statistics in it, metadata of tensorflow-datasets, and the reports."""
    out, settings = result.out, recipe.settings
    splits: dict[str, list[records.Shard]] = collections.defaultdict(list)
    for assignment in result.shards:
        finished = records.Shard(**result.outcomes[assignment.file].shard)
        splits[assignment.split].append(finished)
    info = records.Info(
        name=settings.name,
        version=DATASET_VERSION,
        fps=settings.fps,
        short_side=settings.short_side,
        labels=recipe.labels,
        splits={name: records.Split(name, tuple(shards)) for name, shards in splits.items()},
        preprocessing={
            "program": f"av_mae {version.__version__}",
            "frames": "shown at i / fps, upright, square pixels, RGB, JPEG",
            "jpeg_quality": settings.jpeg_quality,
            "sound": f"mono int16 at {records.SAMPLE_RATE} Hz on the clock of the frames",
            "max_pixels": settings.limits.pixels,
            "max_seconds": settings.limits.seconds,
        },
        counts=result.counts(),
        audio_mean=None,
        audio_std=None,
    )
    mean_and_std = statistics.log_mel(out, info, "train")
    if mean_and_std is not None:
        mean, std = mean_and_std
        info = dataclasses.replace(info, audio_mean=mean, audio_std=std)
    report.write_rows(out / "rejected.csv", result.rejected)
    report.write_rows(out / "partial.csv", result.partial)
    if result.clips:
        metadata.write(out, info)
    info.save(out)
