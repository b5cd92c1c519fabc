"""The training loop, the same for every task."""

import json
import math
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from absl import logging

from av_mae.config import schema
from av_mae.evaluation import evaluate, evaluators
from av_mae.experiment import checkpoint, sharding
from av_mae.experiment.run import Run
from av_mae.experiment.step import TrainState
from av_mae.input import pipeline
from av_mae.report import history, page
from av_mae.tasks import Batch, Metrics
from av_mae.tasks.metrics import Diverged
from av_mae.training import best, init_from, timing

# EX_TEMPFAIL: stopped by SIGTERM after saving; running the same command again continues.
PREEMPTED = 75


def train(
    experiment: schema.Experiment, workdir: pathlib.Path, stages: timing.Stages | None = None
) -> int:
    """Trains to the end, or to a SIGTERM, continuing from the newest checkpoint in `workdir`.

    Args:
        stages: of starting up, where the caller has begun to time them.

    Returns:
        0 when the run is complete, `PREEMPTED` when it was told to stop and has saved.

    Raises:
        Diverged: the loss became NaN or infinite; names the step and the last good checkpoint.
    """
    stages = stages or timing.Stages()
    workdir = pathlib.Path(workdir)
    run = Run.build(experiment)
    stages.end("model and data set")
    saved = checkpoint.Checkpoints(
        workdir / "checkpoints", run.experiment, run.info.labels, run.experiment.checkpoint.keep
    )
    current = start(run, saved, workdir)
    begin = int(current.step)
    stages.end("parameters")
    if begin >= run.total:
        logging.warning("nothing to do: step %s >= total %s", f"{begin:,}", f"{run.total:,}")
        saved.close()
        return 0
    _write_config(workdir, run)
    with Loop(run, saved, workdir, begin, stages) as loop:
        finished = loop.run(current, batches(run, begin))
    return 0 if finished else PREEMPTED


def start(run: Run, saved: checkpoint.Checkpoints, workdir: pathlib.Path) -> TrainState:
    """The newest checkpoint of this run, else fresh parameters, inherited ones where asked."""
    restored = saved.restore(run.abstract)
    if restored:
        logging.info("continuing at step %d", restored[1]["step"])
        before, now = restored[1]["experiment"]["dataset"]["path"], run.experiment.dataset.path
        if before != now:
            logging.warning("up to here the records were those in %s, now in %s", before, now)
        return restored[0]
    fresh = run.init()
    return init_from.apply(fresh, run, workdir) if run.experiment.init_from.path else fresh


def batches(run: Run, begin: int) -> Iterator[dict[str, np.ndarray]]:
    """This host's rows of every batch after step `begin`, in the order that the seed decides."""
    e = run.experiment
    return pipeline.train_batches(
        e.dataset.path,
        e.modalities,
        e.dataset,
        e.augment,
        batch_size=e.batch_size,
        seed=e.seed,
        start=begin,
        rows=sharding.host_rows(run.mesh, e.batch_size),
    )


