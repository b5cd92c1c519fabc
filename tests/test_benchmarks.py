"""Benchmarks that need a GPU, or an hour, run in a tiny form: what they report is whole."""

import json
import os
import subprocess
import sys

import pytest
import tiny


def ran(module, *flags):
    command = [sys.executable, "-m", f"benchmarks.{module}", *flags]
    environment = os.environ | {
        "XLA_FLAGS": tiny.xla_flags(1),
        "PYTHONPATH": f"{tiny.ROOT}:{tiny.ROOT}/tests",
    }
    done = subprocess.run(
        command, cwd=tiny.ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_gpu_benchmark_measures_our_side(tmp_path):
    out = tmp_path / "gpu.json"
    ran(
        "gpu", "--tiny", "--sides=ours", "--cases=videomae-B", "--batch_sizes=2", "--steps=1",
        f"--out={out}",
    )  # fmt: skip
    (found,) = json.loads(out.read_text())
    assert found["case"] == "videomae-B"
    assert found["clips_per_second"] > 0 and found["of_product"] > 0


def test_the_loop_benchmark_times_a_loop_that_logs_and_saves(tmp_path):
    out = tmp_path / "loop.json"
    ran(
        "loop", f"--config={tiny.ROOT}/tests/tiny_config.py:pretrain", "--batch_size=8",
        "--steps=110", "--save_every=60", "--rounds=1", f"--out={out}",
    )  # fmt: skip
    found = json.loads(out.read_text())
    assert found["bare_ms"][0] > 0
    assert found["overhead"] == pytest.approx(found["loop_ms"][0] / found["bare_ms"][0] - 1)
