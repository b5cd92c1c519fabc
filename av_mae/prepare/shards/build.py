"""Prepares a listed data set: decodes in parallel, writes shard after shard, describes it all."""

import pathlib
from collections.abc import Sequence

from av_mae.prepare.lists.listing import Listing
from av_mae.prepare.shards import describe, report, state, write
from av_mae.prepare.shards import settings as settings_lib


def build(
    listing: Listing,
    out: pathlib.Path,
    settings: settings_lib.Settings,
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
    entries = listing.entries
    names = settings_lib.label_names(entries, labels)
    shards = settings_lib.assign(entries, settings.name, settings.clips_per_shard)
    with state.held(out, settings.fingerprint(entries, names), overwrite=overwrite):
        outcomes = state.outcomes(out, shards)
        missing = [shard for shard in shards if shard.file not in outcomes]
        recipe = write.Recipe(str(out), settings, names)
        if missing and pipeline:
            from av_mae.prepare.shards import beam

            beam.shards(recipe, missing, pipeline)
            outcomes |= state.outcomes(out, missing)
        elif missing:
            done = sum(len(shard.entries) for shard in shards if shard.file in outcomes)
            outcomes |= write.shards(recipe, missing, workers=workers, done=done)
        result = report.Report(out, listing, shards, outcomes)
        describe.describe(result, settings, names)
    return result
