"""When things are due during training, and what its steps cost."""

import contextlib
import time
from collections.abc import Iterator

from av_mae.run import Run


class Schedule:
    """Which things are due after which step."""

    def __init__(self, plan: Run):
        e = plan.experiment
        self._total = plan.total
        self._log = max(plan.steps(e.log_every), 1)
        self._checkpoint = max(plan.steps(e.checkpoint.every), 1)
        self._evaluators = {
            name: plan.total if c.every == "end" else max(plan.steps(c.every), 1)
            for name, c in e.evaluators.items()
        }

    def due(self, step: int) -> bool:
        return self.log(step) or self.evaluate(step) or self.checkpoint(step)

    def log(self, step: int) -> bool:
        return step % self._log == 0 or step == self._total

    def checkpoint(self, step: int) -> bool:
        return step % self._checkpoint == 0 or step == self._total

    def evaluate(self, step: int) -> bool:
        return bool(self.evaluators(step))

    def evaluators(self, step: int) -> list[str]:
        return [n for n, k in self._evaluators.items() if step % k == 0 or step == self._total]


class Clock:
    """Step time and the share of it spent waiting for input; evaluations do not count."""

    def __init__(self, begin: int):
        self._step, self._start, self._waited, self._paused = begin, time.perf_counter(), 0.0, 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent inside counts as waiting for input."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

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
