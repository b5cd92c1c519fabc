"""Processes of the program that start warm: forked from one that has imported what they need.

A Python process takes five seconds to import JAX, TensorFlow and Orbax, and the tests of whole
programs start dozens. These are real processes, with a pid, signals, an exit status, an environment
and a working folder of their own. Only their imports were done once, in the fork server of
`multiprocessing`, where no device has been touched yet.
"""

import atexit
import gc
import logging
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver

_PRELOADED = (
    "av_mae.api",
    "av_mae.convert.read",
    "av_mae.evaluation.evaluate",
    "av_mae.input.pipeline",
    "av_mae.prepare.shards.build",
    "av_mae.report.table",
    "av_mae.training.loop",
    "clu.metric_writers",
    "tensorflow_datasets",
)
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(list(_PRELOADED))
# The server is waited for, so that what its processes took counts as this process' children's.
atexit.register(forkserver._forkserver._stop)


class Process:
    """`python ARGUMENTS`, which begin with a script or with `-m MODULE`; used as `Popen` is.

    Args:
        apart: whether errors are kept apart from what goes to the standard output.
    """

    def __init__(
        self,
        arguments: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        apart: bool = False,
    ):
        self._folder = tempfile.TemporaryDirectory()
        names = ("output", "errors") if apart else ("output",)
        self._logs = [pathlib.Path(self._folder.name) / name for name in names]
        words = [os.fspath(word) for word in arguments]
        where = os.fspath(cwd or os.getcwd())
        target = (words, dict(os.environ if env is None else env), where, self._logs)
        self._process = _SERVER.Process(target=_run, args=target)
        self._process.start()
        self.args, self.pid = ["python", *words], self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def printed(self) -> str:
        """What it has printed to the standard output until now."""
        return self._logs[0].read_text() if self._logs[0].exists() else ""

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed to the standard output and, if they are kept apart, its errors."""
        self.wait(timeout)
        output, *errors = [log.read_text() for log in self._logs]
        return output, "".join(errors)

    def send_signal(self, sign: signal.Signals) -> None:
        if self._process.exitcode is None:
            os.kill(self._process.pid, sign)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str | os.PathLike[str]], timeout: float = 600.0, **kwargs
) -> subprocess.CompletedProcess[str]:
    """Runs a process to its end; keywords are those of `Process`."""
    process = Process(arguments, **kwargs)
    try:
        printed = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, *printed)


def _run(
    words: list[str], environment: dict[str, str], folder: str, logs: list[pathlib.Path]
) -> None:
    """In the new process: takes the place of `python WORDS`."""
    for descriptor, log in ((1, logs[0]), (2, logs[-1])):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(d, "w", buffering=1, closefd=False) for d in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as in conftest.py
    logging.root.handlers.clear()  # a preloaded package has set one
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    first = folder if words[0] == "-m" else os.path.dirname(os.path.abspath(words[0]))
    sys.path[:0] = [first, *paths]
    sys.argv = words[1:] if words[0] == "-m" else words
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
