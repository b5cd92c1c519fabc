"""What blocks and heads are made of: dense layer and layer norm.

Parameters are float32; products run in the given dtype, norms in float32.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from av_mae.models import layout

xavier = nnx.initializers.xavier_uniform()


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
        kernel_init: Callable[..., jax.Array] = xavier,
        bias_init: Callable[..., jax.Array] = nnx.initializers.zeros,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (width_in, width_out)))
        self.bias = nnx.Param(bias_init(rngs.params(), (width_out,))) if bias else None
        self.dtype = dtype

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        y = layout.rows(x.astype(self.dtype) @ self.kernel[...].astype(self.dtype))
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(var + eps) * scale + bias over the last axis, in float32."""

    def __init__(self, width: int, eps: float):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.eps = eps

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        norm = functools.partial(_layer_norm, eps=self.eps)
        return cheaply(norm)(x, self.scale[...], self.bias[...])


def _layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, eps: float) -> jax.Array:
    y = x.astype(jnp.float32)
    mean = y.mean(-1, keepdims=True)
    variance = jnp.square(y - mean).mean(-1, keepdims=True)
    return ((y - mean) * (jax.lax.rsqrt(variance + eps) * scale) + bias).astype(x.dtype)


def cheaply(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Keeps only the arguments for the backward pass: less to store than elementwise steps are."""
    return jax.checkpoint(function, prevent_cse=False)
