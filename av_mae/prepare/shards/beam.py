"""Prepares the shards of a data set as an Apache Beam pipeline, on any of its runners."""

import argparse
import dataclasses
import importlib.util
import itertools
import logging
import os
import pickle
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if importlib.util.find_spec("apache_beam") is None:
    raise ModuleNotFoundError(
        "a runner needs Apache Beam; install it with: pip install 'av_mae[beam]'"
    )

import apache_beam  # pyright: ignore[reportMissingImports]
from apache_beam.metrics import metric  # pyright: ignore[reportMissingImports]
from apache_beam.options import pipeline_options  # pyright: ignore[reportMissingImports]

from av_mae.input import storage
from av_mae.prepare.shards import plan, state

if TYPE_CHECKING:
    from av_mae.prepare.shards import write  # loads JAX

_LOCAL = "DirectRunner"
# Beam ends its traceback with the error of ours that caused it.
_CAUSE = re.compile(r"^(?:\w+\.)*\w*Error: (.*?)(?: \[while running .*)?$", re.MULTILINE)


def options(runner: str, arguments: Sequence[str], workers: int) -> list[str]:
    """The options of a pipeline; Beam's local runner uses `workers` cores unless told otherwise.

    Args:
        arguments: options of Beam, as on a command line; those behind a `--` are not checked.

    Raises:
        ValueError: one that Beam does not know.
    """
    given, unchecked = list(arguments), []
    if "--" in given:
        cut = given.index("--")
        given, unchecked = given[:cut], given[cut + 1 :]
    _, unknown = _parser().parse_known_args(given)
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is an option neither of this program nor of Apache Beam; options "
            "that only the service behind a runner knows go behind a --"
        )
    local = runner.lower() == _LOCAL.lower()  # Beam takes either spelling
    found = [f"--runner={_LOCAL if local else runner}"]
    if local:
        found += [f"--direct_num_workers={workers}", "--direct_running_mode=multi_threading"]
    return found + given + unchecked  # the last of two counts


def shards(recipe: "write.Recipe", missing: Sequence[plan.Shard], options: Sequence[str]) -> None:
    """Writes the missing shards and their outcomes, a shard at a time wherever the runner likes.

    What is to be done lies in a file beside the shards, and the pipeline holds places in it: the
    graph of a million clips would be too large for most services.

    Raises:
        OSError: the pipeline failed; what is finished is kept.
    """
    recipe = dataclasses.replace(recipe, out=_absolute(recipe.out))
    tasks = storage.path(recipe.out) / state.FOLDER / state.TASKS
    content, places = _packed(missing)
    storage.write(tasks, content)
    if f"--runner={_LOCAL}" in options:  # it logs what it raises, several times
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    try:
        with apache_beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as pipeline:
            elements = pipeline | "Shards" >> apache_beam.Create(places) | apache_beam.Reshuffle()
            _ = elements | "Prepare" >> apache_beam.ParDo(_Prepare(recipe, str(tasks)))
    except RuntimeError as error:
        causes = _CAUSE.findall(str(error))
        if not causes:
            raise
        raise OSError(f"{causes[-1]}; the same command goes on from here") from error
    tasks.unlink(missing_ok=True)


class _Prepare(apache_beam.DoFn):
    """Writes the shard whose task lies at a place in the file of tasks."""

    def __init__(self, recipe: "write.Recipe", tasks: str) -> None:
        self._recipe, self._tasks = recipe, tasks
        self._clips = metric.Metrics.counter("prepare", "clips")
        self._rejected = metric.Metrics.counter("prepare", "rejected")

    def process(self, element: tuple[int, int]) -> Iterable[Any]:
        from av_mae.prepare.shards import write

        shard = _unpacked(self._tasks, *element)
        # A runner may do again what it lost sight of.
        if not state.finished(storage.path(self._recipe.out), shard):
            with write.decoding(self._recipe, [shard], workers=1) as contents:
                outcome = write.shard(self._recipe, shard, contents)
            self._clips.inc(outcome.shard["clips"])
            self._rejected.inc(len(outcome.rejected))
        return ()


def _parser() -> argparse.ArgumentParser:
    """That of all options of Beam and its runners."""
    found: list[argparse.ArgumentParser] = []
    pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=found.append)
    return found[0]


def _absolute(path: str) -> str:
    return path if storage.is_address(path) else os.path.abspath(path)


def _packed(shards: Iterable[plan.Shard]) -> tuple[bytes, list[tuple[int, int]]]:
    """The tasks as one file, and where in it each lies: (offset, length)."""
    packed = [pickle.dumps(_findable(shard)) for shard in shards]
    ends = list(itertools.accumulate(map(len, packed)))
    places = [(end - len(task), len(task)) for task, end in zip(packed, ends, strict=True)]
    return b"".join(packed), places


def _findable(shard: plan.Shard) -> plan.Shard:
    """With paths that hold in every process of this machine, and where the same disk is mounted."""
    entries = (dataclasses.replace(e, path=_absolute(e.path)) for e in shard.entries)
    return dataclasses.replace(shard, entries=tuple(entries))


def _unpacked(tasks: str, offset: int, length: int) -> plan.Shard:
    with storage.path(tasks).open("rb") as file:
        file.seek(offset)
        return pickle.loads(file.read(length))
