"""Work on many files in several processes, where a hung or killed process costs one file."""

import collections
import dataclasses
import multiprocessing
import multiprocessing.connection
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from typing import Any

_START = multiprocessing.get_context("spawn")
# A process that dies without a word is given its task once more before the task is given up.
_ATTEMPTS = 2
_WAKE = 0.5


@dataclasses.dataclass(frozen=True)
class Lost:
    """Stands for the result of a task whose process hung or died."""

    reason: str


class WorkError(RuntimeError):
    """An error that the work itself raised; the message holds its traceback."""


def ordered(
    work: Callable[[Any], Any],
    tasks: Iterable[Any],
    *,
    workers: int,
    patience: float,
) -> Generator[Any]:
    """Yields `work(task)` for every task, in the order of the tasks.

    At most four tasks a process are begun ahead of what is taken, so results do not pile up.

    Args:
        work: a function that a fresh process can import; arguments and results are pickled.
        workers: number of processes.
        patience: seconds after which the process of a task is killed and the task is `Lost`.

    Raises:
        WorkError: `work` raised an exception.
    """
    crew = _Crew(work, workers, patience)
    ahead: collections.deque[_Job] = collections.deque()
    source = iter(tasks)
    try:
        while True:
            while len(ahead) < 4 * workers and (task := next(source, _END)) is not _END:
                ahead.append(crew.queue(task))
            if not ahead:
                return
            while not ahead[0].done:
                crew.turn()
            yield ahead.popleft().result
    finally:
        crew.dismiss()


_END = object()


@dataclasses.dataclass(eq=False)
class _Job:
    task: Any
    result: Any = None
    done: bool = False
    attempts: int = 0

    def finish(self, result: Any) -> None:
        self.result, self.done = result, True
        self.task = None


class _Crew:
    """The processes, and the tasks that wait for one."""

    def __init__(self, work: Callable[[Any], Any], workers: int, patience: float) -> None:
        self._work, self._patience = work, patience
        self._waiting: collections.deque[_Job] = collections.deque()
        self._hands = [_Hand(work) for _ in range(workers)]

    def queue(self, task: Any) -> _Job:
        job = _Job(task)
        self._waiting.append(job)
        self._assign()
        return job

    def turn(self) -> None:
        """Waits until something happened and deals with it."""
        pipes = {hand.pipe: hand for hand in self._hands}
        for pipe in multiprocessing.connection.wait(list(pipes), timeout=_WAKE):
            self._hear(pipes[pipe])  # pyright: ignore[reportArgumentType]
        for hand in list(self._hands):
            if hand.job is not None and time.monotonic() - hand.since > self._patience:
                hand.kill()
                hand.job.finish(Lost(f"took too long: more than {self._patience:g} s"))
                self._replace(hand)
        self._assign()

    def dismiss(self) -> None:
        for hand in self._hands:
            hand.kill()

    def _assign(self) -> None:
        for hand in list(self._hands):
            if hand.ready and hand.job is None and self._waiting:
                job = self._waiting.popleft()
                job.attempts += 1
                try:
                    hand.give(job)
                except OSError:
                    self._died(hand)

    def _hear(self, hand: "_Hand") -> None:
        try:
            kind, value = hand.pipe.recv()
        except (EOFError, OSError):
            self._died(hand)
            return
        if kind == "error":
            raise WorkError(value)
        if hand.job is not None:
            hand.job.finish(value)
        hand.job, hand.ready = None, True

    def _died(self, hand: "_Hand") -> None:
        job, code = hand.job, hand.buried()
        if job is None and not hand.ready:
            raise WorkError(f"a worker process ended with {_ending(code)} before its first task")
        if job is not None and job.attempts < _ATTEMPTS:
            self._waiting.appendleft(job)
        elif job is not None:
            job.finish(Lost(f"decoder crashed: its process ended with {_ending(code)}"))
        self._replace(hand)

    def _replace(self, hand: "_Hand") -> None:
        self._hands[self._hands.index(hand)] = _Hand(self._work)


class _Hand:
    """One process and what it is working on."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.pipe, theirs = _START.Pipe()
        self.job: _Job | None = None
        self.ready = False
        self.since = 0.0
        self._process = _START.Process(target=_serve, args=(work, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, job: _Job) -> None:
        self.job, self.since = job, time.monotonic()
        self.pipe.send(job.task)

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self.buried()

    def buried(self) -> int | None:
        """Waits for the end of a process that closed its pipe; its exit code."""
        self._process.join()
        self.pipe.close()
        return self._process.exitcode


def _serve(work: Callable[[Any], Any], pipe: Any) -> None:
    # An interrupt from the keyboard reaches all processes; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pipe.send(("ready", None))
        while True:
            task = pipe.recv()
            try:
                message = ("result", work(task))
            except Exception:
                message = ("error", traceback.format_exc())
            pipe.send(message)
    except (EOFError, OSError):
        return  # the parent is gone


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
