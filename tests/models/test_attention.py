"""Every form of attention gives what the plain one does: in blocks, in a kernel, under a mesh."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from av_mae.experiment import sharding
from av_mae.models import attention, flash


def packed(b, t, h, k, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(b, t, 3, h, k)), dtype)


def keep(b, t):
    """Keys without every third one; the last row has only one."""
    kept = np.arange(t)[None] % 3 > np.zeros((b, 1))
    kept[-1] = np.arange(t) == t - 1
    return jnp.asarray(kept)


def value_and_grad(attend, qkv):
    def loss(qkv):
        return jnp.sin(attend(qkv).astype(jnp.float32)).sum()

    return jax.jit(jax.value_and_grad(loss))(qkv)


def assert_close(ours, plain, atol):
    np.testing.assert_allclose(ours[0], plain[0], rtol=1e-3, atol=50 * atol)
    np.testing.assert_allclose(
        np.asarray(ours[1], np.float32), np.asarray(plain[1], np.float32), rtol=1e-5, atol=atol
    )


@pytest.mark.parametrize("masked", [False, True])
def test_by_head_and_block_agrees_with_all_at_once(monkeypatch, masked):
    qkv, kept = packed(3, 30, 2, 4), keep(3, 30) if masked else None
    attend = functools.partial(attention.attend, keep_bs=kept)
    at_once = value_and_grad(attend, qkv)
    monkeypatch.setattr(attention, "_LARGE", 0)
    monkeypatch.setattr(attention, "_BLOCK", 4 * 3 * 30 * 12)
    assert len(attention._blocks(qkv[:, :, 0, 0], qkv[:, :, 1, 0])) == 3
    assert_close(value_and_grad(attend, qkv), at_once, 1e-5)


# Sequences shorter than a block of queries, of one and a part of another; two heads a block or one.
@pytest.mark.parametrize(
    "tokens, heads, width, masked", [(37, 2, 64, True), (300, 2, 64, False), (20, 1, 128, False)]
)
def test_the_kernel_agrees_with_all_at_once(tokens, heads, width, masked):
    qkv, kept = packed(2, tokens, heads, width), keep(2, tokens) if masked else None
    kernel = value_and_grad(lambda x: flash.attend(x, kept, interpret=True), qkv)
    assert_close(kernel, value_and_grad(lambda x: attention.attend(x, keep_bs=kept), qkv), 2e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("form", ["at once", "by head", "flash"])
def test_padding_is_seen_by_no_token_and_gets_no_gradient(monkeypatch, form, masked):
    """Of 24 tokens the last 5 are padding: the others' part of it is what 19 tokens alone give."""
    qkv, kept = packed(3, 24, 2, 64), keep(3, 19) if masked else None
    if form == "by head":
        monkeypatch.setattr(attention, "_LARGE", 0)
    if form == "flash":
        attend = functools.partial(flash.attend, interpret=True)
    else:
        attend = lambda x, kept, **length: attention.attend(x, keep_bs=kept, **length)  # noqa: E731
    longer = None if kept is None else attention.lengthen(kept, 5)
    padded = value_and_grad(lambda x: attend(x, longer, length=19)[:, :19], qkv)
    assert_close(padded, value_and_grad(lambda x: attend(x[:, :19], kept), qkv), 2e-5)


def test_the_kernel_rounds_no_more_than_bfloat16_does():
    exact = packed(2, 40, 2, 64)
    truth = value_and_grad(lambda x: attention.attend(x), exact)
    rounded = exact.astype(jnp.bfloat16)
    plain = value_and_grad(lambda x: attention.attend(x), rounded)
    kernel = value_and_grad(lambda x: flash.attend(x, interpret=True), rounded)
    errors = [np.abs(np.asarray(x[1], np.float32) - truth[1]).mean() for x in (kernel, plain)]
    assert errors[0] <= 1.1 * errors[1]


