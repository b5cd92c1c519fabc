"""The layers of blocks and heads: dense layers, layer norm, attention's projections.

Parameters are float32; products run in the given dtype, norms in float32. Attention's parameters
have an axis of heads; products take them as matrices.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Shaped

# Names of mesh axes: what splits the rows of a batch, and what splits the heads.
BATCH_AXES, HEAD_AXIS = ("data", "fsdp"), "tensor"

# Keeps only the arguments for the backward pass: less memory than elementwise steps take.
recomputed = functools.partial(jax.checkpoint, prevent_cse=False)

_XAVIER = nnx.initializers.xavier_uniform()


class Dense(nnx.Module):
    """x @ kernel + bias, in `dtype`."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        *,
        dtype: str,
        rngs: nnx.Rngs,
        bias: bool = True,
        kernel_init: Callable[..., jax.Array] = _XAVIER,
        bias_init: Callable[..., jax.Array] = nnx.initializers.zeros,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (width_in, width_out)))
        self.bias = nnx.Param(bias_init(rngs.params(), (width_out,))) if bias else None
        self.dtype = dtype

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        y = keep_rows(x.astype(self.dtype) @ self.kernel[...].astype(self.dtype))
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(var + eps) * scale + bias over the last axis, in float32."""

    def __init__(self, width: int, eps: float):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.eps = eps

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        def norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
            y = x.astype(jnp.float32)
            mean = y.mean(-1, keepdims=True)
            variance = jnp.square(y - mean).mean(-1, keepdims=True)
            y = (y - mean) * (jax.lax.rsqrt(variance + self.eps) * scale) + bias
            return y.astype(x.dtype)

        return recomputed(norm)(x, self.scale[...], self.bias[...])


class QueryKeyValue(nnx.Module):
    """The three projections of attention as one product.

    kernel `[d, 3, h, k]`, or flat; bias `[3, h, k]` (qkv), `[2, h, k]` for query and value (qv), or
    none.
    """

    def __init__(self, width: int, *, heads: int, bias: str, dtype: str, rngs: nnx.Rngs):
        d, h = width, heads
        each = [_XAVIER(rngs.params(), (d, d)).reshape(d, h, d // h) for _ in range(3)]
        self.kernel = nnx.Param(jnp.stack(each, axis=1))
        biases = {"qkv": 3, "qv": 2, "none": 0}[bias]
        self.bias = nnx.Param(jnp.zeros((biases, h, d // h))) if biases else None
        self.heads, self.dtype = h, dtype

    def __call__(self, x_btd: Float[Array, "b t d"]) -> Float[Array, "b t 3 h k"]:
        kernel, split = self.kernel[...].astype(self.dtype), heads_are_split()
        width = x_btd.shape[-1]
        if split:
            y = keep_rows(jnp.einsum("btd,dchk->btchk", x_btd, kernel))
        else:
            y = keep_rows(x_btd @ kernel.reshape(width, -1))
        if self.bias is None:
            bias = jnp.zeros((3, self.heads, width // self.heads), self.dtype)
        else:
            bias = self.bias[...].astype(self.dtype)
        if bias.shape[0] == 2:
            bias = jnp.stack([bias[0], jnp.zeros_like(bias[0]), bias[1]])
        y = y + (bias if split else bias.reshape(-1))
        return y.reshape(*x_btd.shape[:2], 3, self.heads, -1)


class Output(nnx.Module):
    """Merges the heads: kernel `[h, k, d]`, or flat; bias `[d]`."""

    def __init__(self, width: int, *, heads: int, dtype: str, rngs: nnx.Rngs):
        d, h = width, heads
        self.kernel = nnx.Param(_XAVIER(rngs.params(), (d, d)).reshape(h, d // h, d))
        self.bias = nnx.Param(jnp.zeros(d))
        self.dtype = dtype

    def __call__(self, x_bthk: Float[Array, "b t h k"]) -> Float[Array, "b t d"]:
        kernel = self.kernel[...].astype(self.dtype)
        y_btd = x_bthk.reshape(*x_bthk.shape[:2], -1) @ kernel.reshape(-1, kernel.shape[-1])
        return keep_rows(y_btd) + self.bias[...].astype(self.dtype)


def flat(path: tuple[str, ...], kernel: Float[Array, "..."]) -> Float[Array, "..."]:
    """Attention's kernels as matrices, `[... d 3hk]` and `[... hk d]`; any other one as it is.

    TPUs do not lay an axis of 64 numbers out last, so the result of a product with it would have to
    be copied for any other reader. Where devices hold only some of the heads, query, key and value
    stay as they are: heads are not their first axis.
    """
    if path[-2:] == ("out", "kernel"):
        return kernel.reshape(*kernel.shape[:-3], -1, kernel.shape[-1])
    if path[-2:] == ("qkv", "kernel") and not heads_are_split():
        return kernel.reshape(*kernel.shape[:-3], -1)
    return kernel


def heads_are_split() -> bool:
    """Whether every device holds only some of the heads."""
    return jax.sharding.get_abstract_mesh().shape.get(HEAD_AXIS, 1) > 1


def keep_rows(x: Shaped[Array, "b ..."]) -> Shaped[Array, "b ..."]:
    """The same, every device with rows of its own; the other axes are left to the compiler.

    Where "fsdp" splits a kernel, the compiler would as soon split the product in the same way, and
    send activations instead of parameters.
    """
    mesh = jax.sharding.get_abstract_mesh()
    parts = math.prod(mesh.shape.get(axis, 1) for axis in BATCH_AXES)
    if parts == 1 or x.shape[0] % parts:
        return x
    open_axes = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES, *open_axes))
