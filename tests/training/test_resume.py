"""Runs that are killed and started again, with real processes."""

import functools
import json
import pathlib
import signal
from collections.abc import Callable

import jax
import numpy as np
import tiny

from av_mae.experiment import checkpoint
from av_mae.training import loop


def _steps(workdir: pathlib.Path) -> list[int]:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [line for line in lines if line.endswith("}")]
    return [entry["step"] for entry in map(json.loads, whole) if entry["kind"] == "train"]


def _logged(workdir: pathlib.Path, step: int) -> bool:
    return max(_steps(workdir), default=0) >= step


def _equal(a: checkpoint.Saved, b: checkpoint.Saved) -> bool:
    same = jax.tree.map(np.array_equal, (a.params, a.rest), (b.params, b.rest))
    return a.step == b.step and jax.tree.all(same)


def _writing(workdir: pathlib.Path, step: int) -> bool:
    return any((workdir / "checkpoints").glob(f"{step}*"))


def _compiling(workdir: pathlib.Path) -> bool:
    return (workdir / "config.json").exists()


# Moments at which a run is stopped, one after the other; each is tried on one of the tasks.
STOPS: dict[str, list[tuple[Callable[[pathlib.Path], bool], signal.Signals]]] = {
    "pretrain": [
        (_compiling, signal.SIGKILL),
        (functools.partial(_logged, step=2), signal.SIGTERM),
    ],
    "classify": [
        (functools.partial(_logged, step=5), signal.SIGKILL),
        (functools.partial(_writing, step=6), signal.SIGKILL),
    ],
}


def test_stopped_at_several_moments_ends_with_the_same_parameters(task, data, unbroken, tmp_path):
    """While compiling, between checkpoints, and while a checkpoint is being written."""
    for moment, sign in STOPS[task]:
        process = tiny.start(tmp_path, data, task=task, program="paced_main")
        with tiny.killed_at_last(process):
            tiny.wait_for(lambda: moment(tmp_path), process)  # noqa: B023 - called here
            process.send_signal(sign)
            output, _ = process.communicate(timeout=120)
        if sign == signal.SIGTERM:
            _assert_told_to_stop(tmp_path, output, process.returncode)
    assert not (tmp_path / "checkpoints" / "8").exists()
    tiny.run(tmp_path, data, task=task)
    assert _equal(checkpoint.read(tmp_path), checkpoint.read(unbroken))
    assert _steps(tmp_path) == list(range(1, 9))


def _assert_told_to_stop(workdir: pathlib.Path, output: str, code: int) -> None:
    """SIGTERM saves where it stands, between two checkpoints too, and has its own exit code."""
    assert code == loop.PREEMPTED, output
    assert "run again to continue" in output
    step = checkpoint.read(workdir).step
    assert 2 <= step < 8 and f"saved step {step};" in output
