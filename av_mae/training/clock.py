"""When things are due during training, and what starting up and the steps cost."""

import concurrent.futures
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import psutil

from av_mae.experiment.run import Run


class Schedule:
    """Which things are due after which step; all of them are after the last one."""

    def __init__(self, run: Run):
        e = run.experiment
        self._total = run.total
        self._log = max(run.steps(e.log_every), 1)
        self._checkpoint = max(run.steps(e.checkpoint.every), 1)
        self._evaluators = {
            name: run.total if c.every == "end" else max(run.steps(c.every), 1)
            for name, c in e.evaluators.items()
        }

    def log(self, step: int) -> bool:
        return step % self._log == 0 or step == self._total

    def checkpoint(self, step: int) -> bool:
        return step % self._checkpoint == 0 or step == self._total

    def evaluators(self, step: int) -> list[str]:
        return [n for n, k in self._evaluators.items() if step % k == 0 or step == self._total]


class Clock:
    """Step time, and the share of it that devices waited for input; evaluations do not count."""

    def __init__(self, begin: int):
        self._step, self._start, self._waited, self._paused = begin, time.perf_counter(), 0.0, 0.0
        self._watcher = concurrent.futures.ThreadPoolExecutor(1)
        self._idle: concurrent.futures.Future[float] | None = None

    def started(self, result: Any) -> None:
        """Devices work from now on, until they have this result of a step."""

        def finished() -> float:
            jax.block_until_ready(result)
            return time.perf_counter()

        self._idle = self._watcher.submit(finished)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent inside counts as waiting for input, once the devices have nothing to do."""
        begin = time.perf_counter()
        yield
        if self._idle and self._idle.done():
            self._waited += time.perf_counter() - max(begin, self._idle.result())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside does not count as training."""
        begin = time.perf_counter()
        yield
        self._paused += time.perf_counter() - begin

    def lap(self, step: int) -> tuple[float, float, int]:
        """(seconds a step, share spent waiting for input, steps) since the last lap."""
        now, steps = time.perf_counter(), step - self._step
        spent = max(now - self._start - self._paused, 1e-9)
        waited = self._waited / spent
        self._step, self._start, self._waited, self._paused = step, now, 0.0, 0.0
        return spent / max(steps, 1), min(waited, 1.0), steps


class Stages:
    """How long each part of starting up took, in seconds; one begins where the other ends.

    The first, "imports", began with the process.
    """

    def __init__(self):
        age = time.time() - psutil.Process().create_time()
        self.seconds: dict[str, float] = {"imports": age}
        self._since = time.perf_counter()

    def end(self, name: str) -> None:
        """Ends the current stage, which is given its name."""
        now = time.perf_counter()
        self.seconds[name] = now - self._since
        self._since = now
