"""Work on many files in several processes, where a hung, killed or greedy one costs one file."""

import collections
import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from typing import Any

_START = multiprocessing.get_context("spawn")
# A task whose process dies is the first of a new one before it is given up: that may have been
# killed by chance, or have grown over the tasks before.
_ATTEMPTS = 2
_WAKE = 0.5
# How often a process looks at its own size, and the exit code of one that has grown too large.
_WATCH = 0.2
_GREEDY = 86


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
    memory: int | None = None,
) -> Generator[Any]:
    """Yields `work(task)` for every task, in the order of the tasks.

    At most four tasks a process are begun ahead of what is taken, so results do not pile up. The
    processes end with this one, however it ends.

    Args:
        work: a function that a fresh process can import; arguments and results are pickled.
        workers: number of processes.
        patience: seconds after which the process of a task is killed and the task is `Lost`.
        memory: bytes that a process may occupy, on Linux; a task that needs more is `Lost`.

    Raises:
        OSError: `work` raised one, which is no fault of its task.
        WorkError: `work` raised another exception.
    """
    crew = _Crew(work, workers, patience, memory)
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

    def __init__(
        self, work: Callable[[Any], Any], workers: int, patience: float, memory: int | None
    ) -> None:
        self._work, self._patience, self._memory = work, patience, memory
        self._waiting: collections.deque[_Job] = collections.deque()
        self._hands = [_Hand(work, memory) for _ in range(workers)]

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
            if hand.ready and hand.job is None and (hand.first or self._waiting):
                job, hand.first = hand.first or self._waiting.popleft(), None
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
        if kind == "refused":
            raise OSError(value)
        if kind == "error":
            raise WorkError(value)
        if hand.job is not None:
            hand.job.finish(value)
        hand.job, hand.ready = None, True

    def _died(self, hand: "_Hand") -> None:
        job, code = hand.job, hand.buried()
        if job is None and not hand.ready:
            raise WorkError(f"a worker process ended with {_ending(code)} before its first task")
        again = job if job is not None and job.attempts < _ATTEMPTS else None
        if job is not None and again is None:
            job.finish(Lost(self._reason(code)))
        self._replace(hand, again)

    def _reason(self, code: int | None) -> str:
        if code == _GREEDY and self._memory is not None:
            return f"out of memory: more than {self._memory / 2**30:g} GiB"
        return f"decoder crashed: its process ended with {_ending(code)}"

    def _replace(self, hand: "_Hand", first: _Job | None = None) -> None:
        self._hands[self._hands.index(hand)] = _Hand(self._work, self._memory, first)


class _Hand:
    """One process, what it is working on, and a task that waits for this process alone."""

    def __init__(
        self, work: Callable[[Any], Any], memory: int | None, first: _Job | None = None
    ) -> None:
        self.pipe, theirs = _START.Pipe()
        self.job: _Job | None = None
        self.first = first
        self.ready = False
        self.since = 0.0
        self._process = _START.Process(target=_serve, args=(work, theirs, memory), daemon=True)
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


def _serve(work: Callable[[Any], Any], pipe: Any, memory: int | None) -> None:
    # An interrupt from the keyboard reaches all processes; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(
        OSError
    ):  # where memory ends, Linux takes this process, not its parent
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")
    threading.Thread(target=_watch, args=(memory,), daemon=True).start()
    try:
        pipe.send(("ready", None))
        while True:
            message = _message(work, pipe.recv())
            _end_if_greedy(memory)
            pipe.send_bytes(message)
    except (EOFError, OSError):
        return  # the parent is gone


def _message(work: Callable[[Any], Any], task: Any) -> bytes:
    """What `_hear` receives of a task; a result may be too large to be pickled, too."""
    try:
        return pickle.dumps(("result", work(task)))
    except MemoryError:
        return pickle.dumps(("result", Lost("out of memory")))
    except OSError as error:
        return pickle.dumps(("refused", str(error)))
    except Exception:
        return pickle.dumps(("error", traceback.format_exc()))


def _watch(memory: int | None) -> None:
    """Ends this process, busy or hung, once it is too large or its parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while parent.is_alive():
        _end_if_greedy(memory)
        parent.join(_WATCH)
    os._exit(1)


def _end_if_greedy(memory: int | None) -> None:
    if memory is not None and _peak_bytes() > memory:
        os._exit(_GREEDY)


def _peak_bytes() -> int:
    """The most memory that this process ever occupied; 0 where the system does not tell."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
