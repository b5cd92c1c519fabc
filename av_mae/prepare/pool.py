"""Tasks in several processes, where one that hangs, dies or takes too much memory costs one task.

Every process has a pipe and a thread of its own in the parent: one that dies in the middle of a
message leaves the others alone, which processes that share a queue could not promise.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable
from typing import Any

# A forked process would inherit the locks of TensorFlow's and JAX's threads, whoever holds them.
_CONTEXT = multiprocessing.get_context("spawn")
# `Process.start` also collects the exit codes of other processes, so it must not meet a `join`.
_STARTS_AND_ENDS = threading.Lock()
# A task whose process dies runs again, as the first of a new process, before it is given up: the
# process may have been killed by chance, or have grown over the tasks before.
_ATTEMPTS = 2
# How often a process looks at its own size, and its exit code once it has grown too large.
_WATCH_SECONDS = 0.2
_TOO_LARGE = 86


@dataclasses.dataclass(frozen=True)
class Lost:
    """Stands for the result of a task that gave none."""

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
    processes end when the generator is closed.

    Args:
        work: a function that a fresh process can import; arguments and results are pickled.
        workers: number of processes.
        patience: seconds after which the process of a task is killed and the task is `Lost`.
        memory: bytes that a process may occupy, on Linux; a task that needs more is `Lost`.

    Raises:
        OSError: `work` raised one, which is no fault of its task.
        WorkError: `work` raised another exception.
    """
    processes = [_Worker(work, patience, memory) for _ in range(workers)]
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for worker in processes:
        idle.put(worker)

    def run(task: Any) -> Any:
        worker = idle.get()
        try:
            return worker.run(task)
        finally:
            idle.put(worker)

    source, ahead = iter(tasks), collections.deque[concurrent.futures.Future[Any]]()
    threads = concurrent.futures.ThreadPoolExecutor(max(workers, 1))
    try:
        while True:
            for task in itertools.islice(source, 4 * max(workers, 1) - len(ahead)):
                ahead.append(threads.submit(run, task))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        for worker in processes:
            worker.kill()
        threads.shutdown(cancel_futures=True)
        for worker in processes:
            worker.end()


class _Worker:
    """Runs one task after the other in a process, which is replaced when it dies."""

    def __init__(self, work: Callable[[Any], Any], patience: float, memory: int | None) -> None:
        self._work, self._patience, self._memory = work, patience, memory
        self._process: Any = None
        self._pipe: Any = None
        self._closed = False

    def run(self, task: Any) -> Any:
        """The result of the task; `Lost` if its process hangs, or dies twice."""
        code = None
        for _ in range(_ATTEMPTS):
            if self._process is None:
                self._start()
            try:
                self._pipe.send(task)
                if not self._pipe.poll(self._patience):
                    self.end(kill=True)
                    return Lost(f"took too long: more than {self._patience:g} s")
                value = self._pipe.recv()
            except (EOFError, OSError):
                code = self.end()
                continue
            if isinstance(value, OSError | WorkError):
                raise value
            return value
        if code == _TOO_LARGE and self._memory is not None:
            return Lost(f"out of memory: more than {self._memory / 2**30:g} GiB")
        return Lost(f"decoder crashed: its process ended with {_name(code)}")

    def kill(self) -> None:
        """Kills the process and starts no other."""
        with _STARTS_AND_ENDS:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def end(self, *, kill: bool = False) -> int | None:
        """Waits for the end of the process, if there is one; its exit code."""
        if self._process is None:
            return None
        with _STARTS_AND_ENDS:
            if kill:
                self._process.kill()
            self._process.join()
            code = self._process.exitcode
            self._process = None
        self._pipe.close()
        return code

    def _start(self) -> None:
        """Starts a process and waits until it has imported what the work needs."""
        with _STARTS_AND_ENDS:
            if self._closed:
                raise WorkError("the pool is closed")
            self._pipe, theirs = _CONTEXT.Pipe()
            arguments = (self._work, theirs, self._memory)
            self._process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._pipe.recv()
        except (EOFError, OSError) as error:
            ending = f"ended with {_name(self.end())} before its first task"
            raise WorkError(f"a worker process {ending}") from error


def _name(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(work: Callable[[Any], Any], pipe: Any, memory: int | None) -> None:
    """What a process does until its parent is gone."""
    # An interrupt from the keyboard reaches all processes; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        # Where memory ends, Linux kills this process rather than its parent.
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")
    threading.Thread(target=_watch, args=(memory,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        pipe.send("ready")
        while True:
            task = pipe.recv()
            try:  # a result may be too large to be pickled
                answer = pickle.dumps(work(task))
            except MemoryError:
                answer = pickle.dumps(Lost("out of memory"))
            except OSError as error:
                answer = pickle.dumps(OSError(str(error)))
            except Exception:
                answer = pickle.dumps(WorkError(traceback.format_exc()))
            _end_if_too_large(memory)
            pipe.send_bytes(answer)


def _watch(memory: int | None) -> None:
    """Ends this process, busy or hung, once it is too large or its parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while parent.is_alive():
        _end_if_too_large(memory)
        parent.join(_WATCH_SECONDS)
    os._exit(1)


def _end_if_too_large(memory: int | None) -> None:
    """Looks at the peak of the memory in use, which Linux alone says."""
    status = pathlib.Path("/proc/self/status")
    if memory is not None and status.exists():
        peak = 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
        if peak > memory:
            os._exit(_TOO_LARGE)
