"""A plan of the real step: what it needs of devices, here or described, and what would fit."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny

from av_mae import config, estimate, forecast, hardware, parse, run, suggest, synthetic, topology
from av_mae.tools import plan

EXPERIMENT = parse.experiment(tiny.experiment("nowhere"))


@pytest.fixture(scope="module")
def here():
    return plan.plan(unrolled(), "here", clips=1000, labels=2)


def unrolled():
    compute = dataclasses.replace(EXPERIMENT.compute, scan=False)
    return dataclasses.replace(EXPERIMENT, compute=compute)


def parameters(e=EXPERIMENT):
    state = run.assemble(e, synthetic.info(e, 1000, 2)).abstract
    return sum(np.prod(x.shape) for x in jax.tree.leaves(state.params))


def test_memory_holds_the_parameters_and_twice_as_much_for_the_optimizer(here):
    memory = here["memory"]
    assert memory["parameters"] == 4 * parameters()
    assert memory["optimizer"] == pytest.approx(2 * memory["parameters"], abs=16)
    held = memory["parameters"] + memory["optimizer"] + memory["batch"]
    assert memory["peak"] >= held + memory["temporaries"]


def test_gradients_are_exchanged_by_data_parallel_devices(here):
    least = 2 * (8 - 1) / 8 * 4 * parameters()
    # What two modalities share may be summed for each.
    assert 0.98 * least <= here["work"]["sent"]["all-reduce"] <= 1.5 * least


def test_scanned_layers_cost_what_unrolled_ones_do(here):
    scanned = plan.plan(EXPERIMENT, "here", 1000, 2)
    for name in ("flops", "moved"):
        assert here["work"][name] == pytest.approx(scanned["work"][name], rel=0.02)


def test_costs_of_loops_are_left_out_on_request():
    figures = plan.plan(EXPERIMENT, "here", 1000, 2, costs=False)
    assert figures["work"]["moved"] is None and figures["work"]["flops"] is None
    assert figures["memory"]["temporaries"] > 0 and figures["work"]["sent"]["all-reduce"] > 0
    assert not any("moved" in line for line in plan.table(figures))


@pytest.mark.parametrize(
    "message, needed",
    [
        ("RESOURCE_EXHAUSTED: ... Used 20.00G of 15.75G hbm. Exceeded ...", 20 * 2**30),
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
         "temporaries (512.00M) exceeds available HBM (15.75G).", 7 + 2**29),
        ("RESOURCE_EXHAUSTED: too many open files", None),
        ("INTERNAL: Used 20.00G of 15.75G hbm", None),
    ],
)  # fmt: skip
def test_what_libtpu_says_of_too_little_memory_is_understood(message, needed):
    assert forecast.out_of_memory(message, held=7) == needed


def test_a_step_that_does_not_compile_for_want_of_memory_gets_suggestions(monkeypatch):
    def too_large(*_, **__):
        raise forecast.TooLargeError(2e11)

    monkeypatch.setattr(forecast, "make", too_large)
    figures = plan.plan(EXPERIMENT, "gpu:8", clips=1000, labels=2)
    assert figures["fits"] is False and figures["needed"] == 2e11
    text = "\n".join(plan.table(figures))
    assert "DOES NOT FIT" in text and "200.00 GB, says the compiler" in text and "try " in text


def test_time_needs_a_known_chip(here):
    assert here["fits"] is None
    assert "seconds" not in here
    assert not any("clips/s" in line for line in plan.table(here))


def test_gpus_that_are_not_here_are_estimated_and_it_says_so():
    figures = plan.plan(EXPERIMENT, "gpu:8", clips=1000, labels=2)
    assert figures["estimated"] and figures["fits"]
    assert figures["hours"] == pytest.approx(8 * figures["seconds"]["estimated"] / 3600)
    assert any("ESTIMATED" in line for line in plan.table(figures))


def test_what_is_suggested_fits():
    e = dataclasses.replace(EXPERIMENT, batch_size=64)
    info, place = synthetic.info(e, 1000, 2), topology.find("gpu:8")
    state = run.assemble(e, info, place.devices).abstract
    held = estimate.tree_bytes((state.params, state.opt_state, state.params))
    kept = estimate.activations(e, 8)
    small = dataclasses.replace(hardware.named("h100"), memory=(held + 9 * kept) / 0.9)
    flags = suggest.smaller(e, info, dataclasses.replace(place, chip=small), held + 10 * kept)
    assert flags[0].startswith("--config.compute.remat=")
    assert flags[1] == "--config.batch_size=32"
    tiny_chip = dataclasses.replace(small, memory=1e3)
    assert suggest.smaller(e, info, dataclasses.replace(place, chip=tiny_chip), held) == []


@pytest.mark.parametrize("name", ["v5e", "v5e:", "abc:4x4", "4x4", "2v5e:4x4"])
def test_an_unknown_topology_is_refused(name):
    with pytest.raises(config.ConfigError, match="expected here, TPUs as in"):
        topology.find(name)


def test_the_size_of_the_data_has_to_come_from_somewhere():
    with pytest.raises(config.ConfigError, match="nowhere.*--clips=N"):
        plan.plan(EXPERIMENT, "here", None, None)


@pytest.mark.parametrize("slices, copies", [("v5e:2x4", 4), ("2*v5e:2x4", 8)])
def test_tpu_slices_are_compiled_for_without_a_tpu(tmp_path, slices, copies):
    if not importlib.util.find_spec("libtpu"):
        pytest.skip("needs libtpu: pip install 'jax[tpu]'")
    command = [
        sys.executable, "-m", "av_mae.tools.plan", "--config=tests/tiny_config.py:pretrain",
        f"--topology={slices}", "--clips=1000", "--labels=2", f"--json={tmp_path}/plan.json",
        "--config.compute.fsdp=2", "--config.batch_size=16",
    ]  # fmt: skip
    paths = [str(tiny.ROOT), f"{tiny.ROOT}/tests", os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": ":".join(filter(None, paths))}
    output = subprocess.run(
        command, cwd=tiny.ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert output.returncode == 0, output.stderr
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["mesh"] == {"data": copies, "fsdp": 2, "tensor": 1}
    assert figures["fits"] and figures["work"]["sent"]["all-gather"] > 0
    assert ("between slices" in figures["work"]["sent"]) == slices.startswith("2*")
    assert f"{2 * copies} x v5e" in output.stdout
