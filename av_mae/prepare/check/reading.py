"""Reads all shards of a data set in parallel and gathers what is found, split by split."""

import contextlib
import dataclasses
import os
import pathlib
import sys
from collections.abc import Generator, Iterator

import numpy as np
import tqdm

from av_mae.input import records
from av_mae.prepare import pool
from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import measure, shard

# Seconds that one shard may take before its process is given up.
_PATIENCE = 3600.0
# Clips of a split whose pictures are shown.
_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Split:
    """What is in the shards of a split.

    Attributes:
        listed: clips that av_mae.json says there are.
        rows: `[clips]` of `measure.COLUMNS`.
        labels: clips by label index `[labels]`.
        unlabelled: clips without a label.
    """

    name: str
    listed: int
    shards: int
    rows: np.ndarray
    ids: tuple[str, ...]
    labels: np.ndarray
    unlabelled: int
    shown: tuple[shard.Shown, ...]


def read(
    folder: pathlib.Path,
    info: records.Info,
    found: findings_lib.Findings,
    *,
    every_frame: bool,
    workers: int,
) -> list[Split]:
    """Reads every shard once; what is wrong with one is added to `found`.

    About 200 bytes of memory a clip, and one record a process.
    """
    jobs = [
        job for split in info.splits.values() for job in _jobs(folder, info, split, every_frame)
    ]
    parts = _parts(jobs, workers)
    splits = []
    with contextlib.closing(parts):
        for split in info.splits.values():
            own = [next(parts) for _ in split.shards]
            for part in own:
                found.merge(part.findings)
            splits.append(_join(split, own, len(info.labels)))
    _strange_files(folder, info, found)
    return splits


def _jobs(
    folder: pathlib.Path, info: records.Info, split: records.Split, every_frame: bool
) -> Iterator[shard.Job]:
    count = min(_SHOWN, split.clips)
    chosen = {i * split.clips // count for i in range(count)}
    first = 0
    for part in split.shards:
        shown = tuple(i - first for i in sorted(chosen) if first <= i < first + part.clips)
        yield shard.Job(os.fspath(folder), part, len(info.labels), every_frame, shown)
        first += part.clips


def _parts(jobs: list[shard.Job], workers: int) -> Generator[shard.Found]:
    """What is found in each shard, in their order; one worker is this process itself."""
    bar = tqdm.tqdm(
        total=sum(job.shard.clips for job in jobs),
        unit="clip",
        desc="check",
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
    )
    workers = min(workers, len(jobs))
    if workers > 1:
        results = pool.ordered(shard.examine, jobs, workers=workers, patience=_PATIENCE)
    else:
        results = (shard.examine(job) for job in jobs)
    with bar, contextlib.closing(results):
        for job, result in zip(jobs, results, strict=True):
            bar.update(job.shard.clips)
            if isinstance(result, pool.Lost):
                result = shard.nothing(job, result.reason)
            yield result


def _join(split: records.Split, parts: list[shard.Found], labels: int) -> Split:
    return Split(
        name=split.name,
        listed=split.clips,
        shards=len(split.shards),
        rows=np.concatenate([np.zeros(0, measure.COLUMNS), *(part.rows for part in parts)]),
        ids=tuple(id for part in parts for id in part.ids),
        labels=sum((part.labels for part in parts), np.zeros(labels, np.int64)),
        unlabelled=sum(part.unlabelled for part in parts),
        shown=tuple(clip for part in parts for clip in part.shown),
    )


def _strange_files(folder: pathlib.Path, info: records.Info, found: findings_lib.Findings) -> None:
    """Files that look like shards but are not listed."""
    known = {part.file for split in info.splits.values() for part in split.shards}
    for path in sorted(folder.glob("*.tfrecord-*")):
        if path.name.removesuffix(".index") not in known:
            found.add("strange file", f"{path} is not listed in {records.INFO_FILE}")
