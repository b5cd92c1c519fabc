"""The training loop, the same for every task."""

import contextlib
import json
import math
import os
import pathlib
import signal
import threading
from collections.abc import Iterator

import jax
import numpy as np
from absl import logging

from av_mae import evaluation
from av_mae.config import schema
from av_mae.evaluation import evaluate
from av_mae.experiment import checkpoint, sharding
from av_mae.experiment.run import Run
from av_mae.experiment.step import TrainState
from av_mae.input import pipeline
from av_mae.report import history, page
from av_mae.tasks import Batch, Metrics
from av_mae.tasks.metrics import Diverged
from av_mae.training import clock, init_from

# EX_TEMPFAIL: stopped by SIGTERM after saving; running the same command again continues.
PREEMPTED = 75
# The same by Ctrl-C: 128 and the number of the signal, as shells have it.
INTERRUPTED = 130


def train(
    experiment: schema.Experiment, workdir: pathlib.Path, stages: clock.Stages | None = None
) -> int:
    """Trains to the end, SIGTERM or Ctrl-C, continuing from the newest checkpoint in `workdir`.

    Args:
        stages: of starting up, where the caller has begun to time them.

    Returns:
        0 when the run is complete; when it was stopped and has saved, `PREEMPTED` or, by Ctrl-C,
        `INTERRUPTED`.

    Raises:
        Diverged: the loss became NaN or infinite; names the step and the last good checkpoint.
    """
    stages = stages or clock.Stages()
    workdir = pathlib.Path(workdir)
    run = Run.build(experiment)
    stages.end("model and data set")
    saved = checkpoint.Checkpoints(
        workdir / "checkpoints", run.experiment, run.info.labels, run.experiment.checkpoint.keep
    )
    restored = saved.restore(run.abstract)
    if restored:
        state, meta = restored
        logging.info("continuing at step %d", meta["step"])
        before, now = meta["experiment"]["dataset"]["path"], run.experiment.dataset.path
        if before != now:
            logging.warning("up to here the records were those in %s, now in %s", before, now)
    else:
        state = run.init()
        if run.experiment.init_from.path:
            state = init_from.apply(state, run, workdir)
    begin = int(state.step)
    stages.end("parameters")
    if begin >= run.total:
        logging.warning("nothing to do: step %s >= total %s", f"{begin:,}", f"{run.total:,}")
        saved.close()
        return 0
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(run.experiment.to_dict(), indent=1)
        (workdir / history.CONFIG).write_text(text)
    with contextlib.closing(Loop(run, saved, workdir, begin, stages)) as loop:
        code = loop.run(state, batches(run, begin))
    if jax.process_index() == 0:
        page.finish(workdir)
    return code


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

    A step's metrics are read when the next step is already under way, so that the devices never
    wait for the log; only what needs the parameters themselves waits for them.
    """

    def __init__(
        self,
        run: Run,
        saved: checkpoint.Checkpoints,
        workdir: pathlib.Path,
        begin: int,
        stages: clock.Stages,
    ):
        e = run.experiment
        self._run, self._saved, self._workdir = run, saved, workdir
        self._begin, self._stages = begin, stages
        self._log_every = max(run.steps(e.log_every), 1)
        self._save_every = max(run.steps(e.checkpoint.every), 1)
        self._clock = clock.Clock(begin)
        self._reporter = run.reporter(workdir, resume_step=begin)
        self._evaluators = evaluation.make(run, self._reporter)
        every = {name: e.evaluators[name].every for name in self._evaluators}
        self._score_every = {
            name: run.total if when == "end" else max(run.steps(when), 1)
            for name, when in every.items()
        }
        self._best = None
        if e.checkpoint.best:
            metrics = evaluation.metrics(self._evaluators)
            self._best = checkpoint.Best(workdir, e, run.info.labels, metrics)
        self._stop = StopSignal(saved)
        self._unread: tuple[int, Metrics] | None = None

    def close(self) -> None:
        """Waits for checkpoints, and closes what the loop has opened."""
        self._stop.close()
        self._saved.close()
        if self._best:
            self._best.close()
        self._reporter.close()

    def run(self, state: TrainState, batches: Iterator[dict[str, np.ndarray]]) -> int:
        """Runs to the last step, or until it is told to stop; returns as `train` does."""
        # A stop may have left evaluations undone.
        unscored = self._saved.note(self._begin).get("unscored", []) if self._begin else []
        self._evaluate(self._begin, state, [n for n in unscored if n in self._evaluators])

        batch = self._next(batches)
        self._stages.end("first batch")
        logging.info("compiling the training step")
        train_step = self._run.train_step().lower(state, batch).compile()
        self._stages.end("compilation")
        self._clock.lap(self._begin)  # no step time contains any of this

        total = self._run.total
        for step in range(self._begin + 1, total + 1):
            state, metrics = train_step(state, batch)
            self._clock.started(metrics["loss"])
            stop = step < total and self._stop.now(step)
            if step < total and not stop:
                batch = self._next(batches)  # while the devices work on this step
            self._read()
            self._unread = (step, metrics)
            if step == self._begin + 1:
                self._read()
                self._stages.end("first step")
                self._reporter.started(self._stages.seconds)

            due = [name for name, every in self._score_every.items() if self._due(every, step)]
            save = self._due(self._save_every, step) or stop
            if due or save:
                self._read()  # nothing is scored or saved of a step that diverged
            self._evaluate(step, state, [] if stop else due)
            if save:
                with self._clock.paused():
                    self._saved.save(step, state, {"unscored": due} if stop else None)
            if stop:
                newest = self._saved.latest()  # once it is on the disk
                logging.warning("told to stop: saved step %d; run again to continue", newest)
                return self._stop.code
        return 0

    def _due(self, every: int, step: int) -> bool:
        """Whether `step` is a multiple of `every`, or the last one."""
        return step % every == 0 or step == self._run.total

    def _next(self, batches: Iterator[dict[str, np.ndarray]]) -> Batch:
        with self._clock.waiting():
            rows = next(batches)
        self._run.check_batch(rows)
        return sharding.to_devices(rows, self._run.mesh)

    def _read(self) -> None:
        """Waits for the metrics of the step before, checks them, and logs them where it is due.

        Raises:
            Diverged: the loss or the gradient is not finite.
        """
        if not self._unread:
            return
        (step, metrics), self._unread = self._unread, None
        loss, norm = float(metrics["loss"]), float(metrics["grad_norm"])
        if not (math.isfinite(loss) and math.isfinite(norm)):
            good = self._saved.latest()
            after = f"the last good checkpoint is step {good}"
            raise Diverged(
                f"step {step}: loss {loss}, gradient norm {norm}; "
                f"{after if good else 'no checkpoint was written'} in {self._workdir}. "
                "Lower lr, lengthen optim.warmup or set optim.clip=1.0, and run again"
            )
        if self._due(self._log_every, step):
            numbers = {name: float(value) for name, value in jax.device_get(metrics).items()}
            seconds, waited, steps = self._clock.lap(step)
            self._reporter.train(
                step, numbers, step_seconds=seconds, input_wait=waited, steps_since=steps
            )

    def _evaluate(self, step: int, state: TrainState, names: list[str]) -> None:
        """Runs evaluators, keeps the state if it is the best, and writes the scores."""
        if not names:
            return
        with self._clock.paused():
            params = state.ema or state.params
            results = evaluation.score(self._evaluators, names, step, params, state.rest)
            self._reporter.evaluation(step, results)
            if self._best:
                self._best.offer(step, state, results)
            if jax.process_index() == 0:
                if step == self._run.total:
                    evaluate.write(self._workdir, step, results)
                else:
                    page.write(self._workdir)


class StopSignal:
    """Turns SIGTERM and Ctrl-C into a stop after the current step, the same on every process.

    Attributes:
        code: what the program ends with.
    """

    def __init__(self, saved: checkpoint.Checkpoints):
        self.code = PREEMPTED
        self._saved, self._received = saved, threading.Event()
        self._alone = jax.process_count() == 1
        self._before = {signal.SIGINT: signal.signal(signal.SIGINT, self._interrupt)}
        if self._alone:
            self._before[signal.SIGTERM] = signal.signal(
                signal.SIGTERM, lambda *_: self._received.set()
            )

    def close(self) -> None:
        """Gives the signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, *_: object) -> None:
        if self.code == INTERRUPTED:
            os.write(2, b"error: interrupted again: ended without saving\n")
            os._exit(INTERRUPTED)  # threads that write or compile would be waited for
        self.code = INTERRUPTED
        os.write(2, b"interrupted: saving after this step; once more ends at once\n")
        os.kill(os.getpid(), signal.SIGTERM)  # processes agree on the step of that signal

    def now(self, step: int) -> bool:
        """Whether to stop after this step."""
        return self._received.is_set() if self._alone else self._saved.reached_preemption(step)
