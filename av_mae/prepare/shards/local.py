"""Prepares the shards of a data set on this machine: processes decode, this one writes."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tqdm

from av_mae.prepare.shards import plan, state, write


def shards(
    recipe: write.Recipe, missing: Sequence[plan.Shard], *, done: int, workers: int
) -> dict[str, state.Outcome]:
    """Writes the missing shards; their outcomes by file name.

    Args:
        done: number of clips in the shards that are finished, for the progress bar.
    """
    clips = sum(len(shard.entries) for shard in missing)
    with write.decoding(recipe, missing, min(workers, clips)) as contents:
        shown = _progress(contents, done + clips, done)
        return {shard.file: write.shard(recipe, shard, shown) for shard in missing}


def _progress(contents: Iterable[Any], total: int, done: int) -> Iterator[Any]:
    bar = tqdm.tqdm(
        contents,
        total=total,
        initial=done,
        unit="clip",
        desc="prepare",
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
    )
    return iter(bar)
