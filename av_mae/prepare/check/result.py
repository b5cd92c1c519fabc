"""The outcome of a check: what is in a data set, in numbers, and what is wrong with it."""

import collections
import csv
import dataclasses
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from av_mae.input import records
from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import judge, measure, read

Rows = list[tuple[str, str, str]]

# The most frequent picture sizes are counted one by one, the others together.
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
    splits: Sequence[read.Contents]
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


def check(folder: pathlib.Path, *, every_frame: bool = False, workers: int = 1) -> Result:
    """Reads a data set again, from its first byte to its last.

    Raises:
        ConfigError: there is none in `folder`.
        DataError: its description is damaged.
    """
    begin = time.monotonic()
    info = records.Info.load(folder)
    found = findings_lib.Findings()
    splits = read.read(folder, info, found, every_frame=every_frame, workers=workers)
    lists = {name: _csv(folder / f"{name}.csv") for name in ("rejected", "partial")}
    counts = {name: None if rows is None else len(rows) for name, rows in lists.items()}
    judge.judge(info, splits, counts, found)
    return Result(folder, info, splits, found, **lists, seconds=time.monotonic() - begin)


def _csv(path: pathlib.Path) -> Rows | None:
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [(row[0], row[1], row[2]) for row in list(csv.reader(file))[1:] if len(row) >= 3]


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
    """Number of clips by size of their pictures, the most frequent first."""
    pictures = rows[rows["frames"] > 0]
    pairs = np.stack([pictures["width"], pictures["height"]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    named = {f"{found[i][0]} x {found[i][1]}": int(counts[i]) for i in order[:_SIZES]}
    if len(order) > _SIZES:
        named[f"{len(order) - _SIZES:,} other sizes"] = int(counts[order[_SIZES:]].sum())
    return named


def reasons(rows: Rows) -> dict[str, int]:
    """Number of rejected clips by the kind of reason, the most frequent first."""
    kinds = collections.Counter(reason.partition(":")[0] for _, _, reason in rows)
    return dict(kinds.most_common())


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
        "sound longer than pictures (s)": measure.sound_excess(both),
    }


def plain(result: Result) -> dict[str, Any]:
    """Everything but pictures, as JSON takes it."""

    def described(found: Iterable[tuple[str, findings_lib.Finding]]) -> dict[str, Any]:
        return {kind: dataclasses.asdict(finding) for kind, finding in found}

    expected = result.info.counts.get("listed", {})
    splits = {}
    for split in result.splits:
        rows = split.rows
        splits[split.name] = {
            "clips": len(rows),
            "in_av_mae_json": split.listed,
            "expected": expected.get(split.name),
            "shards": split.shards,
            "hours": round(float(rows["duration"].sum(dtype=np.float64)) / 3600, 3),
            "without_pictures": int((rows["frames"] == 0).sum()),
            "without_sound": int((rows["samples"] == 0).sum()),
            "silent": int(np.isneginf(rows["peak"]).sum()),
            "unlabelled": split.unlabelled,
            "sizes": sizes(rows),
            **{name: quantiles(values) for name, values in measures(rows).items()},
        }
    return {
        "folder": str(result.folder),
        "name": result.info.name,
        "ok": result.ok,
        "problems": described(result.findings.problems()),
        "warnings": described(result.findings.warnings()),
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
