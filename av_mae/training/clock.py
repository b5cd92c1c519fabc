"""Timing of a run: the stages of starting up, step time, and the wait for input."""

import concurrent.futures
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import psutil


class Clock:
    """Step time, and the share of it that devices waited for input; evaluations do not count."""

    def __init__(self, begin: int):
        self._step, self._start, self._waited, self._paused = begin, time.perf_counter(), 0.0, 0.0
        self._watcher = concurrent.futures.ThreadPoolExecutor(1)
        self._idle: concurrent.futures.Future[float] | None = None

    def started(self, result: Any) -> None:
        """The devices are busy from now on, until they have this result of a step."""

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