@pytest.mark.parametrize(
    "tokens, length, masked",
    [(196, 196, False), (157, 157, False), (170, 163, False), (157, 150, True), (900, 900, False)],
)
def test_this_machines_form_rounds_no_more_than_bfloat16_does(tokens, length, masked):
    """By cuDNN on a GPU: JAX_PLATFORMS=cuda python -m pytest tests/models/test_attention.py."""
    qkv = packed(3, tokens, 4, 64, jnp.bfloat16)
    kept = keep(3, tokens).at[:, 0].set(True) if masked else None

    def attend(qkv):
        return attention.attend(qkv, length=length, keep_bs=kept)[:, :length]

    rounded = value_and_grad(attend, qkv)[1].astype(jnp.float32)
    with jax.default_matmul_precision("highest"):
        exact = value_and_grad(attend, qkv.astype(jnp.float32))[1]
    assert jnp.linalg.norm(rounded - exact) < 5e-3 * jnp.linalg.norm(exact)


@pytest.mark.parametrize(
    ("tokens", "heads", "width", "dtype", "kind", "reason"),
    [
        (1568, 12, 64, "bfloat16", "TPU v5", ""),
        (3136, 16, 64, "float32", "TPU v5 lite", ""),
        (1568, 16, 80, "bfloat16", "TPU v6 lite", ""),
        (1568, 12, 64, "bfloat16", "TPU v4", ""),
        (1568, 3, 64, "bfloat16", "TPU v5", "3 heads of 64 do not fill"),
        (10_000, 12, 64, "bfloat16", "TPU v5", "10000 tokens are more than"),
        (4096, 16, 80, "float32", "TPU v5", "need .* MiB on a chip that has 64"),
        (1568, 16, 80, "bfloat16", "TPU v4", "need .* MiB on a chip that has 12"),
        (1568, 12, 64, "bfloat16", "TPU v3", "TPU v3 cannot run it"),
    ],
)
def test_the_kernel_takes_the_heads_of_all_published_sizes_but_tiny_ones(
    tokens, heads, width, dtype, kind, reason
):
    """What libtpu compiles and what it does not, but for some that would fit and are left out."""
    found = flash.lacks(tokens, heads, width, dtype, kind, masked=False)
    assert re.search(reason, found) if reason else found == ""


def test_a_mask_takes_its_place_on_the_chip():
    size = (3700, 16, 80, "bfloat16", "TPU v5")
    assert flash.lacks(*size, masked=False) == "" and "need" in flash.lacks(*size, masked=True)


def test_devices_attend_to_their_own_rows_and_heads():
    """What a kernel gives under a mesh is what it gives without one."""
    shape, names = (2, 2, 2), ("data", "fsdp", "tensor")
    mesh = jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * 3)
    qkv, kept = packed(4, 16, 2, 8), keep(4, 16)
    alone = attention.attend(qkv, keep_bs=kept)

    def split(qkv, kept):
        attend = lambda qkv, kept: attention.attend(qkv, keep_bs=kept)  # noqa: E731
        ambient = jax.sharding.get_abstract_mesh()
        return attention._on_each_device(attend, ambient, qkv, kept)

    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    together = jax.jit(sharding.within(mesh, split), in_shardings=rows)(qkv, kept)
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("platform, width, dtype, drops, form, says", [
    ("tpu", 64, "bfloat16", False, "flash", "attention: our kernel for TPUs"),
    ("tpu", 64, "float32", False, "flash", "attention: our kernel for TPUs"),
    ("tpu", 60, "float32", False, "at once", "plain, not our kernel for TPUs: 2 heads of 60"),
    ("tpu", 64, "bfloat16", True, "at once", "plain, not our kernel for TPUs: weights are dropped"),
    ("gpu", 64, "bfloat16", False, "cudnn", "attention: cuDNN's kernel"),
    ("gpu", 64, "float32", False, "at once", "cuDNN's kernel: it takes bfloat16, not float32"),
    ("gpu", 60, "bfloat16", False, "at once", "a multiple of 8 up to 128, not of 60"),
    ("gpu", 256, "bfloat16", False, "at once", "a multiple of 8 up to 128, not of 256"),
    ("gpu", 64, "bfloat16", True, "at once", "weights are dropped"),
    ("cpu", 64, "bfloat16", False, "at once", "plain, not head by head: scores fit"),
])  # fmt: skip
def test_each_platform_has_its_form_and_tells_why(
    platform, width, dtype, drops, form, says, caplog
):
    mesh = jax.sharding.get_abstract_mesh()
    attention._log_once.cache_clear()
    with caplog.at_level("DEBUG", "absl"):
        found = attention._form(
            platform, "", packed(1, 8, 2, width, dtype), mesh, drops=drops, masked=False
        )
    assert found == form and says in caplog.text
