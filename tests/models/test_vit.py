"""Blocks and stacks: the layer loop, precision, randomness, attention by blocks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_models
from flax import nnx

from av_mae.config import schema
from av_mae.models import attention, vit

X_BTD = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5, 16)), jnp.float32)
KEEP_BT = jnp.array([[True] * 5, [True, True, False, False, True], [False] * 4 + [True]])


def encoder(compute=None, layers=3, **changes):
    model = dataclasses.replace(toy_models.MODEL, depth=layers, **changes)
    compute = compute or schema.Compute()
    make = lambda: vit.Encoder(layers, model, compute, norm=1e-6, rngs=nnx.Rngs(0))  # noqa: E731
    return toy_models.randomise(make)


def value_and_grads(module, x_btd, **arguments):
    """(output, gradients by path) of a scalar of the output, all of it compiled once."""
    graphdef, params = nnx.split(module)

    @jax.jit
    def run(params, x_btd, arguments):
        def loss(params):
            y = nnx.merge(graphdef, params)(x_btd, **arguments).astype(jnp.float32)
            return jnp.sin(y).sum(), y

        (_, y), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return y, nnx.to_pure_dict(grads)

    return run(params, x_btd, arguments)


def assert_close(ours, theirs, tolerance=1e-5):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), ours, theirs
    )


@functools.cache
def random_step(scan, remat):
    compute = schema.Compute(scan=scan, remat=remat)
    module = encoder(compute, layers=2, dropout=0.1, drop_path=0.4)
    return value_and_grads(module, X_BTD, keep_bt=KEEP_BT, keys_b=toy_models.keys())


@pytest.mark.parametrize(
    "scan, remat", [(False, "none"), (True, "dots"), (False, "full"), (True, "full")]
)
def test_scan_and_remat_change_nothing(scan, remat):
    assert_close(random_step(scan, remat), random_step(True, "none"))


def test_unrolled_gradients_of_stacks_are_concatenated_not_added():
    module = encoder(schema.Compute(scan=False))
    graphdef, params = nnx.split(module)
    grad = jax.grad(lambda p: nnx.merge(graphdef, p)(X_BTD).sum())
    text = jax.jit(grad).lower(params).as_text()
    assert "stablehlo.pad" not in text


def test_bfloat16_is_close_and_keeps_parameters_float32():
    exact, _ = value_and_grads(encoder(), X_BTD)
    module = encoder(schema.Compute(dtype="bfloat16"))
    y, grads = value_and_grads(module, X_BTD.astype(jnp.bfloat16))
    assert np.abs(y - exact).max() < 0.1 * np.abs(exact).max()
    assert np.abs(y - exact).mean() < 0.02 * np.abs(exact).max()
    leaves = jax.tree.leaves((nnx.state(module), grads))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_tokens_that_may_not_be_attended_to_influence_no_other():
    module = encoder()
    changed = X_BTD + 10.0 * ~KEEP_BT[..., None]
    before = module(X_BTD, keep_bt=KEEP_BT)
    after = module(changed, keep_bt=KEEP_BT)
    assert np.array_equal(before[KEEP_BT], after[KEEP_BT])
    assert not np.allclose(before[~KEEP_BT], after[~KEEP_BT])


@pytest.mark.parametrize("rescale", [True, False])
def test_drop_path_leaves_out_whole_branches_by_example(rescale):
    module = encoder(layers=1, drop_path=0.5, drop_path_rescale=rescale)
    (block_graph, state) = nnx.split(module.blocks)
    block = nnx.merge(block_graph, jax.tree.map(lambda x: x[0], state))
    many = jnp.broadcast_to(X_BTD[:1], (64, *X_BTD.shape[1:]))
    y = block(many, drop_path=jnp.float32(0.5), keys_b=toy_models.keys(64))
    outputs = {np.asarray(row).round(4).tobytes() for row in y}
    assert len(outputs) == 4  # each of the two branches kept or left out
    untouched = (jnp.abs(y - many).max((1, 2)) == 0).sum()
    assert 6 <= untouched <= 28
    full = block(many[:1])[0]
    has_full = any(np.allclose(row, full, atol=1e-5) for row in y)
    assert has_full != rescale


def test_drop_path_grows_from_zero_over_the_whole_network():
    model = dataclasses.replace(toy_models.MODEL, depth=6, drop_path=0.5)
    upper = vit.Encoder(2, model, schema.Compute(), norm=None, first_layer=4, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(upper.unstack()[1]["drop_path"], [0.4, 0.5])


def test_randomness_is_by_example():
    module = encoder(dropout=0.3, attention_dropout=0.3, drop_path=0.3)
    keys_b = toy_models.keys()
    together = module(X_BTD, keys_b=keys_b)
    alone = module(X_BTD[1:2], keys_b=keys_b[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)
    assert not np.allclose(together, module(X_BTD), atol=1e-2)


def test_a_key_bias_would_change_nothing():
    """Why VideoMAE can leave it out: softmax ignores what all keys have in common."""
    full, part = encoder(qkv_bias="qkv"), encoder(qkv_bias="qv")
    bias = full.blocks.attention.qkv.bias
    part.blocks.attention.qkv.bias[...] = bias[...][:, ::2]
    for name in ("norm1", "norm2", "mlp"):
        setattr(part.blocks, name, getattr(full.blocks, name))
    part.blocks.attention.out = full.blocks.attention.out
    part.blocks.attention.qkv.kernel = full.blocks.attention.qkv.kernel
    part.norm = full.norm
    np.testing.assert_allclose(part(X_BTD), full(X_BTD), atol=1e-5)


def test_layer_scale_starts_small_and_gelu_kinds_differ():
    model = dataclasses.replace(toy_models.MODEL, layer_scale=1e-6)
    module = vit.Encoder(2, model, schema.Compute(), norm=None, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(module(X_BTD), X_BTD, atol=1e-4)
    tanh, erf = encoder(gelu="tanh")(X_BTD), encoder(gelu="erf")(X_BTD)
    assert 1e-6 < np.abs(tanh - erf).max() < 1e-2


def test_initial_matrices_have_their_own_fans():
    block = vit.Block(schema.Model(), "float32", rngs=nnx.Rngs(0))
    bound = np.sqrt(6 / (768 + 768))
    for part in range(3):
        largest = np.abs(block.attention.qkv.kernel[...][:, part]).max()
        assert 0.99 * bound < largest <= bound
    assert 0.99 * np.sqrt(6 / (768 + 3072)) < np.abs(block.mlp.up.kernel[...]).max()


@pytest.mark.parametrize("keep_bt", [None, KEEP_BT])
def test_tokens_appended_for_a_kernel_change_nothing(monkeypatch, keep_bt):
    alone = value_and_grads(encoder(), X_BTD, keep_bt=keep_bt)
    monkeypatch.setitem(attention._MULTIPLES, "cpu", 8)
    assert_close(value_and_grads(encoder(), X_BTD, keep_bt=keep_bt), alone)
