"""The outcome of a check: what is in a data set, in numbers, and what is wrong with it."""

import csv
import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from av_mae.input import records
from av_mae.prepare.check import duplicates, judge, measure, reading
from av_mae.prepare.check import findings as findings_lib

Rows = list[tuple[str, str, str]]

# Pictures of these many sizes are told apart, the others counted together.
_SIZES = 5


@dataclasses.dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
        rejected, partial: rows of the csv files; None without the file.
        seconds: that the check took.
    """

    folder: pathlib.Path
    info: records.Info
    splits: Sequence[reading.Split]
    findings: findings_lib.Findings
    rejected: Rows | None
    partial: Rows | None
    seconds: float

    @property
    def ok(self) -> bool:
        return not any(self.findings.problems())

    @property
    def rows(self) -> np.ndarray:
        """`[clips]` of `measure.COLUMNS`, of all splits."""
        return np.concatenate([np.zeros(0, measure.COLUMNS), *(s.rows for s in self.splits)])

    @property
    def bytes(self) -> int:
        return sum(shard.bytes for split in self.info.splits.values() for shard in split.shards)

    def expected(self, split: str) -> int | None:
        """Clips that the official lists name; None where there are no such lists."""
        return self.info.counts.get("listed", {}).get(split)


def check(folder: pathlib.Path, *, every_frame: bool = False, workers: int = 1) -> Result:
    """Reads a data set again, from its first byte to its last.

    Raises:
        ConfigError: there is none in `folder`.
        DataError: its description is damaged.
    """
    begin = time.monotonic()
    info = records.Info.load(folder)
    found = findings_lib.Findings()
    splits = reading.read(folder, info, found, every_frame=every_frame, workers=workers)
    rejected, partial = (_csv(folder / f"{name}.csv") for name in ("rejected", "partial"))
    duplicates.find(splits, found)
    judge.judge(info, splits, _count(rejected), _count(partial), found)
    seconds = time.monotonic() - begin
    return Result(folder, info, splits, found, rejected, partial, seconds)


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Least, median, mean, most; empty without a finite value."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return {}
    return {
        "least": float(finite.min()),
        "median": float(np.median(finite)),
        "mean": float(finite.mean()),
        "most": float(finite.max()),
    }


def sizes(rows: np.ndarray) -> dict[str, int]:
    """Clips by size of their pictures, the commonest first."""
    pictures = rows[rows["frames"] > 0]
    pairs = np.stack([pictures["width"], pictures["height"]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    named = {f"{found[i][0]} x {found[i][1]}": int(counts[i]) for i in order[:_SIZES]}
    if len(order) > _SIZES:
        named[f"{len(order) - _SIZES:,} other sizes"] = int(counts[order[_SIZES:]].sum())
    return named


def reasons(rows: Rows) -> dict[str, int]:
    """Rejected clips by the kind of reason, the commonest first."""
    kinds: dict[str, int] = {}
    for _, _, reason in rows:
        kind = reason.partition(":")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def plain(result: Result) -> dict[str, Any]:
    """Everything as JSON takes it, but for pictures."""
    splits = {split.name: _split(result, split) for split in result.splits}
    describe = lambda kinds: {  # noqa: E731
        name: {"count": kind.count, "examples": kind.examples} for name, kind in kinds
    }
    return {
        "folder": str(result.folder),
        "name": result.info.name,
        "ok": result.ok,
        "problems": describe(result.findings.problems()),
        "warnings": describe(result.findings.warnings()),
        "splits": splits,
        "labels": {
            name: {split.name: int(split.labels[i]) for split in result.splits}
            for i, name in enumerate(result.info.labels)
        },
        "rejected": reasons(result.rejected or []),
        "partial": len(result.partial or []),
        "bytes": result.bytes,
        "seconds": round(result.seconds, 1),
    }


def measures(rows: np.ndarray) -> Mapping[str, np.ndarray]:
    """What is measured of every clip, by name; clips that lack it are left out."""
    heard, seen = rows[rows["samples"] > 0], rows[rows["frames"] > 0]
    both = rows[(rows["samples"] > 0) & (rows["frames"] > 1)]
    return {
        "seconds": rows["duration"],
        "frames": seen["frames"],
        "short side": np.minimum(seen["height"], seen["width"]),
        "labels of boxes": rows["boxes"][rows["boxes"] > 0],
        "loudness (RMS, dBFS)": heard["rms"],
        "peak (dBFS)": heard["peak"],
        "silence before the sound (s)": heard["before"][heard["sound"] != 0],
        "sound longer than pictures (s)": judge.sound_seconds(both) - judge.picture_seconds(both),
    }


def _split(result: Result, split: reading.Split) -> dict[str, Any]:
    rows = split.rows
    return {
        "clips": len(rows),
        "in_av_mae_json": split.listed,
        "expected": result.expected(split.name),
        "shards": split.shards,
        "hours": round(float(rows["duration"].sum(dtype=np.float64)) / 3600, 3),
        "without_pictures": int((rows["frames"] == 0).sum()),
        "without_sound": int((rows["samples"] == 0).sum()),
        "silent": int(np.isneginf(rows["peak"]).sum()),
        "unlabelled": split.unlabelled,
        "sizes": sizes(rows),
        **{name: quantiles(values) for name, values in measures(rows).items()},
    }


def _csv(path: pathlib.Path) -> Rows | None:
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [(row[0], row[1], row[2]) for row in list(csv.reader(file))[1:] if len(row) >= 3]


def _count(rows: Rows | None) -> int | None:
    return None if rows is None else len(rows)
