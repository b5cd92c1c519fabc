"""The analytic count agrees with what the compiler counts in the unrolled program."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from av_mae import tasks
from av_mae.config import modality as modality_lib
from av_mae.config import schema

MODALITIES = {
    "video": modality_lib.Video(frames=8, size=64, mask_ratio=0.75),
    "audio": modality_lib.Audio(seconds=1.28, mels=64, mask_ratio=0.5),
}
SIZES = {
    "width": 192,
    "depth": 3,
    "heads": 4,
    "mlp": 768,
    "decoder_width": 128,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "decoder_mlp": 512,
}
BATCH, CLASSES = 2, 10


def made(task, model, modalities=None):
    """The task with this model, unrolled so that the compiler counts every layer."""
    experiment = schema.Experiment(
        task=task,
        modalities=modalities or MODALITIES,
        model=model,
        compute=schema.Compute(scan=False),
    )
    return tasks.make(experiment, [str(k) for k in range(CLASSES)])


def counted(task, run):
    """(forward, forward and backward) operations an example, as XLA counts them."""
    model = nnx.eval_shape(lambda: task.init(nnx.Rngs(0)))
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    shapes = {n: jax.ShapeDtypeStruct((BATCH, *m.input_shape), jnp.float32)
              for n, m in MODALITIES.items()}  # fmt: skip

    def forward(params, rest, inputs):
        outputs = run(nnx.merge(graphdef, params, rest), inputs)
        return sum(x.sum() for x in jax.tree.leaves(outputs))

    def count(f):
        return jax.jit(f).lower(*states, shapes).cost_analysis()["flops"] / BATCH

    return count(forward), count(jax.value_and_grad(forward))


@pytest.mark.parametrize("fusion", ["early", "mid", "shared"])
@pytest.mark.parametrize("decoder", ["shared", "joint"])
def test_pretraining(fusion, decoder):
    sizes = schema.Model(**SIZES, fusion=fusion, fusion_layers=1, decoder=decoder)
    task = made("pretrain", sizes)
    keys_b = jax.random.split(jax.random.key(0), BATCH)
    forward, train = counted(task, lambda m, x: m(x, keys_b=keys_b).predictions)
    ours = task.flops()
    assert ours.forward == pytest.approx(forward, rel=0.05)
    assert ours.train == pytest.approx(train, rel=0.05)


@pytest.mark.parametrize("fusion", ["separate", "mid", "bottleneck"])
def test_classification(fusion):
    sizes = schema.Model(**SIZES, fusion=fusion, fusion_layers=2)
    task = made("classify", sizes)
    forward, train = counted(task, lambda m, x: m(x, train=True))
    ours = task.flops()
    assert ours.forward == pytest.approx(forward, rel=0.05)
    assert ours.train == pytest.approx(train, rel=0.05)


def test_a_frozen_encoder_needs_no_backward_pass():
    full = made("classify", schema.Model(**SIZES)).flops()
    probe = made("classify", schema.Model(**SIZES, linear_probe=True)).flops()
    assert probe.forward == full.forward
    assert probe.train < 1.01 * probe.forward < 0.5 * full.train


def test_audioset_pretraining_of_the_base_model():
    """Scenic's program takes 634 GFLOP for a step of two clips, its prediction of all included."""
    sizes, patch = schema.variant("B/16x2")
    modalities = {
        "video": modality_lib.Video(patch=patch, mask_ratio=0.9),
        "audio": modality_lib.Audio(mask_ratio=0.7),
    }
    count = made("pretrain", schema.Model(**sizes, fusion="mid"), modalities).flops()
    assert 2 * count.train == pytest.approx(612e9, rel=0.01)
