"""Evaluators: every module of this package with a class `Evaluator` scores a model in one way.

`kind="knn"` of an evaluator in a config is the class `Evaluator` of `av_mae/evaluation/knn.py`, and
is registered nowhere else. It names in `tasks` the tasks whose models it scores, takes in
`__init__` its name, its `schema.Evaluator`, the run and the reporter, refuses there what cannot
run, and scores in `run`. The other modules feed evaluators and run them on a checkpoint.
"""

import difflib
import importlib
import math
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from av_mae.config import schema
from av_mae.experiment.run import Run
from av_mae.report import writer

_USUAL = {"train", "val", "test"}


class Evaluator(Protocol):
    """Scores a model; the module says how a class of one becomes a value of `kind`.

    Attributes:
        metrics: names of the scores that `run` may yield.
    """

    metrics: Sequence[str]

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        """Yields (metric, value); a value that is not a number is left out."""
        ...


def names() -> list[str]:
    """The values of `evaluators.*.kind`."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in modules if hasattr(_module(name), "Evaluator")]


def check(experiment: schema.Experiment) -> None:
    """Makes sure that every evaluator is of a known kind, and of one for the experiment's task.

    Raises:
        ConfigError: some are not; names the key, and the nearest kind.
    """
    known = names() if experiment.evaluators else []
    for name, config in experiment.evaluators.items():
        if config.kind not in known:
            near = difflib.get_close_matches(config.kind, known, n=1)
            raise schema.ConfigError(
                f"evaluators.{name}.kind is {config.kind!r}, expected one of {', '.join(known)}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        tasks = _module(config.kind).Evaluator.tasks
        if experiment.task not in tasks:
            raise schema.ConfigError(
                f"evaluators.{name}.kind {config.kind!r} is for {' and '.join(tasks)} runs, "
                f"but the task is {experiment.task}"
            )


def make(run: Run, reporter: writer.Reporter) -> dict[str, Evaluator]:
    """The evaluators of a run by name, built before the first step so that errors come early.

    Those that never run are left out, and those of a `train`, `val` or `test` that the data set
    does not have: not every one has all three. Of any other name, one that does not exist is a
    mistake.
    """
    check(run.experiment)
    made = {}
    for name, config in run.experiment.evaluators.items():
        splits = {config.split, config.train_split} if config.kind == "knn" else {config.split}
        absent = splits & _USUAL - set(run.info.splits)
        if config.every != "never" and absent:
            reporter.note(
                f"evaluators.{name} is left out: there is no split {', '.join(sorted(absent))} in "
                f"{run.experiment.dataset.path}, which has {', '.join(run.info.splits)}"
            )
        elif config.every != "never":
            made[name] = _module(config.kind).Evaluator(name, config, run, reporter)
    return made


def metrics(evaluators: Mapping[str, Evaluator]) -> list[str]:
    """Names of all scores of these evaluators, `<evaluator>/<metric>`."""
    return [f"{name}/{metric}" for name, e in evaluators.items() for metric in e.metrics]


def score(
    evaluators: Mapping[str, Evaluator], names: Sequence[str], step: int, params: Any, rest: Any
) -> dict[str, float]:
    """Runs the named evaluators and returns `{"<evaluator>/<metric>": value}`."""
    return {
        f"{name}/{metric}": float(value)
        for name in names
        for metric, value in evaluators[name].run(params, rest, step)
        if not math.isnan(value)
    }


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
