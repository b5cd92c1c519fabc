"""What is strange about clips that can be read, and how counts compare with what was expected."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from av_mae.input import records
from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import reading

# Seconds that sound and pictures may end, or begin, apart.
_APART = 0.5
_QUIET = -60.0
_CLIPPED = 0.01
# Clips named of a kind and split.
_NAMED = 3


def judge(
    info: records.Info,
    splits: Sequence[reading.Split],
    rejected: int | None,
    partial: int | None,
    found: findings_lib.Findings,
) -> None:
    """Adds to `found` what may be wrong.

    Args:
        rejected, partial: rows of rejected.csv and partial.csv; None without the file.
    """
    if not splits:
        found.add("empty split", "there is no split at all")
    for split in splits:
        _check_clips(info, split, found)
        if not len(split.rows) and not split.listed:
            found.add("empty split", split.name)
        if info.labels and split.unlabelled:
            found.add("no label", f"{split.name}: {split.unlabelled:,} clips", split.unlabelled)
    _check_labels(info, splits, found)
    _check_counts(info, splits, {"rejected": rejected, "partial": partial}, found)


def sound_seconds(rows: np.ndarray) -> np.ndarray:
    """Length of each clip's sound."""
    return rows["samples"] / records.SAMPLE_RATE


def picture_seconds(rows: np.ndarray) -> np.ndarray:
    """How long each clip's frames are shown."""
    return rows["frames"] / np.maximum(rows["fps"], 1e-6)


def _check_clips(info: records.Info, split: reading.Split, found: findings_lib.Findings) -> None:
    rows = split.rows
    heard, moving = rows["samples"] > 0, rows["frames"] > 1
    longer = np.where(heard & moving, sound_seconds(rows) - picture_seconds(rows), 0)
    silent = heard & np.isneginf(rows["peak"])
    strange = {
        "other frame rate": moving & (np.abs(rows["fps"] - info.fps) > 1e-3),
        "larger than asked": np.minimum(rows["height"], rows["width"]) > info.short_side + 1,
        "sound shorter than pictures": longer < -_APART,
        "sound longer than pictures": longer > _APART,
        "late sound": heard & ~silent & (rows["before"] > _APART),
        "digital silence": silent,
        "very quiet": heard & ~silent & (rows["rms"] < _QUIET),
        "clipped sound": heard & (rows["clipped"] > _CLIPPED),
        "still pictures": rows["still"],
    }
    for kind, where in strange.items():
        places = np.flatnonzero(where)
        if len(places):
            amounts = [_amount(kind, rows[i], float(longer[i])) for i in places[:_NAMED]]
            named = [f"{split.ids[i]!r}{of}" for i, of in zip(places, amounts, strict=False)]
            more = f" and {len(places) - len(named):,} more" if len(places) > len(named) else ""
            found.add(kind, f"{split.name}: {', '.join(named)}{more}", len(places))


def _amount(kind: str, row: Any, longer: float) -> str:
    """The number that makes a clip strange, in brackets."""
    amounts = {
        "other frame rate": f"{row['fps']:g} a second",
        "larger than asked": f"{row['width']} x {row['height']}",
        "sound shorter than pictures": f"by {-longer:.1f} s",
        "sound longer than pictures": f"by {longer:.1f} s",
        "late sound": f"{row['before']:.1f} s",
        "very quiet": f"{row['rms']:.0f} dBFS",
        "clipped sound": f"{row['clipped']:.1%}",
    }
    return f" ({amounts[kind]})" if kind in amounts else ""


def _check_labels(
    info: records.Info, splits: Sequence[reading.Split], found: findings_lib.Findings
) -> None:
    trained = next((split.labels for split in splits if split.name == "train"), None)
    counts = sum((split.labels for split in splits), np.zeros(len(info.labels), np.int64))
    for index, name in enumerate(info.labels):
        if not counts[index]:
            found.add("label without clips", repr(name))
        elif trained is not None and trained.any() and not trained[index]:
            found.add("label without training clips", f"{name!r}, {counts[index]:,} in others")


def _check_counts(
    info: records.Info,
    splits: Sequence[reading.Split],
    listed: dict[str, int | None],
    found: findings_lib.Findings,
) -> None:
    rows = {split.name: split.rows for split in splits}
    lists = info.counts.get("listed", {})
    for name, expected in lists.items():
        missing = expected - len(rows.get(name, ()))
        if missing > 0:
            what = f"{name}: {expected - missing:,} of {expected:,} listed"
            found.add("fewer than published", f"{what}, {missing / expected:.1%} missing")
    published, in_lists = info.counts.get("published"), sum(lists.values())
    if published is not None and in_lists != published:
        found.add("other lists", f"{in_lists:,} clips listed, {published:,} published")
    real: dict[str, int | None] = dict(listed)
    real["without_sound"] = sum(int((r["samples"] == 0).sum()) for r in rows.values())
    for name, value in real.items():
        told = info.counts.get(name)
        if told is not None and value is None:
            found.add("not as counted", f"{name}.csv is missing")
        elif told is not None and value != told:
            found.add(
                "not as counted", f"{name}: {value:,} found, {records.INFO_FILE} says {told:,}"
            )
