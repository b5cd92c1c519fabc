"""The outcome of a check: what is in a data set and what is wrong with it, in numbers and words."""

import collections
import csv
import dataclasses
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from av_mae.input import records
from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import judge, measure, read
from av_mae.prepare.lists.listing import readable
from av_mae.prepare.shards import report

# The most frequent picture sizes are counted one by one, the others together.
_SIZES = 5
# Labels named at either end of the histogram, and examples of a finding, in the lines.
_LABELS, _EXAMPLES = 3, 3
_TITLES = ("split", "clips", "expected", "hours", "no pictures", "no sound", "silent", "no label")


@dataclasses.dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
        folder: its path as readable text.
        rejected, partial: rows of the csv files; None without the file.
        seconds: that the check took.
    """

    folder: str
    info: records.Info
    splits: Sequence[read.Contents]
    findings: findings_lib.Findings
    rejected: list[report.Row] | None
    partial: list[report.Row] | None
    seconds: float

    @property
    def ok(self) -> bool:
        return not self.findings.problems

    @property
    def rows(self) -> np.ndarray:
        """`[clips]` of `measure.COLUMNS`, of all splits."""
        return np.concatenate([np.zeros(0, measure.COLUMNS), *(s.rows for s in self.splits)])

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on how the source was read, where that was not plain."""
        return self.info.preprocessing.get("notes", [])

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
    lists: dict[str, list[report.Row] | None] = {"rejected": None, "partial": None}
    for name in lists:
        path = folder / f"{name}.csv"
        if path.is_file():
            # Names of files need not be text in any encoding.
            with open(path, newline="", encoding="utf-8", errors="backslashreplace") as file:
                rows = [row for row in list(csv.reader(file))[1:] if len(row) >= 3]
            lists[name] = [(id, source, reason) for id, source, reason, *_ in rows]
    counts = {name: None if rows is None else len(rows) for name, rows in lists.items()}
    judge.judge(info, splits, counts, found)
    seconds = time.monotonic() - begin
    return Result(readable(str(folder)), info, splits, found, **lists, seconds=seconds)


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Least, median, mean, most; empty without a finite value."""
    finite = values[np.isfinite(values)].astype(np.float64)
    kinds = {"least": np.min, "median": np.median, "mean": np.mean, "most": np.max}
    return {name: float(of(finite)) for name, of in kinds.items()} if len(finite) else {}


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


def reasons(rows: Sequence[report.Row]) -> dict[str, int]:
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
    problems, warnings = result.findings.problems, result.findings.warnings
    return {
        "folder": result.folder,
        "name": result.info.name,
        "ok": result.ok,
        "problems": {kind: dataclasses.asdict(found) for kind, found in problems.items()},
        "warnings": {kind: dataclasses.asdict(found) for kind, found in warnings.items()},
        "notes": [*result.notes],
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


def lines(result: Result) -> Iterator[str]:
    """For a terminal: what is in the data set, then warnings, then problems."""
    info = result.info
    yield (
        f"{result.folder}: {info.name}, {len(info.labels):,} labels, {info.fps:g} frames a second, "
        f"{result.bytes / 1e6:,.1f} MB"
    )
    yield ""
    table: list[tuple[str, ...]] = [_TITLES]
    for name, of in plain(result)["splits"].items():
        clips = f"{of['clips']:,}"
        if of["clips"] != of["in_av_mae_json"]:
            clips += f" of {of['in_av_mae_json']:,}"
        expected = "-" if of["expected"] is None else f"{of['expected']:,}"
        counts = [f"{of[key]:,}" for key in ("without_pictures", "without_sound", "silent")]
        unlabelled = f"{of['unlabelled']:,}" if info.labels else "-"
        table.append((name, clips, expected, f"{of['hours']:.2f}", *counts, unlabelled))
    yield from report.aligned(table)
    yield ""
    yield from (f"{title + ':':<32} {shown}" for title, shown in _facts(result) if shown)
    yield from (f"how the source was read: {said}" for said in result.notes)
    for title, found, meaning in (
        ("warnings", result.findings.warnings, findings_lib.WARNINGS),
        ("problems", result.findings.problems, findings_lib.PROBLEMS),
    ):
        yield ""
        yield f"{title}:" if found else f"{title}: none"
        for kind, finding in found.items():
            yield f"  {finding.count:,} x {kind} ({meaning[kind]})"
            yield from (f"      {example}" for example in finding.examples[:_EXAMPLES])
    shards = sum(split.shards for split in result.splits)
    verdict = "nothing is wrong" if result.ok else "not as it should be: see the problems above"
    clips = f"{len(result.rows):,} clips in {shards:,} shards"
    yield f"{clips} read in {result.seconds:.1f} s: {verdict}"


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    """(title, text) of what is measured, of the labels, and of the csv files."""
    yield "extracted frames", result.info.preprocessing.get("extracted_frames", "")
    for name, values in measures(result.rows).items():
        found = quantiles(values).items()
        yield name, ", ".join(f"{key} {value:,.4g}" for key, value in found)
    found = sizes(result.rows).items()
    yield "pictures", ", ".join(f"{size}: {count:,}" for size, count in found)
    for split in result.splits:
        if split.labels.any():
            counted = sorted(zip(-split.labels, result.info.labels, strict=True))
            named = [f"{name} {-count:,}" for count, name in counted]
            least = named[max(_LABELS, len(named) - _LABELS) :]
            rest = f"; least: {', '.join(least)}" if least else ""
            yield f"labels of {split.name}", f"most: {', '.join(named[:_LABELS])}{rest}"
    for name, rows in (("rejected", result.rejected), ("partial", result.partial)):
        yield name, ", ".join(f"{n:,} x {kind}" for kind, n in reasons(rows or []).items())
