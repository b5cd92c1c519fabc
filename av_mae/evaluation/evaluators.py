"""Evaluators: each scores parameters on a split and yields `(name, value)`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from av_mae.config import schema
from av_mae.evaluation import classification, knn, reconstruction
from av_mae.experiment.run import Run
from av_mae.report import writer

KINDS = {
    "classification": classification.Classification,
    "reconstruction": reconstruction.Reconstruction,
    "knn": knn.NearestNeighbours,
}


class Evaluator(Protocol):
    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]: ...


def make(run: Run, reporter: writer.Reporter) -> dict[str, Evaluator]:
    """The evaluators of an experiment by name, built before the first step so errors come early."""
    return {
        name: _kind(name, c, run.experiment.task)(name, c, run, reporter)
        for name, c in run.experiment.evaluators.items()
    }


def evaluate(
    evaluators: Mapping[str, Evaluator], names: Sequence[str], step: int, params: Any, rest: Any
) -> dict[str, float]:
    """Runs the named evaluators and returns `{"<evaluator>/<metric>": value}`."""
    return {
        f"{name}/{metric}": float(value)
        for name in names
        for metric, value in evaluators[name].run(params, rest, step)
        if not math.isnan(value)
    }


def _kind(name: str, evaluator: schema.Evaluator, task: str) -> type:
    kind = KINDS[evaluator.kind]
    if task not in kind.tasks:
        raise schema.ConfigError(
            f"evaluators.{name}.kind {evaluator.kind!r} is for {' and '.join(kind.tasks)} runs, "
            f"but the task is {task}"
        )
    return kind
