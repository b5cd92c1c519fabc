"""The checkpoint that scored best, kept apart from the newest ones."""

import math
import pathlib
from collections.abc import Mapping, Sequence

from absl import logging

from av_mae.config import schema
from av_mae.experiment.checkpoint import Checkpoints
from av_mae.experiment.step import TrainState


class Best:
    """Keeps the checkpoint with the best value of one metric, across restarts.

    Args:
        metric: `<evaluator>/<metric>`, or "" to keep none.
        lower: whether less is better.

    Raises:
        ConfigError: no evaluator of the experiment has that name.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        experiment: schema.Experiment,
        labels: Sequence[str],
        *,
        metric: str,
        lower: bool,
    ):
        self._metric, self._sign = metric, -1.0 if lower else 1.0
        self._saved: Checkpoints | None = None
        self._value = -math.inf
        if metric:
            _check_best(metric, experiment)
            self._saved = Checkpoints(workdir / "best", experiment, labels, keep=1)
            self._value = self._before(self._saved)

    def offer(self, step: int, current: TrainState, results: Mapping[str, float]) -> None:
        """Saves the state if it scores better than all before.

        Raises:
            ConfigError: the metric's evaluator ran and had no such number.
        """
        evaluator = self._metric.split("/")[0] + "/"
        found = [name for name in results if name.startswith(evaluator)]
        if not self._saved or not found:
            return
        if self._metric not in results:
            raise schema.ConfigError(
                f"checkpoint.best is {self._metric!r}, but there is only {', '.join(found)}"
            )
        value = self._sign * results[self._metric]
        if value > self._value:
            self._value = value
            self._saved.save(step, current, {"metric": self._metric, "value": self._sign * value})

    def close(self) -> None:
        if self._saved:
            self._saved.close()

    def _before(self, saved: Checkpoints) -> float:
        """The signed value of the best checkpoint so far."""
        step = saved.latest()
        note = {} if step is None else saved.note(step)
        if note.get("metric", self._metric) != self._metric:
            logging.warning("checkpoint.best was %s; the best is sought anew", note["metric"])
            return -math.inf
        return self._sign * note["value"] if note else -math.inf


def _check_best(metric: str, e: schema.Experiment) -> None:
    if metric.split("/")[0] not in e.evaluators:
        known = ", ".join(f"{name}/..." for name in e.evaluators) or "none"
        raise schema.ConfigError(
            f"checkpoint.best is {metric!r}, but no evaluator has that name; known: {known}"
        )
