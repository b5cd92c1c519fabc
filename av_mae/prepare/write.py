"""Writes the shards of a planned data set while its clips are decoded, and what describes them."""

import collections
import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tqdm

from av_mae import version
from av_mae.input import boxes, record, records
from av_mae.prepare import clip, datasets, metadata, plan, pool, report, state, statistics

DATASET_VERSION = "1.0.0"

# Decoding notices that it is late between two packets; only a hung decoder needs to be killed.
_GRACE = 10.0


def shards(
    out: pathlib.Path,
    planned: Sequence[plan.Shard],
    settings: plan.Settings,
    labels: Sequence[str],
    workers: int,
    kept: state.State,
) -> dict[str, state.Outcome]:
    """Writes the shards that are not finished; the outcome of every shard by its file name."""
    found = {shard.file: kept.outcome(shard) for shard in planned}
    done = {file: outcome for file, outcome in found.items() if outcome is not None}
    missing = [shard for shard in planned if shard.file not in done]
    entries = [entry for shard in missing for entry in shard.entries]
    contents = pool.ordered(
        clip.content,
        (_job(entry, settings) for entry in entries),
        workers=min(workers, len(entries)),
        patience=settings.limits.patience + _GRACE,
        memory=settings.limits.memory,
    )
    shown = _progress(contents, sum(len(shard.entries) for shard in planned), len(entries))
    with contextlib.closing(contents):
        for shard in missing:
            done[shard.file] = _write_shard(out, shard, shown, settings, labels)
            kept.finish(shard, done[shard.file])
    return done


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
            if content.damage:
                partial.append((*row, content.damage))
            silent += content.audio is not None and not np.any(content.audio)
            yield _record(entry, content, settings, labels)

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


def _job(entry: datasets.Entry, settings: plan.Settings) -> clip.Job:
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
    )


def _progress(contents: Iterable[Any], total: int, left: int) -> Iterator[Any]:
    bar = tqdm.tqdm(
        contents,
        total=total,
        initial=total - left,
        unit="clip",
        desc="prepare",
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
    )
    return iter(bar)
