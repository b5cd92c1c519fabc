"""A plan of the real step: what it needs of devices, here or described, and what would fit."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
import tiny

from av_mae.config import parse, schema
from av_mae.experiment import hardware
from av_mae.experiment.run import Run
from av_mae.input import description
from av_mae.planning import forecast, plan, synthetic, topology
from av_mae.training import loop

EXPERIMENT = parse.experiment(tiny.experiment("nowhere"))


@pytest.fixture(scope="module")
def here():
    return plan.make(unrolled(), "here", clips=1000, labels=2)


def unrolled():
    compute = dataclasses.replace(EXPERIMENT.compute, scan=False)
    return dataclasses.replace(EXPERIMENT, compute=compute)


def parameters(e=EXPERIMENT):
    state = Run.assemble(e, synthetic.info(e, 1000, 2)).abstract
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


@pytest.fixture(scope="module")
def some_silent(tmp_path_factory):
    return parse.experiment(tiny.experiment(tiny.write_records(tmp_path_factory.mktemp("records"))))


def test_a_plan_is_of_batches_as_the_records_give_them(some_silent):
    """Where some clip lacks its sound, attention leaves it out, which a plan has to know."""
    info = description.of(some_silent.dataset)
    noise, real = (
        synthetic.batch(some_silent, info, 8),
        next(loop.batches(Run.build(some_silent), 0)),
    )
    assert "audio_present" in real
    assert {k: (x.shape, x.dtype) for k, x in noise.items()} == {
        k: (x.shape, x.dtype) for k, x in real.items()
    }


def test_parameters_travel_and_activations_stay():
    """With fsdp, what devices send does not grow with the batch."""
    compute = dataclasses.replace(EXPERIMENT.compute, fsdp=8)
    sent = [
        plan.make(
            dataclasses.replace(EXPERIMENT, compute=compute, batch_size=size),
            "here", 1000, 2, costs=False,
        )["work"]["sent"]
        for size in (8, 32)
    ]  # fmt: skip
    assert sent[0]["all-gather"] > 0
    assert sent[1] == pytest.approx(sent[0], rel=0.02)


def test_scanned_layers_cost_what_unrolled_ones_do(here):
    scanned = plan.make(EXPERIMENT, "here", 1000, 2)
    for name in ("flops", "moved"):
        assert here["work"][name] == pytest.approx(scanned["work"][name], rel=0.02)


def test_costs_of_loops_are_left_out_on_request():
    figures = plan.make(EXPERIMENT, "here", 1000, 2, costs=False)
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
    found = forecast.out_of_memory(message, held=7)
    assert (found and (found.needed, found.available)) == (needed and (needed, 15.75 * 2**30))


def test_a_step_that_does_not_compile_for_want_of_memory_gets_suggestions(monkeypatch):
    def too_large(*_, **__):
        raise forecast.TooLargeError(2e11, None)

    monkeypatch.setattr(forecast, "make", too_large)
    figures = plan.make(EXPERIMENT, "gpu:8", clips=1000, labels=2)
    assert figures["fits"] is False and figures["needed"] == 2e11
    text = "\n".join(plan.table(figures))
    assert "DOES NOT FIT" in text and "200.00 GB, says the compiler" in text and "try " in text


def test_time_needs_a_known_chip(here):
    assert here["fits"] is None
    assert "seconds" not in here
    assert not any("clips/s" in line for line in plan.table(here))


def test_gpus_that_are_not_here_are_estimated_and_it_says_so():
    figures = plan.make(EXPERIMENT, "gpu:8", clips=1000, labels=2)
    assert figures["estimated"] and figures["fits"]
    assert figures["hours"] == pytest.approx(8 * figures["seconds"]["estimated"] / 3600)
    assert any("ESTIMATED" in line for line in plan.table(figures))


def test_what_is_suggested_fits():
    e = dataclasses.replace(EXPERIMENT, batch_size=64)
    info, place = synthetic.info(e, 1000, 2), topology.find("gpu:8")
    state = Run.assemble(e, info, place.devices).abstract
    held = forecast.tree_bytes((state.params, state.opt_state, state.params))
    kept = forecast.activations(e, 8)
    place = dataclasses.replace(place, memory=(held + 9 * kept) / 0.9)
    flags = plan.smaller(e, info, place, held + 10 * kept)
    assert flags[0].startswith("--config.compute.remat=")
    assert flags[1] == "--config.batch_size=32"
    assert plan.smaller(e, info, dataclasses.replace(place, memory=1e3), held) == []


def test_what_is_suggested_runs():
    """Unrolled, `dots` keeps what `none` does; a batch has to divide into micro-batches."""
    e = unrolled()
    optim = dataclasses.replace(e.optim, accumulate=2)
    e = dataclasses.replace(e, batch_size=96, optim=optim)
    info, place = synthetic.info(e, 1000, 2), topology.find("gpu:8")
    needed = 1.1 * forecast.activations(e, 12) + 1e6
    found = [
        plan.smaller(e, info, dataclasses.replace(place, memory=share * needed), needed)
        for share in np.linspace(0.1, 1.0, 10)
    ]
    flags = [flag for texts in found for text in texts for flag in text.split()]
    assert "--config.compute.remat=full" in flags and "--config.compute.remat=dots" not in flags
    sizes = {int(f.split("=")[1]) for f in flags if "batch_size" in f}
    assert sizes and all(size % 16 == 0 for size in sizes)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100_40gb"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100_pcie"),
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
    ],
)
def test_chips_are_told_apart_by_their_kind(kind, name):
    assert hardware.chip(kind) == hardware.named(name)


def test_gpus_give_the_share_of_their_memory_that_jax_takes(monkeypatch):
    for name in ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
        assert topology.find("h100:8").memory == 60e9
        monkeypatch.setenv(name, ".9")
        assert topology.find("a100_40gb:8").memory == 36e9
        monkeypatch.setenv(name, "most")
        with pytest.raises(schema.ConfigError, match=f"{name} is 'most'"):
            topology.find("h100:8")
        monkeypatch.delenv(name)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as JAX shows it."""

    device_kind: str = "NVIDIA H200"
    platform: str = "gpu"

    def memory_stats(self):
        return {"bytes_limit": 100e9}


