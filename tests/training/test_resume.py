"""Runs that are killed and started again, with real processes."""

import json
import pathlib
import signal
from collections.abc import Callable

import jax
import numpy as np
import pytest
import tiny

from av_mae.experiment import checkpoint
from av_mae.training import loop


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module", params=["pretrain", "classify"])
def task(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def unbroken(task, data, tmp_path_factory) -> checkpoint.Saved:
    workdir = tmp_path_factory.mktemp(f"unbroken_{task}")
    tiny.run(workdir, data, task=task)
    return checkpoint.read(workdir)


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


def test_stopped_at_several_moments_ends_with_the_same_parameters(task, data, unbroken, tmp_path):
    """kill -9 while compiling, between checkpoints, and while a checkpoint is being written."""

    def stop(moment: Callable[[], bool], sign: signal.Signals = signal.SIGKILL):
        process = tiny.start(tmp_path, data, task=task, program="paced_main")
        with tiny.killed_at_last(process):
            tiny.wait_for(moment, process)
            process.send_signal(sign)
            return process.communicate(timeout=120)[0], process.returncode

    stop(lambda: (tmp_path / "config.json").exists())
    _assert_told_to_stop(tmp_path, *stop(lambda: _logged(tmp_path, 2), signal.SIGTERM))
    stop(lambda: _logged(tmp_path, 5))
    stop(lambda: any((tmp_path / "checkpoints").glob("6*")))
    assert not (tmp_path / "checkpoints" / "8").exists()
    tiny.run(tmp_path, data, task=task)
    assert _equal(checkpoint.read(tmp_path), unbroken)
    assert _steps(tmp_path) == list(range(1, 9))


def _assert_told_to_stop(workdir: pathlib.Path, output: str, code: int) -> None:
    """SIGTERM saves where it stands, between two checkpoints too, and has its own exit code."""
    assert code == loop.PREEMPTED, output
    assert "run again to continue" in output
    step = checkpoint.read(workdir).step
    assert 2 <= step < 8 and f"saved step {step};" in output
