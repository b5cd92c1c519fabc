"""Scaled dot-product self-attention, in the form that is best for the platform and the sizes."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import AbstractMesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Key, Shaped

from av_mae.models import flash, layers

# On CPU, scores beyond this many bytes are computed head by head, in blocks: they leave the cache
# otherwise, and moving them takes longer than computing them twice.
_LARGE = 32 * 2**20
_BLOCK = 16 * 2**20

# Heads that cuDNN takes on every GPU; on Hopper and later also wider ones.
_WIDEST = 128
_LOWEST = float(jnp.finfo(jnp.float32).min)

# Sequences are best a multiple of this long: whole tiles on TPUs; cuDNN trains on even lengths.
_MULTIPLES = {"tpu": 8, "gpu": 2, "cuda": 2}

_log_once = functools.cache(logging.log)


def padding(tokens: int) -> int:
    """How many tokens to append for the device that runs the program; `attend` leaves them out."""
    platform, _ = _device(jax.sharding.get_abstract_mesh())
    return -tokens % _MULTIPLES.get(platform, 1)


def lengthen(x: Shaped[Array, "b t ..."], count: int) -> Shaped[Array, "b _ ..."]:
    """Appends `count` tokens of zeros."""
    return jnp.pad(x, ((0, 0), (0, count), *((0, 0),) * (x.ndim - 2))) if count else x


def attend(
    qkv_bt3hk: Float[Array, "b t 3 h k"],
    *,
    length: int | None = None,
    keep_bs: Bool[Array, "b t"] | None = None,
    dropout: float = 0.0,
    keys_b: Key[Array, "b"] | None = None,
) -> Float[Array, "b t h k"]:
    """softmax(q k^T / sqrt(k)) v, with scores and softmax in float32.

    Runs as one kernel where there is one: `flash` on TPUs, cuDNN on NVIDIA GPUs (bfloat16 only).
    The form is logged once. All agree within the rounding of the inputs' type.

    Args:
        length: tokens from here on are padding: none attends to them, and what they attend to is
            undefined. None: there is no padding.
        keep_bs: keys that may be attended to; at least one in every row. None: all of them.
        dropout: share of the attention weights dropped, each element on its own; needs `keys_b`.
    """
    length = qkv_bt3hk.shape[1] if length is None else length
    mesh = jax.sharding.get_abstract_mesh()
    drops = dropout > 0 and keys_b is not None
    form = _form(*_device(mesh), qkv_bt3hk, mesh, drops=drops, masked=keep_bs is not None)
    if form in ("flash", "cudnn"):
        kernel = functools.partial(flash.attend if form == "flash" else _cudnn, length=length)
        return _on_each_device(kernel, mesh, qkv_bt3hk, keep_bs)
    b, t = qkv_bt3hk.shape[:2]
    if length < t:
        real_bs = jnp.broadcast_to(jnp.arange(t) < length, (b, t))
        keep_bs = real_bs if keep_bs is None else keep_bs & real_bs
    q_bthk, k_bshk, v_bshk = jnp.unstack(qkv_bt3hk, axis=2)
    q_bthk = q_bthk * q_bthk.shape[-1] ** -0.5
    if form == "by head":
        return _by_head(q_bthk, k_bshk, v_bshk, keep_bs)
    scores_bhts = jnp.einsum("bthk,bshk->bhts", q_bthk, k_bshk, preferred_element_type=jnp.float32)
    if keep_bs is not None:
        scores_bhts = jnp.where(keep_bs[:, None, None, :], scores_bhts, _LOWEST)
    weights_bhts = drop_elements(jax.nn.softmax(scores_bhts, axis=-1), dropout, keys_b)
    return jnp.einsum("bhts,bshk->bthk", weights_bhts.astype(v_bshk.dtype), v_bshk)


def _device(mesh: AbstractMesh) -> tuple[str, str]:
    """(platform, kind) of what will run the program: a mesh may describe devices not here."""
    device: Any = mesh.abstract_device or jax.devices()[0]
    return device.platform, device.device_kind


def _form(
    platform: str, kind: str, qkv_bt3hk: jax.Array, mesh: AbstractMesh, *, drops: bool, masked: bool
) -> str:
    """The form that attention takes; logged once, with the reason where it is the plain one.

    On CPUs, whose forms are equally good where they are taken, only with --verbosity=1.
    """
    b, t, _, h, k = qkv_bt3hk.shape
    heads, dtype = h // mesh.shape.get(layers.HEAD_AXIS, 1), qkv_bt3hk.dtype
    if platform == "tpu":
        form, name = "flash", "our kernel for TPUs"
        lacks = flash.lacks(t, heads, k, dtype, kind, masked=masked)
    elif platform in ("gpu", "cuda"):
        form, name, lacks = "cudnn", "cuDNN's kernel", ""
        if dtype != jnp.bfloat16:
            lacks = f"it takes bfloat16, not {dtype}"
        elif k % 8 or k > _WIDEST:
            lacks = f"it takes heads of a multiple of 8 up to {_WIDEST}, not of {k}"
    else:
        large = platform == "cpu" and 4 * b * h * t * t > _LARGE and not drops
        form, name, lacks = "by head", "head by head", "" if large else "scores fit into the cache"
    if drops:
        lacks = "weights are dropped"
    level = logging.DEBUG if platform == "cpu" else logging.INFO
    _log_once(level, f"attention: plain, not {name}: {lacks}" if lacks else f"attention: {name}")
    return "at once" if lacks else form


def _on_each_device(attend, mesh: AbstractMesh, qkv_bt3hk: jax.Array, keep_bs: jax.Array | None):
    """A kernel sees its own device's rows and heads: the compiler cannot split it."""
    if mesh.empty or mesh.size == 1:
        return attend(qkv_bt3hk, keep_bs)
    batch = PartitionSpec(layers.BATCH_AXES)
    heads = layers.HEAD_AXIS if layers.HEAD_AXIS in mesh.shape else None
    packed = PartitionSpec(layers.BATCH_AXES, None, None, heads)
    merged = PartitionSpec(layers.BATCH_AXES, None, heads)
    operands = (qkv_bt3hk,) if keep_bs is None else (qkv_bt3hk, keep_bs)
    split = jax.shard_map(
        attend, in_specs=(packed, batch)[: len(operands)], out_specs=merged, check_vma=False
    )
    return split(*operands)


