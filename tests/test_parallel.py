"""Every way to lay eight devices out gives the losses of one, and reads the others' checkpoints."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import tiny

from av_mae import checkpoint, config, parse, run, sharding, synthetic

STEPS = 2
LAYOUTS = [(f, t) for f in (1, 2, 4, 8) for t in (1, 2) if f * t <= 8]


def experiment(fsdp, tensor):
    """Sound alone through one layer; its two heads are split over two devices at most."""
    values = tiny.experiment("nowhere")
    del values["modalities"]["video"]
    values["model"] |= {"fusion": "early", "depth": 1}
    values["compute"] = {"fsdp": fsdp, "tensor": tensor}
    return parse.experiment(values)


def plan(fsdp, tensor, devices=None):
    e = experiment(fsdp, tensor)
    return run.assemble(e, synthetic.info(e, 80, 2), devices)


@functools.cache
def losses(fsdp, tensor, alone=False):
    """(losses, last state) of a few steps on the same clips."""
    made = plan(fsdp, tensor, jax.devices()[:1] if alone else None)
    rows = synthetic.batch(made.experiment, 2, made.experiment.batch_size)
    batch, current = sharding.to_devices(rows, made.mesh), made.init()
    step, found = made.train_step(), []
    for _ in range(STEPS):
        current, metrics = step(current, batch)
        found.append(float(metrics["loss"]))
    return found, current


@pytest.mark.parametrize("fsdp, tensor", LAYOUTS)
def test_a_layout_gives_the_losses_of_one_device(fsdp, tensor):
    np.testing.assert_allclose(losses(fsdp, tensor)[0], losses(1, 1, True)[0], rtol=2e-5)


def test_a_checkpoint_of_one_layout_restores_on_another(tmp_path):
    _, state = losses(2, 2)
    for number, layout in enumerate(((8, 1), (4, 2), (1, 1))):
        other = plan(*layout)
        written = checkpoint.Checkpoints(tmp_path / "a", other.experiment, ("0", "1"), keep=1)
        if not number:
            written.save(STEPS, state)
            written.wait()
        restored = written.restore(other.abstract)
        written.close()
        assert restored
        jax.tree.map(np.testing.assert_array_equal, restored[0].params, state.params)
        places = jax.tree.map(lambda x: x.sharding, restored[0].params)
        assert places == jax.tree.map(lambda x: x.sharding, other.abstract.params)


def test_heads_and_hidden_units_are_split():
    kernel = plan(2, 2).abstract.params["decoders"]["shared"]["blocks"]["attention"]["qkv"]
    layers, width, three, heads, size = kernel["kernel"].shape
    part = kernel["kernel"].sharding.shard_shape(kernel["kernel"].shape)
    assert part == (layers, width, three, heads // 2, size // 2)


def test_heads_that_cannot_be_split_are_refused():
    with pytest.raises(config.ConfigError, match=r"model.heads is 2, .*compute.tensor 4"):
        experiment(1, 4)
    e = dataclasses.replace(experiment(8, 1), compute=config.Compute(fsdp=8, tensor=2))
    with pytest.raises(config.ConfigError, match="compute.tensor is 2 with 8 devices and"):
        run.assemble(e, synthetic.info(e, 80, 2))