@pytest.mark.parametrize(
    ("name", "chip", "memory", "compiles"),
    [
        ("gpu:2", "h200", 100e9, True),
        ("h200:2", "h200", 100e9, True),
        ("gpu:8", "h200", 0.75 * 141e9, False),
        ("a100:2", "a100", 0.75 * 80e9, False),
    ],
)
def test_gpus_are_compiled_for_where_they_are_and_enough(monkeypatch, name, chip, memory, compiles):
    simulated = jax.devices("cpu")
    monkeypatch.setattr(jax, "devices", lambda kind=None: simulated if kind else [Gpu()] * 2)
    found = topology.find(name)
    assert (found.chip.name, found.memory, found.compiles) == (chip, memory, compiles)
    assert len(found.devices) == int(name[-1])


@pytest.mark.parametrize(("platform", "counted"), [("gpu", 700), ("tpu", 500)])
def test_gpus_need_all_that_a_program_reserves_in_one_piece(platform, counted):
    built = Run.assemble(EXPERIMENT, synthetic.info(EXPERIMENT, 1000, 2))
    device = types.SimpleNamespace(platform=platform)
    mesh = types.SimpleNamespace(shape=built.mesh.shape, devices=np.array([device]))
    sizes = types.SimpleNamespace(
        argument_size_in_bytes=900, output_size_in_bytes=800, alias_size_in_bytes=800,
        temp_size_in_bytes=700, peak_memory_in_bytes=1400,
    )  # fmt: skip
    compiled = types.SimpleNamespace(memory_analysis=lambda: sizes)
    found = forecast.memory(dataclasses.replace(built, mesh=mesh), compiled)
    assert found.peak == 900 + counted
    assert (found.temporaries, found.reserved) == (500, 700)


def test_more_gpus_than_there_are_stand_ins_for_are_refused():
    with pytest.raises(schema.ConfigError, match="with 8 devices that could stand for them"):
        topology.find("gpu:512")


@pytest.mark.parametrize(
    ("fsdp", "tensor", "expected"),
    [
        (1, 1, {"all-reduce": 2 * 7 / 8}),
        (8, 1, {"all-gather": 2 * 7 / 8, "reduce-scatter": 7 / 8}),
        (2, 1, {"all-gather": 1.0, "reduce-scatter": 0.5, "all-reduce": 2 * 3 / 4 / 2}),
    ],
)
def test_what_is_sent_is_estimated_in_parameters(fsdp, tensor, expected):
    """In bfloat16, in rings: of gradients over "data", of parameters over "fsdp"."""
    compute = dataclasses.replace(EXPERIMENT.compute, fsdp=fsdp, tensor=tensor, dtype="bfloat16")
    e = dataclasses.replace(EXPERIMENT, compute=compute)
    built = Run.assemble(e, synthetic.info(e, 1000, 2))
    sent = forecast.sent(built)
    assert sent == pytest.approx({k: 2 * parameters() * share for k, share in expected.items()})


def test_what_is_split_over_tensor_is_kept_and_summed_by_parts():
    compute = dataclasses.replace(EXPERIMENT.compute, tensor=2)
    e = dataclasses.replace(EXPERIMENT, compute=compute)
    assert 0.5 < forecast.activations(e, 4) / forecast.activations(EXPERIMENT, 4) < 1
    built = Run.assemble(e, synthetic.info(e, 1000, 2))
    summed = forecast.sent(built)["all-reduce"]
    outputs = sum(p.layers * p.tokens * p.width for p in built.task.passes())
    gradients = 2 * 3 / 4 * 4 * parameters() / 2
    assert summed == pytest.approx(gradients + 4 * 2 * 1 / 2 * 4 * 2 * outputs)


@pytest.mark.parametrize("name", ["v5e", "v5e:", "abc:4x4", "4x4", "2v5e:4x4"])
def test_an_unknown_topology_is_refused(name):
    with pytest.raises(schema.ConfigError, match="expected here, TPUs as in"):
        topology.find(name)


def test_the_size_of_the_data_has_to_come_from_somewhere():
    with pytest.raises(schema.ConfigError, match="nowhere.*--clips=N"):
        plan.make(EXPERIMENT, "here", None, None)


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
