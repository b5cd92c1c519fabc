"""One device, eight devices and two processes give the same run."""

import dataclasses
import json
import pathlib
import signal
import socket

import jax
import numpy as np
import pytest
import tiny
import warm

from av_mae.config import parse
from av_mae.experiment import checkpoint
from av_mae.training import loop


@dataclasses.dataclass(frozen=True)
class Outcome:
    losses: list[float]
    params: dict


def _outcome(workdir: pathlib.Path) -> Outcome:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    entries = [e for e in map(json.loads, lines) if e["kind"] == "train"]
    return Outcome([e["loss"] for e in entries], checkpoint.read(workdir).params)


def _on_eight(workdir: pathlib.Path, data: pathlib.Path, task: str, **compute) -> Outcome:
    """Trains in this process, which has eight simulated devices."""
    assert jax.device_count() == 8
    values = tiny.experiment(data, task, evaluators={}, compute=compute)
    assert loop.train(parse.experiment(values), workdir) == 0
    return _outcome(workdir)


def _assert_close(a: Outcome, b: Outcome) -> None:
    np.testing.assert_allclose(a.losses, b.losses, rtol=2e-4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-4), a.params, b.params)


@pytest.fixture(scope="module")
def eight(task, data, tmp_path_factory) -> Outcome:
    return _on_eight(tmp_path_factory.mktemp(f"eight_{task}"), data, task)


def test_one_device_equals_eight(unbroken, eight):
    _assert_close(_outcome(unbroken), eight)


def test_fsdp_equals_data_parallel(task, data, eight, tmp_path):
    _assert_close(_on_eight(tmp_path, data, task, fsdp=8), eight)


def _two(workdir: pathlib.Path, data: pathlib.Path, *flags: str, **kwargs: str) -> list:
    """Two real processes of four devices each, on one run."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    flags = (f"--coordinator=localhost:{port}", "--processes=2", *flags)
    return [
        tiny.start(workdir, data, *flags, f"--process={i}", devices=4, **kwargs) for i in range(2)
    ]


def _ended(both: list[warm.Process], code: int) -> list[str]:
    """What either printed, once both have ended with this exit status."""
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [code] * 2, "\n".join(outputs)
    return outputs


@pytest.mark.parametrize("task", ["classify"], indirect=True)
def test_two_processes_whose_devices_take_turns_equal_one(task, data, eight, tmp_path):
    both = _two(tmp_path, data, task=task, program="interleaved_main")
    with tiny.killed_at_last(*both):
        _ended(both, 0)
    _assert_close(_outcome(tmp_path), eight)


@pytest.mark.parametrize("task", ["pretrain"], indirect=True)
def test_two_processes_stop_at_the_same_step_and_go_on_to_equal_one(task, data, eight, tmp_path):
    """Told by a SIGTERM to one of them."""
    flags = ("--config.compute.fsdp=4", "--config.checkpoint.every=5000 steps")
    both = _two(tmp_path, data, *flags, task=task, program="paced_main")
    log = tmp_path / "metrics.jsonl"
    with tiny.killed_at_last(*both):
        tiny.wait_for(lambda: log.exists() and log.read_text().count('"train"') >= 3, both[0])
        both[1].send_signal(signal.SIGTERM)
        outputs = _ended(both, loop.PREEMPTED)
    step = checkpoint.read(tmp_path).step
    assert 3 <= step < 8
    assert all(f"saved step {step};" in output for output in outputs)
    both = _two(tmp_path, data, *flags, task=task)
    with tiny.killed_at_last(*both):
        _ended(both, 0)
    _assert_close(_outcome(tmp_path), eight)
