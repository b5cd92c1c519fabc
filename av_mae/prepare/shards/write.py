"""The unit of work, a shard from its list of clips; and what describes all of them in the end."""

import collections
import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from av_mae import version
from av_mae.input import boxes, record, records, storage
from av_mae.prepare import datasets, pool
from av_mae.prepare.media import clip
from av_mae.prepare.shards import metadata, plan, report, state, statistics

DATASET_VERSION = "1.0.0"

# Decoding notices that it is late between two packets; only a hung decoder needs to be killed.
_GRACE = 10.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the shards of a data set have in common.

    Attributes:
        out: the folder or address that they are written into.
        labels: names in index order.
    """

    out: str
    settings: plan.Settings
    labels: tuple[str, ...]


@contextlib.contextmanager
def decoding(recipe: Recipe, shards: Iterable[plan.Shard], workers: int) -> Iterator[Iterator[Any]]:
    """Gives what became of every clip of the shards, in order, as `workers` processes decode them.

    A clip is a `clip.Content`, or has a `reason` for being none. The processes end with the block.
    """
    limits = recipe.settings.limits
    entries = (entry for shard in shards for entry in shard.entries)
    with tempfile.TemporaryDirectory(prefix="av_mae_") as scratch:
        contents = pool.ordered(
            clip.content,
            (
                _job(entry, recipe.settings, f"{scratch}/{number}")
                for number, entry in enumerate(entries)
            ),
            workers=workers,
            patience=limits.patience + _GRACE,
            memory=limits.memory,
        )
        with contextlib.closing(contents):
            yield _cleared(contents, scratch)


def shard(recipe: Recipe, planned: plan.Shard, contents: Iterator[Any]) -> state.Outcome:
    """Writes a shard from the next of `contents`, then notes its outcome beside it.

    Both are the same bytes wherever and whenever it is done.

    Raises:
        OSError: they cannot be written, or the disk is full.
    """
    out = storage.path(recipe.out)
    outcome = _write_shard(out, planned, contents, recipe.settings, recipe.labels)
    state.finish(out, planned, outcome)
    return outcome


def description(
    out: pathlib.Path, settings: plan.Settings, labels: tuple[str, ...], result: report.Report
) -> None:
    """Writes the info, the statistics in it, metadata of tensorflow-datasets, and the reports."""
    splits: dict[str, list[records.Shard]] = collections.defaultdict(list)
    for shard in result.shards:
        splits[shard.split].append(records.Shard(**result.outcomes[shard.file].shard))
    info = records.Info(
        name=settings.name,
        version=DATASET_VERSION,
        fps=settings.fps,
        short_side=settings.short_side,
        labels=labels,
        splits={name: records.Split(name, tuple(shards)) for name, shards in splits.items()},
        preprocessing=_preprocessing(settings),
        counts=result.counts(),
        audio_mean=None,
        audio_std=None,
    )
    sound = statistics.log_mel(out, info, "train")
    if sound is not None:
        info = dataclasses.replace(info, audio_mean=sound.mean, audio_std=sound.std)
    report.write_rows(out / "rejected.csv", result.rejected)
    report.write_rows(out / "partial.csv", result.partial)
    if result.clips:
        metadata.write(out, info)
    info.save(out)


def _write_shard(
    out: pathlib.Path,
    shard: plan.Shard,
    contents: Iterator[Any],
    settings: plan.Settings,
    labels: Sequence[str],
) -> state.Outcome:
    rejected, partial = [], []
    silent = 0

    def clips() -> Iterator[record.Clip]:
        nonlocal silent
        for entry in shard.entries:
            content = next(contents)
            row = (entry.id, entry.source)
            if not isinstance(content, clip.Content):
                rejected.append((*row, content.reason))
                continue
            made = _record(entry, content, settings, labels)
            wrong = boxes.problem(made.boxes, made.duration)
            if wrong:
                rejected.append((*row, f"impossible box: {wrong}"))
                continue
            if content.damage:
                partial.append((*row, content.damage))
            silent += content.audio is not None and not np.any(content.audio)
            yield made

    written = records.write_shard(out / shard.file, clips())
    return state.Outcome(
        shard=dataclasses.asdict(written),
        rejected=tuple(rejected),
        partial=tuple(partial),
        without_sound=written.clips - written.with_sound,
        silent=silent,
    )


def _record(
    entry: datasets.Entry, content: clip.Content, settings: plan.Settings, labels: Sequence[str]
) -> record.Clip:
    return record.Clip(
        id=entry.id,
        source=entry.source,
        frames=content.frames,
        fps=settings.fps,
        height=content.height,
        width=content.width,
        audio=content.audio,
        start=content.start,
        duration=content.duration,
        labels=tuple(labels.index(name) for name in entry.labels),
        boxes=tuple(
            boxes.Box(box.x1, box.y1, box.x2, box.y2, labels.index(name), box.person, moment)
            for box in entry.boxes
            for moment in [box.time - content.start]
            for name in box.labels
        ),
    )


def _preprocessing(settings: plan.Settings) -> dict[str, Any]:
    return {
        "program": f"av_mae {version.__version__}",
        "frames": "shown at i / fps, upright, square pixels, RGB, JPEG",
        "jpeg_quality": settings.jpeg_quality,
        "sound": f"mono int16 at {records.SAMPLE_RATE} Hz on the clock of the frames",
        "max_pixels": settings.limits.pixels,
        "max_seconds": settings.limits.seconds,
    }


def _job(entry: datasets.Entry, settings: plan.Settings, scratch: str) -> clip.Job:
    return clip.Job(
        path=entry.path,
        kind=entry.kind,
        start=entry.start,
        end=entry.end,
        moments=tuple({box.time for box in entry.boxes}),
        fps=settings.fps,
        short_side=settings.short_side,
        quality=settings.jpeg_quality,
        limits=settings.limits,
        scratch=scratch,
    )


def _cleared(contents: Iterable[Any], scratch: str) -> Iterator[Any]:
    """Removes what a process that was killed had fetched."""
    for number, content in enumerate(contents):
        shutil.rmtree(f"{scratch}/{number}", ignore_errors=True)
        yield content
