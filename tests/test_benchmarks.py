"""Benchmarks that need a GPU, or an hour, run in a tiny form: what they report is whole."""

import json
import os

import pytest
import tiny
import warm


def process(module, *flags):
    paths = {"XLA_FLAGS": tiny.xla_flags(1), "PYTHONPATH": f"{tiny.ROOT}:{tiny.ROOT}/tests"}
    command = ["-m", f"benchmarks.{module}", *flags]
    return warm.run(command, cwd=tiny.ROOT, env=os.environ | paths, apart=True)


def ran(module, *flags):
    done = process(module, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_gpu_benchmark_measures_our_side(tmp_path):
    out = tmp_path / "gpu.json"
    ran(
        "gpu", "--tiny", "--sides=ours", "--cases=videomae-B", "--batch_sizes=2", "--steps=1",
        f"--out={out}",
    )  # fmt: skip
    (found,) = json.loads(out.read_text())["results"]
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


PROGRAM = """HloModule step, is_scheduled=true

ENTRY %main (p: f32[2,1024,1024], q: bf16[8,1024]) -> (f32[2,1024,1024]) {
  %p = f32[2,1024,1024]{2,1,0} parameter(0)
  %q = bf16[8,1024]{1,0} parameter(1)
  %a = bf16[8,1024]{1,0} fusion(%q, %p), kind=kOutput, metadata={op_name="jit(step)/jvp()/dot_general"}
  %b = bf16[8,1024]{1,0} fusion(%a), kind=kLoop, metadata={op_name="jit(step)/jvp()/div"}
  %c = bf16[8,1024]{1,0:S(1)} fusion(%a, %b), kind=kLoop, metadata={op_name="jit(step)/jvp()/div"}
  %n = f32[2,1024,1024]{2,1,0} fusion(%p, %c), kind=kLoop, metadata={op_name="jit(step)/add"}
  ROOT %t = (f32[2,1024,1024]{2,1,0}) tuple(%n)
}
"""  # fmt: skip  # noqa: E501


def test_traffic_is_told_by_purpose_and_what_is_alive_by_shape(tmp_path):
    """One of two stacked layers is read for a product; a and b live at once, c on the chip."""
    (tmp_path / "step.txt").write_text(PROGRAM)
    found = json.loads(ran("traffic", f"--text={tmp_path}/step.txt"))
    rows, layer = 8 * 1024 * 2 / 1e9, 1024 * 1024 * 4 / 1e9
    assert found["moved_gb"] == pytest.approx(
        {
            "products, forwards": 2 * rows + layer,
            "norms, activations and sums": 5 * rows,
            "optimizer": 4 * layer + rows,
        },
        abs=1e-3,
    )
    assert found["alive_at_most_gb"] == round(2 * rows, 3)


def test_traffic_reads_what_a_plan_writes(tmp_path):
    """The step alone is too small to be measured in GB; nothing of it may be left unread."""
    from av_mae.config import parse
    from av_mae.planning import plan

    e = parse.experiment(tiny.experiment("nowhere", compute={"scan": False, "remat": "none"}))
    plan.make(e, "here", clips=64, labels=2, text=str(tmp_path / "step.txt"))
    found = json.loads(ran("traffic", f"--text={tmp_path}/step.txt"))
    assert found["moved_in_all_gb"] > 0.001 and found["alive_at_most_gb"] > 0


def test_compile_times_are_of_two_different_steps():
    found = json.loads(ran("compiling", "--topology=here", "--batch_size=2", "--tiny"))
    assert found["scanned"]["loops"] > found["plain"]["loops"]
    assert found["plain"]["tflop"] > 0 and found["ratio"] > 0


def test_compile_times_of_gpus_that_are_not_here_are_refused():
    refused = process("compiling", "--topology=gpu:8")
    assert refused.returncode != 0 and "--topology" in refused.stdout + refused.stderr