def _cudnn(qkv_bt3hk: jax.Array, keep_bs: jax.Array | None = None, *, length: int) -> jax.Array:
    """cuDNN's kernel as JAX offers it: trains on even lengths, with masks of all pairs.

    The gradients of keys beyond their length are undefined: they are cut off.
    """
    b, t = qkv_bt3hk.shape[:2]
    odd = t % 2
    qkv_bt3hk, padded = lengthen(qkv_bt3hk, odd), t + odd
    real_t = jnp.arange(padded) < length
    mask = lengths = None
    if keep_bs is not None:
        real_bs = lengthen(keep_bs, odd) & real_t
        mask = jnp.broadcast_to(real_bs[:, None, None, :], (b, 1, padded, padded))
    elif length < padded:
        qkv_bt3hk = jnp.where(real_t[:, None, None, None], qkv_bt3hk, 0)
        lengths = jnp.full(b, length, jnp.int32)
    q, k, v = jnp.unstack(qkv_bt3hk, axis=2)
    attended = jax.nn.dot_product_attention(
        q, k, v, mask=mask, key_value_seq_lengths=lengths, implementation="cudnn"
    )
    return attended[:, :t]


def drop_elements(
    x: Float[Array, "b ..."], rate: float, keys_b: Key[Array, "b"] | None
) -> Float[Array, "b ..."]:
    """Inverted dropout; every example draws from its own key. Without keys nothing is dropped."""
    if not rate or keys_b is None:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, x.shape[1:]))(keys_b)
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


