"""Prepares a listed data set: decodes in parallel, writes shard after shard, describes it all."""

import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from av_mae.prepare import datasets
from av_mae.prepare.shards import plan, report, state

if TYPE_CHECKING:
    from av_mae.prepare.shards import write  # loads JAX

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
    pipeline: Sequence[str] | None = None,
) -> report.Report:
    """Writes the records of all clips, and what describes them, into `out`.

    A run that was killed goes on where it stopped; shards are the same bytes in any case.

    Args:
        labels: names in index order; None sorts those that occur.
        workers: processes that decode, on this machine.
        pipeline: options of an Apache Beam pipeline that does it; None works here, without Beam.

    Raises:
        ValueError: settings or labels that cannot be, or `out` holds something else.
        OSError: `out` cannot be written.
    """
    _check(settings)
    names = plan.label_names(listing.entries, labels)
    shards = plan.shards(listing.entries, settings.name, settings.clips_per_shard)
    kept = state.State(out, fingerprint(listing, settings, names), overwrite=overwrite)
    try:
        # Loads JAX, and TensorFlow at the first shard: after everything that can be refused.
        from av_mae.prepare.shards import write

        recipe = write.Recipe(str(out), settings, names)
        outcomes = _make(recipe, shards, kept, workers, pipeline)
        result = report.Report(out, listing, shards, outcomes)
        write.description(out, settings, names, result)
    finally:
        kept.close()
    return result


def _make(
    recipe: "write.Recipe",
    shards: Sequence[plan.Shard],
    kept: state.State,
    workers: int,
    pipeline: Sequence[str] | None,
) -> dict[str, state.Outcome]:
    """The outcomes of all shards by file name, once those that are missing are written."""
    outcomes = kept.outcomes(shards)
    missing = [shard for shard in shards if shard.file not in outcomes]
    if not missing:
        return outcomes
    if pipeline is None:
        from av_mae.prepare.shards import local

        done = sum(len(shard.entries) for shard in shards if shard.file in outcomes)
        return outcomes | local.shards(recipe, missing, done=done, workers=workers)
    from av_mae.prepare.shards import beam

    beam.shards(recipe, missing, pipeline)
    return outcomes | kept.outcomes(missing)


def fingerprint(
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
