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
from typing import Any

if importlib.util.find_spec("apache_beam") is None:
    raise ModuleNotFoundError(
        "a runner needs Apache Beam; install it with: pip install apache-beam"
    )

import apache_beam  # pyright: ignore[reportMissingImports]
from apache_beam.metrics import metric  # pyright: ignore[reportMissingImports]
from apache_beam.options import pipeline_options  # pyright: ignore[reportMissingImports]

from av_mae.input import storage
from av_mae.prepare.shards import state, write
from av_mae.prepare.shards.settings import Assignment

_LOCAL = "DirectRunner"
# Beam ends its traceback with the error of this package that caused it.
_CAUSE = re.compile(r"^(?:\w+\.)*\w*Error: (.*?)(?: \[while running .*)?$", re.MULTILINE)


def options(runner: str, arguments: Sequence[str], workers: int) -> list[str]:
    """The options of a pipeline; Beam's local runner uses `workers` cores by default.

    Args:
        arguments: options of Beam, as on a command line; those behind a `--` are not checked.

    Raises:
        ValueError: one that Beam does not know.
    """
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    given, unchecked = arguments[:cut], arguments[cut + 1 :]
    parsers: list[argparse.ArgumentParser] = []  # the one of all options of Beam and its runners
    pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    _, unknown = parsers[0].parse_known_args(given)
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is an option neither of this program nor of Apache Beam; options "
            "that only the service behind a runner knows go behind a --"
        )
    if runner.lower() != _LOCAL.lower():  # Beam takes either spelling
        return [f"--runner={runner}", *given, *unchecked]
    local = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_threading"]
    return [f"--runner={_LOCAL}", *local, *given, *unchecked]  # the last of two counts


def shards(recipe: write.Recipe, missing: Sequence[Assignment], options: Sequence[str]) -> None:
    """Writes the missing shards and their outcomes, a shard at a time wherever the runner likes.

    What is to be done lies in a file beside the shards, and the pipeline holds places in it: the
    graph of a million clips would be too large for most services.

    Raises:
        OSError: the pipeline failed; what is finished is kept.
    """
    recipe = dataclasses.replace(recipe, out=_absolute(recipe.out))
    packed = []
    for shard in missing:
        # Paths that hold in every process of this machine, and where the same disk is mounted.
        entries = (dataclasses.replace(e, path=_absolute(e.path)) for e in shard.entries)
        packed.append(pickle.dumps(dataclasses.replace(shard, entries=tuple(entries))))
    ends = list(itertools.accumulate(map(len, packed)))
    places = [(end - len(task), len(task)) for task, end in zip(packed, ends, strict=True)]
    tasks = storage.path(recipe.out) / state.FOLDER / state.TASKS
    storage.write(tasks, b"".join(packed))

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
    """Writes the shard whose task lies at a place (offset, length) in the file of tasks."""

    def __init__(self, recipe: write.Recipe, tasks: str) -> None:
        self._recipe, self._tasks = recipe, tasks
        self._clips = metric.Metrics.counter("prepare", "clips")
        self._rejected = metric.Metrics.counter("prepare", "rejected")

    def process(self, element: tuple[int, int]) -> Iterable[Any]:
        offset, length = element
        with storage.path(self._tasks).open("rb") as file:
            file.seek(offset)
            shard: Assignment = pickle.loads(file.read(length))
        # A runner may do again what it lost sight of.
        if not state.is_finished(storage.path(self._recipe.out), shard):
            outcome = write.shards(self._recipe, [shard], workers=1)[shard.file]
            self._clips.inc(outcome.shard.clips)
            self._rejected.inc(len(outcome.rejected))
        return ()


def _absolute(path: str) -> str:
    return path if storage.is_address(path) else os.path.abspath(path)
