"""The analytic count agrees with what the compiler counts in the unrolled program."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.models import classifier, mae

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
COMPUTE = schema.Compute(scan=False)
BATCH = 2


def counted(model, run):
    """(forward, forward and backward) operations an example, as XLA counts them."""
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
    model = nnx.eval_shape(
        lambda: mae.MaskedAutoencoder(MODALITIES, sizes, COMPUTE, rngs=nnx.Rngs(0))
    )
    keys_b = jax.random.split(jax.random.key(0), BATCH)
    forward, train = counted(model, lambda m, x: m(x, keys_b=keys_b).predictions)
    ours = mae.count_flops(MODALITIES, sizes)
    assert ours.forward == pytest.approx(forward, rel=0.05)
    assert ours.train == pytest.approx(train, rel=0.05)


@pytest.mark.parametrize("fusion", ["separate", "mid", "bottleneck"])
def test_classification(fusion):
    sizes = schema.Model(**SIZES, fusion=fusion, fusion_layers=2)
    model = nnx.eval_shape(
        lambda: classifier.Classifier(MODALITIES, sizes, COMPUTE, classes=10, rngs=nnx.Rngs(0))
    )
    forward, train = counted(model, lambda m, x: m(x, train=True))
    ours = classifier.count_flops(MODALITIES, sizes, 10)
    assert ours.forward == pytest.approx(forward, rel=0.05)
    assert ours.train == pytest.approx(train, rel=0.05)


def test_a_frozen_encoder_needs_no_backward_pass():
    full = classifier.count_flops(MODALITIES, schema.Model(**SIZES), 10)
    probe = classifier.count_flops(MODALITIES, schema.Model(**SIZES, linear_probe=True), 10)
    assert probe.forward == full.forward
    assert probe.train < 1.01 * probe.forward < 0.5 * full.train


def test_audioset_pretraining_of_the_base_model():
    """Scenic's program takes 634 GFLOP for a step of two clips, its prediction of all included."""
    sizes, patch = schema.variant("B/16x2")
    modalities = {
        "video": modality_lib.Video(patch=patch, mask_ratio=0.9),
        "audio": modality_lib.Audio(mask_ratio=0.7),
    }
    count = mae.count_flops(modalities, schema.Model(**sizes, fusion="mid"))
    assert 2 * count.train == pytest.approx(612e9, rel=0.01)
