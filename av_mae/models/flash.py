"""Attention in one TPU kernel, forwards and backwards: scores never leave the chip (Pallas).

After Rabe & Staats 2021 and Dao et al. 2022, for sequences whose keys and values fit on the chip
whole, as those of this package do: so there is no running softmax, and one pass backwards gives
all three gradients. The kernel reads heads straight from the packed product and writes them
merged, so that nothing is transposed. Scores are kept with keys first: their sums then lie along
vectors, as the logarithm of the softmax's denominator does that is kept for the backward pass.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Bool, Float

# Rows of queries at a time, columns of a block (the chip's lanes), longest sequence.
_ROWS = 256
_LANES = 128
_LONGEST = 4096

# Bytes on a chip that the kernel may hold, as `lacks` counts them. libtpu compiled all that was
# tried within these, for a v4 (of 16 MiB) little beyond; it has no such products for v2 and v3.
_CHIP = 64 * 2**20
_ROOM = {"TPU v2": 0, "TPU v3": 0, "TPU v4": 12 * 2**20}

_PARAMETERS = pltpu.CompilerParams(
    dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=_CHIP
)

_LOWEST = -1e30


def lacks(tokens: int, heads: int, width: int, dtype: Any, kind: str, *, masked: bool) -> str:
    """Why the kernel does not take `heads` heads of this width and number of tokens; "" if it does.

    Args:
        kind: JAX's `device_kind`.
        masked: whether keys are left out by `keep_bs`.
    """
    room = next((room for name, room in _ROOM.items() if kind.startswith(name)), _CHIP)

    # What the backward kernel holds: what is read and written twice, as one copy travels.
    itemsize, lanes, block = jnp.dtype(dtype).itemsize, _group(width) * width, min(tokens, _ROWS)
    keys = 4 * tokens * lanes * itemsize  # keys, values, and their gradients
    queries = 5 * block * lanes * itemsize
    bias = tokens * _LANES * 4 if masked else 0  # a column takes whole vectors
    sums, scores = 2 * tokens * lanes * 4, tokens * block * 4
    needed = 2 * (keys + queries + bias) + sums + scores

    if not room:
        return f"{kind} cannot run it"
    if heads % _group(width):
        return f"{heads} heads of {width} do not fill vectors of {_LANES}"
    if tokens > _LONGEST:
        return f"{tokens} tokens are more than {_LONGEST}"
    if needed > room:
        size = f"{needed >> 20} MiB on a chip that has {room >> 20}"
        return f"{tokens} tokens in heads of {width} need {size}"
    return ""


def attend(
    qkv_bt3hk: Float[Array, "b t 3 h k"],
    keep_bs: Bool[Array, "b t"] | None = None,
    *,
    length: int | None = None,
    interpret: bool = False,
) -> Float[Array, "b t h k"]:
    """softmax(q k^T / sqrt(k)) v of one device's rows and heads.

    Args:
        keep_bs: keys that may be attended to; at least one in every row. None: all of them.
        length: keys from here on are padding; None: there is none.
        interpret: runs the kernel's operations one by one, on any platform.
    """
    b, t, _, h, k = qkv_bt3hk.shape
    bias = None
    if keep_bs is not None:
        bias = jnp.where(keep_bs, 0.0, _LOWEST).astype(jnp.float32)[:, :, None]
    length = t if length is None else length
    y_btd: Any = _attend(qkv_bt3hk.reshape(b, t, 3 * h * k), bias, h, length, interpret)
    return y_btd.reshape(b, t, h, k)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _attend(qkv, bias, heads: int, length: int, interpret: bool):
    return _attend_forward(qkv, bias, heads, length, interpret)[0]


def _attend_forward(qkv, bias, heads, length, interpret):
    """Output `[b t d]`; for the backward pass also the denominators' logarithms.

    These are `[b groups heads-of-a-group t]`.
    """
    b, t, d = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    spec = _Specs(t, d, heads)
    masks = [] if bias is None else [bias]
    y, lse = pl.pallas_call(
        functools.partial(_forward_kernel, width=d // heads, masked=bool(masks), length=length),
        grid=(b, spec.groups, spec.steps),
        in_specs=[*spec.packed, *[spec.bias for _ in masks]],
        out_specs=[spec.rows, spec.lse],
        out_shape=[
            jax.ShapeDtypeStruct((b, t, d), qkv.dtype),
            jax.ShapeDtypeStruct((b, spec.groups, spec.heads, t), jnp.float32),
        ],
        cost_estimate=_cost(2, b, t, d, heads, 4 * qkv.dtype.itemsize),
        compiler_params=_PARAMETERS,
        interpret=interpret,
        name="attention",
    )(qkv, qkv, qkv, *masks)
    y, lse = checkpoint_name(y, "attention"), checkpoint_name(lse, "attention")
    return y, (qkv, bias, y, lse)


def _attend_backward(heads, length, interpret, saved, grad):
    """Gradients of the packed product and, all zeros, of the bias."""
    qkv, bias, y, lse = saved
    b, t, d = y.shape
    spec = _Specs(t, d, heads)
    like = jax.ShapeDtypeStruct((b, t, d), qkv.dtype)
    masks = [] if bias is None else [bias]
    grads = pl.pallas_call(
        functools.partial(
            _backward_kernel, width=d // heads, masked=bool(masks), length=length, tokens=t,
            steps=spec.steps,
        ),
        grid=(b, spec.groups, spec.steps),
        in_specs=[*spec.packed, spec.rows, spec.rows, spec.lse, *[spec.bias for _ in masks]],
        out_specs=[spec.rows, spec.whole(), spec.whole()],
        out_shape=[like, like, like],
        scratch_shapes=[pltpu.VMEM((t, spec.lanes), jnp.float32) for _ in range(2)],
        cost_estimate=_cost(5, b, t, d, heads, 8 * qkv.dtype.itemsize),
        compiler_params=_PARAMETERS,
        interpret=interpret,
        name="attention_backward",
    )(qkv, qkv, qkv, y, grad, lse, *masks)  # fmt: skip
    return jnp.concatenate(grads, axis=-1), None if bias is None else jnp.zeros_like(bias)


_attend.defvjp(_attend_forward, _attend_backward)


def _forward_kernel(q_ref, k_ref, v_ref, *refs, width: int, masked: bool, length: int):
    bias_ref, (y_ref, lse_ref) = (refs[0], refs[1:]) if masked else (None, refs)
    for head in range(q_ref.shape[2] // width):
        lanes = slice(head * width, (head + 1) * width)
        q, k, v = q_ref[0, :, lanes], k_ref[0, :, lanes], v_ref[0, :, lanes]
        scores_sr = _scores(q, k, bias_ref, length)
        highest = scores_sr.max(0, keepdims=True)
        weights_sr = jnp.exp(scores_sr - highest)
        total = weights_sr.sum(0, keepdims=True)
        weights_sr = (weights_sr / total).astype(v.dtype)
        y_ref[0, :, lanes] = _dot(weights_sr, v, 0, 0).astype(y_ref.dtype)
        lse_ref[0, 0, head : head + 1, :] = highest + jnp.log(total)


def _backward_kernel(
    q_ref, k_ref, v_ref, y_ref, grad_ref, lse_ref, *refs, width: int, masked: bool, length: int,
    tokens: int, steps: int,
):  # fmt: skip
    bias_ref, refs = (refs[0], refs[1:]) if masked else (None, refs)
    q_grad_ref, k_grad_ref, v_grad_ref, k_sum_ref, v_sum_ref = refs
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        k_sum_ref[...] = jnp.zeros_like(k_sum_ref)
        v_sum_ref[...] = jnp.zeros_like(v_sum_ref)

    rows = q_ref.shape[1]
    # The last block may reach beyond the sequence, where its rows hold anything.
    there = step * rows + jax.lax.broadcasted_iota(jnp.int32, (rows, width), 0) < tokens
    there_r = step * rows + jax.lax.broadcasted_iota(jnp.int32, (1, rows), 1) < tokens
    ones = jnp.ones((8, width), jnp.float32)
    for head in range(q_ref.shape[2] // width):
        lanes = slice(head * width, (head + 1) * width)
        k, v = k_ref[0, :, lanes], v_ref[0, :, lanes]
        q, y, grad = (
            jnp.where(there, ref[0, :, lanes], jnp.zeros((), ref.dtype))
            for ref in (q_ref, y_ref, grad_ref)
        )
        lse = jnp.where(there_r, lse_ref[0, 0, head : head + 1, :], 0.0)
        product = y.astype(jnp.float32) * grad.astype(jnp.float32)
        delta = _dot(ones, product, 1, 1, precision=jax.lax.Precision.HIGHEST)[:1]
        weights_sr = jnp.exp(_scores(q, k, bias_ref, length) - lse)
        v_sum_ref[:, lanes] += _dot(weights_sr.astype(grad.dtype), grad, 1, 0)
        score_grad_sr = weights_sr * (_dot(v, grad, 1, 1) - delta) * width**-0.5
        score_grad_sr = score_grad_sr.astype(q.dtype)
        k_sum_ref[:, lanes] += _dot(score_grad_sr, q, 1, 0)
        q_grad_ref[0, :, lanes] = _dot(score_grad_sr, k, 0, 0).astype(q_grad_ref.dtype)

    @pl.when(step == steps - 1)
    def _():
        k_grad_ref[0] = k_sum_ref[...].astype(k_grad_ref.dtype)
        v_grad_ref[0] = v_sum_ref[...].astype(v_grad_ref.dtype)


def _scores(q_rk: jax.Array, k_sk: jax.Array, bias_ref: Any, length: int) -> jax.Array:
    """`[s r]`, float32: keys first."""
    scores_sr = _dot(k_sk, q_rk, 1, 1) * q_rk.shape[-1] ** -0.5
    if length < k_sk.shape[0]:
        place_sr = jax.lax.broadcasted_iota(jnp.int32, scores_sr.shape, 0)
        scores_sr = jnp.where(place_sr < length, scores_sr, _LOWEST)
    return scores_sr if bias_ref is None else scores_sr + bias_ref[0]


def _dot(a: jax.Array, b: jax.Array, a_axis: int, b_axis: int, precision: Any = None) -> jax.Array:
    if precision is None and a.dtype == jnp.float32:
        precision = jax.lax.Precision.HIGHEST
    return jax.lax.dot_general(
        a, b, (((a_axis,), (b_axis,)), ((), ())), precision=precision,
        preferred_element_type=jnp.float32,
    )  # fmt: skip


def _group(width: int) -> int:
    """Heads whose columns together are whole lanes."""
    return _LANES // math.gcd(width, _LANES)


class _Specs:
    """How arrays are cut: the grid runs over rows of the batch, groups of heads, query blocks."""

    def __init__(self, tokens: int, width: int, heads: int):
        self.heads = _group(width // heads)
        self.groups = heads // self.heads
        self.lanes = width // self.groups
        self.tokens = tokens
        block = min(tokens, _ROWS)
        self.steps = pl.cdiv(tokens, block)
        self.lse = pl.BlockSpec((1, 1, self.heads, block), lambda b, g, i: (b, g, 0, i))
        self.bias = pl.BlockSpec((1, tokens, 1), lambda b, g, i: (b, 0, 0))
        self.rows = pl.BlockSpec((1, block, self.lanes), lambda b, g, i: (b, i, g))
        # Query, key and value columns of the packed product.
        self.packed = [self.rows, self.whole(1), self.whole(2)]

    def whole(self, part: int = 0) -> pl.BlockSpec:
        """All rows of a group's columns, in the given third of the columns."""
        first = part * self.groups
        return pl.BlockSpec((1, self.tokens, self.lanes), lambda b, g, i: (b, 0, first + g))


def _cost(products: int, b: int, t: int, d: int, heads: int, bytes_each: int) -> pl.CostEstimate:
    """Costs of the kernel for the compiler, which cannot look inside."""
    return pl.CostEstimate(
        flops=2 * products * b * t * t * d,
        transcendentals=b * heads * t * t,
        bytes_accessed=b * t * d * bytes_each,
    )
