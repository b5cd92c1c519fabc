"""Runs that are killed and started again, with real processes."""

import json
import pathlib
import signal

import jax
import numpy as np
import pytest
import tiny

from av_mae import checkpoint, train


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


def _logged(workdir: pathlib.Path) -> list[int]:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [line for line in lines if line.endswith("}")]
    return [entry["step"] for entry in map(json.loads, whole) if entry["kind"] == "train"]


def _equal(a: checkpoint.Saved, b: checkpoint.Saved) -> bool:
    same = jax.tree.map(np.array_equal, (a.params, a.rest), (b.params, b.rest))
    return a.step == b.step and jax.tree.all(same)


def test_killed_at_several_moments_ends_with_the_same_parameters(task, data, unbroken, tmp_path):
    """kill -9 while compiling, between checkpoints, and while a checkpoint is being written."""
    moments = [
        lambda: (tmp_path / "config.json").exists(),
        lambda: max(_logged(tmp_path), default=0) >= 3,
        lambda: any((tmp_path / "checkpoints").glob("6*")),
    ]
    for moment in moments:
        process = tiny.start(tmp_path, data, task=task)
        tiny.wait_for(moment, process)
        process.kill()
        process.wait()
    tiny.run(tmp_path, data, task=task)
    assert _equal(checkpoint.read(tmp_path), unbroken)
    steps = _logged(tmp_path)
    assert steps == sorted(set(steps)) and steps[-1] == 8


def test_sigterm_saves_and_leaves_with_its_own_exit_code(task, data, tmp_path):
    """A long run with steps of the same learning rate, so that it may stop anywhere."""
    flags = ("--config.total=5000 steps", "--config.checkpoint.every=5000 steps")
    flags += ("--config.optim.schedule=constant",)
    process = tiny.start(tmp_path / "stopped", data, *flags, task=task)
    with tiny.killed_at_last(process):
        tiny.wait_for(lambda: max(_logged(tmp_path / "stopped"), default=0) >= 2, process)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == train.PREEMPTED, output
    assert "run again to continue" in output
    stopped = checkpoint.read(tmp_path / "stopped").step
    assert 2 <= stopped < 5000
    flags = (f"--config.total={stopped + 2} steps", "--config.optim.schedule=constant")
    tiny.run(tmp_path / "stopped", data, *flags, task=task)
    tiny.run(tmp_path / "unbroken", data, *flags, task=task)
    assert _equal(checkpoint.read(tmp_path / "stopped"), checkpoint.read(tmp_path / "unbroken"))


def test_finished_run_says_there_is_nothing_to_do(data, tmp_path):
    tiny.run(tmp_path, data, "--config.total=2 steps")
    assert "nothing to do: step 2 >= total 2" in tiny.run(tmp_path, data, "--config.total=2 steps")