class Loop:
    """Steps, and what happens between them: metrics, evaluations, checkpoints, stopping.

    A step's numbers are read when the next step is already under way, so that the devices never
    wait for the log; only what needs the parameters themselves waits for them.
    """

    def __init__(
        self,
        run: Run,
        saved: checkpoint.Checkpoints,
        workdir: pathlib.Path,
        begin: int,
        stages: timing.Stages,
    ):
        self._run, self._saved, self._begin, self._stages = run, saved, begin, stages
        self._step, self._every = run.train_step(), timing.Schedule(run)
        self._reporter = run.reporter(workdir, resume_step=begin)
        self._workdir = workdir
        self._evaluators = evaluators.make(run, self._reporter)
        self._best = _best(run, workdir)
        self._clock = timing.Clock(begin)
        self._stop = StopSignal(saved)
        self._unread: tuple[int, Metrics] | None = None

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._saved.close()
        self._best.close()
        self._reporter.close()

    def run(self, current: TrainState, batches: Iterator[dict[str, np.ndarray]]) -> bool:
        """Runs to the last step; False when a SIGTERM ended it early."""
        total = self._run.total
        self._catch_up(current)
        batch = self._next(batches)
        self._stages.end("first batch")
        train_step = self._compile(current, batch)
        for step in range(self._begin + 1, total + 1):
            current, metrics = train_step(current, batch)
            self._clock.started(metrics["loss"])
            stop = step < total and self._stop.now(step)
            if step < total and not stop:
                batch = self._next(batches)  # while the devices work on this step
            self._read()
            self._unread = (step, metrics)
            if step == self._begin + 1:
                self._started()
            self._between(step, current, stop)
            if stop:
                logging.warning("told to stop: saved step %d; run again to continue", step)
                return False
        return True

    def _between(self, step: int, current: TrainState, stop: bool) -> None:
        """Evaluates and saves what is due after a step, once its numbers are known to be sound."""
        due, save = self._every.evaluators(step), self._every.checkpoint(step) or stop
        if due or save:
            self._read()
        self._evaluate(step, current, [] if stop else due)
        if save:
            with self._clock.paused():
                self._saved.save(step, current, {"unscored": due} if stop else None)

    def _catch_up(self, current: TrainState) -> None:
        """Runs the evaluators that a stop left undone."""
        note = self._saved.note(self._begin) if self._begin else {}
        names = [name for name in note.get("unscored", []) if name in self._evaluators]
        self._evaluate(self._begin, current, names)

    def _compile(self, current: TrainState, batch: Batch) -> Any:
        """Compiles ahead of the first step, so that no step time contains it."""
        begin = time.perf_counter()
        compiled = self._step.lower(current, batch).compile()
        logging.info("compiled the step in %.1f s", time.perf_counter() - begin)
        self._stages.end("compilation")
        self._clock = timing.Clock(self._begin)
        return compiled

    def _started(self) -> None:
        """Tells how long it took to the end of the first step."""
        self._read()
        self._stages.end("first step")
        self._reporter.started(self._stages.seconds)

    def _next(self, batches: Iterator[dict[str, np.ndarray]]) -> Batch:
        with self._clock.waiting():
            rows = next(batches)
        return sharding.to_devices(rows, self._run.mesh)

    def _read(self) -> None:
        """Waits for the numbers of the step before, checks them, and tells them where it is time.

        Raises:
            Diverged: the loss or the gradient is not finite.
        """
        if not self._unread:
            return
        (step, metrics), self._unread = self._unread, None
        loss, norm = float(metrics["loss"]), float(metrics["grad_norm"])
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._diverged(step, loss, norm)
        if self._every.log(step):
            self._log(step, metrics)

    def _diverged(self, step: int, loss: float, norm: float) -> NoReturn:
        self._saved.wait()
        good = self._saved.latest()
        after = f"the last good checkpoint is step {good}" if good else "no checkpoint was written"
        raise Diverged(
            f"step {step}: loss {loss}, gradient norm {norm}; {after} in {self._workdir}. "
            "Lower lr, lengthen optim.warmup or set optim.clip=1.0, and run again"
        )

    def _log(self, step: int, metrics: Metrics) -> None:
        numbers = {name: float(value) for name, value in jax.device_get(metrics).items()}
        seconds, waited, steps = self._clock.lap(step)
        self._reporter.train(
            step, numbers, step_seconds=seconds, input_wait=waited, steps_since=steps
        )

    def _evaluate(self, step: int, current: TrainState, names: list[str]) -> None:
        if not names:
            return
        with self._clock.paused():
            results = evaluators.evaluate(
                self._evaluators, names, step, current.eval_params, current.rest
            )
            self._reporter.evaluation(step, results)
            self._best.offer(step, current, results)
            if jax.process_index() == 0 and step == self._run.total:
                evaluate.write(self._workdir, step, results)
            if jax.process_index() == 0:
                page.write(self._workdir)


class StopSignal:
    """Turns SIGTERM into a stop after the current step, the same step on every process."""

    def __init__(self, saved: checkpoint.Checkpoints):
        self._saved, self._told = saved, False
        self._alone = jax.process_count() == 1
        if self._alone:
            self._before = signal.signal(signal.SIGTERM, self._tell)

    def close(self) -> None:
        """Gives the signal back to whoever had it."""
        if self._alone:
            signal.signal(signal.SIGTERM, self._before)

    def _tell(self, *_: object) -> None:
        self._told = True

    def now(self, step: int) -> bool:
        return self._told if self._alone else self._saved.reached_preemption(step)


def _best(run: Run, workdir: pathlib.Path) -> best.Best:
    metric = run.experiment.checkpoint.best
    lower = history.lower_is_better(metric)
    return best.Best(workdir, run.experiment, run.info.labels, metric=metric, lower=lower)


def _write_config(workdir: pathlib.Path, run: Run) -> None:
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(run.experiment.to_dict(), indent=1)
        (workdir / "config.json").write_text(text)