@jax.custom_vjp
def _by_head(q_bthk, k_bshk, v_bshk, keep_bs):
    """softmax(q k^T) v, one head and one block of queries after another; the queries are scaled.

    Scores live only within a block; the backward pass computes them again from the saved logarithm
    of the softmax's denominator (Rabe & Staats 2021; Dao et al. 2022). Batch rows stay together, so
    that a batch that is split over devices stays split.
    """
    return _by_head_forward(q_bthk, k_bshk, v_bshk, keep_bs)[0]


def _by_head_forward(q_bthk, k_bshk, v_bshk, keep_bs):
    def one_head(head):
        q_btk, k_bsk, v_bsk = head
        outputs, denominators = [], []
        for rows in _blocks(q_btk, k_bsk):
            scores = _scores(q_btk[:, rows], k_bsk, keep_bs)
            highest = scores.max(-1, keepdims=True)
            weights = jnp.exp(scores - highest)
            total = weights.sum(-1, keepdims=True)
            output = jnp.einsum("bts,bsk->btk", weights.astype(v_bsk.dtype), v_bsk)
            outputs.append(output / total.astype(output.dtype))
            denominators.append(highest + jnp.log(total))
        return jnp.concatenate(outputs, 1), jnp.concatenate(denominators, 1)

    heads = [jnp.moveaxis(x, 2, 0) for x in (q_bthk, k_bshk, v_bshk)]
    y_hbtk, denominators_hbt1 = jax.lax.map(one_head, heads)
    y_bthk = jnp.moveaxis(y_hbtk, 0, 2)
    return y_bthk, (q_bthk, k_bshk, v_bshk, keep_bs, y_bthk, denominators_hbt1)


def _by_head_backward(saved, grad_bthk):
    q_bthk, k_bshk, v_bshk, keep_bs, y_bthk, denominators_hbt1 = saved
    products = grad_bthk.astype(jnp.float32) * y_bthk.astype(jnp.float32)
    delta_hbt1 = jnp.moveaxis(products.sum(-1, keepdims=True), 2, 0)

    def one_head(head):
        q_btk, k_bsk, v_bsk, grad_btk, denominator_bt1, delta_bt1 = head
        q_parts, k_grad, v_grad = [], 0.0, 0.0
        for rows in _blocks(q_btk, k_bsk):
            scores = _scores(q_btk[:, rows], k_bsk, keep_bs)
            weights = jnp.exp(scores - denominator_bt1[:, rows])
            weight_grad = _scores(grad_btk[:, rows], v_bsk, None)
            score_grad = (weights * (weight_grad - delta_bt1[:, rows])).astype(q_btk.dtype)
            q_parts.append(jnp.einsum("bts,bsk->btk", score_grad, k_bsk))
            k_grad += jnp.einsum("bts,btk->bsk", score_grad, q_btk[:, rows])
            v_grad += jnp.einsum("bts,btk->bsk", weights.astype(v_bsk.dtype), grad_btk[:, rows])
        return jnp.concatenate(q_parts, 1), k_grad, v_grad

    heads = [jnp.moveaxis(x, 2, 0) for x in (q_bthk, k_bshk, v_bshk, grad_bthk)]
    grads = jax.lax.map(one_head, (*heads, denominators_hbt1, delta_hbt1))
    return *(jnp.moveaxis(x, 0, 2) for x in grads), None


_by_head.defvjp(_by_head_forward, _by_head_backward)


def _scores(q_btk: jax.Array, k_bsk: jax.Array, keep_bs: jax.Array | None) -> jax.Array:
    scores = jnp.einsum("btk,bsk->bts", q_btk, k_bsk, preferred_element_type=jnp.float32)
    return scores if keep_bs is None else jnp.where(keep_bs[:, None, :], scores, _LOWEST)


def _blocks(q_btk: jax.Array, k_bsk: jax.Array) -> list[slice]:
    """Equal blocks of queries whose scores fit into the cache, as far as the length allows."""
    b, t, _ = q_btk.shape
    wanted = math.ceil(4 * b * t * k_bsk.shape[1] / _BLOCK)
    count = next((c for c in range(wanted, 4 * wanted) if t % c == 0), 1)
    return [slice(i * t // count, (i + 1) * t // count) for i in range(count)]
