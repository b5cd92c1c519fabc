"""Every way to lay eight devices out gives the losses of one, and reads the others' checkpoints."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import tiny

from av_mae.config import parse, schema
from av_mae.experiment import checkpoint, sharding
from av_mae.experiment.run import Run
from av_mae.planning import synthetic

STEPS = 2
LAYOUTS = [(f, t) for f in (1, 2, 4, 8) for t in (1, 2, 4, 8) if f * t <= 8]


def experiment(fsdp, tensor, task="pretrain", heads=8):
    """Sound alone through one layer, of as many heads as there are devices."""
    values = tiny.alone("nowhere", task)
    values["model"] |= {"heads": heads, "decoder_heads": heads}
    values["compute"] |= {"fsdp": fsdp, "tensor": tensor}
    return parse.experiment(values)


def laid_out(fsdp, tensor, devices=None, task="pretrain"):
    e = experiment(fsdp, tensor, task)
    return Run.assemble(e, synthetic.info(e, 80, 2), devices)


@functools.cache
def losses(fsdp, tensor, task="pretrain", alone=False):
    """(losses, last state) of a few steps on the same clips."""
    made = laid_out(fsdp, tensor, jax.devices()[:1] if alone else None, task)
    rows = synthetic.batch(made.experiment, made.info, made.experiment.batch_size)
    batch, current = sharding.to_devices(rows, made.mesh), made.init()
    step, found = made.train_step(), []
    for _ in range(STEPS):
        current, metrics = step(current, batch)
        found.append(float(metrics["loss"]))
    return found, current


@pytest.mark.parametrize("fsdp, tensor", LAYOUTS)
def test_a_layout_gives_the_losses_of_one_device(fsdp, tensor):
    expected = losses(1, 1, alone=True)[0]
    np.testing.assert_allclose(losses(fsdp, tensor)[0], expected, rtol=2e-5)


def test_a_classifier_gives_the_losses_of_one_device():
    found, expected = losses(2, 2, "classify")[0], losses(1, 1, "classify", alone=True)[0]
    np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize("number", range(0, len(LAYOUTS), 2))
def test_a_checkpoint_of_one_layout_restores_on_another(tmp_path, number):
    """Every other one on the one before it in the list, the first on the last."""
    _, state = losses(*LAYOUTS[number])
    other = laid_out(*LAYOUTS[number - 1])
    written = checkpoint.Checkpoints(tmp_path / "a", other.experiment, ("0", "1"), keep=1)
    written.save(STEPS, state)
    restored = written.restore(other.abstract)
    written.close()
    assert restored
    jax.tree.map(np.testing.assert_array_equal, restored[0].params, state.params)
    places = jax.tree.map(lambda x: x.sharding, restored[0].params)
    assert places == jax.tree.map(lambda x: x.sharding, other.abstract.params)


def test_heads_and_hidden_units_are_split():
    kernel = laid_out(2, 2).abstract.params["decoders"]["shared"]["blocks"]["attention"]["qkv"]
    layers, width, three, heads, size = kernel["kernel"].shape
    part = kernel["kernel"].sharding.shard_shape(kernel["kernel"].shape)
    assert part == (layers, width // 2, three, heads // 2, size)


def test_heads_that_cannot_be_split_are_refused():
    with pytest.raises(schema.ConfigError, match=r"model.heads is 2, .*compute.tensor 4"):
        experiment(1, 4, heads=2)
    e = dataclasses.replace(experiment(8, 1), compute=schema.Compute(fsdp=8, tensor=2))
    with pytest.raises(schema.ConfigError, match="compute.tensor is 2 with 8 devices and"):
        Run.assemble(e, synthetic.info(e, 80, 2))
