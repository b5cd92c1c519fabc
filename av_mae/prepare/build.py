"""Prepares a listed data set: decodes in parallel, writes shard after shard, describes it all."""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

from av_mae.prepare import datasets, plan, report, state

# Changes when the same media and settings would give other records.
REVISION = 2


def build(
    listing: datasets.Listing,
    out: pathlib.Path,
    settings: plan.Settings,
    *,
    labels: Sequence[str] | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> report.Report:
    """Writes the records of all clips, and what describes them, into `out`.

    A run that was killed goes on where it stopped; shards are the same bytes in any case.

    Args:
        labels: names in index order; None sorts those that occur.

    Raises:
        ValueError: settings or labels that cannot be, or `out` holds something else.
        OSError: `out` cannot be written.
    """
    _check(settings)
    names = plan.label_names(listing.entries, labels)
    shards = plan.shards(listing.entries, settings.name, settings.clips_per_shard)
    kept = state.State(out, _fingerprint(listing, settings, names), overwrite=overwrite)
    try:
        # Loads TensorFlow, which takes seconds: after everything that can be refused.
        from av_mae.prepare import write

        outcomes = write.shards(out, shards, settings, names, workers, kept)
        result = report.Report(out, listing, shards, outcomes)
        write.description(out, settings, names, result)
    finally:
        kept.close()
    return result


def _fingerprint(
    listing: datasets.Listing, settings: plan.Settings, labels: Sequence[str]
) -> dict[str, Any]:
    """All that the bytes of the shards depend on, named after the flags."""
    return {
        "revision": REVISION,
        "name": settings.name,
        "fps": settings.fps,
        "short_side": settings.short_side,
        "jpeg_quality": settings.jpeg_quality,
        "clips_per_shard": settings.clips_per_shard,
        "max_pixels": settings.limits.pixels,
        "max_seconds": settings.limits.seconds,
        "clips": plan.digest(listing.entries),
        "labels": list(labels),
    }


def _check(settings: plan.Settings) -> None:
    for flag, value, low, high in (
        ("fps", settings.fps, 0.1, 240),
        ("short_side", settings.short_side, 2, 8192),
        ("jpeg_quality", settings.jpeg_quality, 1, 95),
        ("clips_per_shard", settings.clips_per_shard, 1, 100_000),
    ):
        if not low <= value <= high:
            raise ValueError(f"--{flag} is {value}, expected {low} to {high}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", settings.name):
        raise ValueError(f"--name is {settings.name!r}, expected letters a-z, digits and _")
