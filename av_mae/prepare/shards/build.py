"""Prepares a listed data set: decodes in parallel, writes shard after shard, describes it all."""

import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tqdm

from av_mae.prepare import datasets
from av_mae.prepare.shards import assignment, report, state
from av_mae.prepare.shards.assignment import Assignment
from av_mae.prepare.shards.settings import Settings

if TYPE_CHECKING:
    from av_mae.prepare.shards import write  # loads JAX


def build(
    listing: datasets.Listing,
    out: pathlib.Path,
    settings: Settings,
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
    settings.check()
    names = assignment.label_names(listing.entries, labels)
    shards = assignment.assign(listing.entries, settings.name, settings.clips_per_shard)
    fingerprint = settings.fingerprint(listing.entries, names)
    with contextlib.closing(state.State(out, fingerprint, overwrite=overwrite)) as kept:
        # Loads JAX, and TensorFlow at the first shard: after everything that can be refused.
        from av_mae.prepare.shards import write

        recipe = write.Recipe(str(out), settings, names)
        outcomes = kept.outcomes(shards)
        missing = [shard for shard in shards if shard.file not in outcomes]
        if missing and pipeline:
            from av_mae.prepare.shards import beam

            beam.shards(recipe, missing, pipeline)
            outcomes |= kept.outcomes(missing)
        elif missing:
            done = sum(len(shard.entries) for shard in shards if shard.file in outcomes)
            outcomes |= _write_here(recipe, missing, done, workers)
        result = report.Report(out, listing, shards, outcomes)
        write.description(recipe, result)
    return result


def _write_here(
    recipe: "write.Recipe", missing: Sequence[Assignment], done: int, workers: int
) -> dict[str, state.Outcome]:
    """Writes the missing shards on this machine; their outcomes by file name.

    Processes decode, this one writes. `done` clips are finished, for the progress bar.
    """
    from av_mae.prepare.shards import clips, write

    count = sum(len(shard.entries) for shard in missing)
    decoded = clips.decoded(missing, recipe.settings, min(workers, count))
    with contextlib.closing(decoded):
        bar = tqdm.tqdm(
            decoded,
            total=done + count,
            initial=done,
            unit="clip",
            desc="prepare",
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
        )
        shown = iter(bar)
        return {shard.file: write.shard(recipe, shard, shown) for shard in missing}
