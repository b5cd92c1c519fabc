"""Attention's two products: tokens to queries, keys and values, and merged heads back to tokens.

Parameters have an axis of heads; products take them as matrices.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from av_mae.models import attention, layout, primitives


class QueryKeyValue(nnx.Module):
    """The three projections of attention as one product.

    kernel `[d, 3, h, k]`, or flat; bias `[3, h, k]` (qkv), `[2, h, k]` for query and value (qv), or
    none.
    """

    def __init__(self, width: int, *, heads: int, bias: str, dtype: str, rngs: nnx.Rngs):
        d, h = width, heads
        each = [primitives.xavier(rngs.params(), (d, d)).reshape(d, h, d // h) for _ in range(3)]
        self.kernel = nnx.Param(jnp.stack(each, axis=1))
        biases = {"qkv": 3, "qv": 2, "none": 0}[bias]
        self.bias = nnx.Param(jnp.zeros((biases, h, d // h))) if biases else None
        self.heads, self.width = h, d
        self.dtype = dtype

    def __call__(self, x_btd: Float[Array, "b t d"]) -> Float[Array, "b t 3 h k"]:
        kernel = self.kernel[...].astype(self.dtype)
        if attention.heads_are_split():
            y_bt3hk = layout.rows(jnp.einsum("btd,dchk->btchk", x_btd, kernel))
            return y_bt3hk + self._bias()
        y_bte = layout.rows(x_btd @ kernel.reshape(x_btd.shape[-1], -1))
        y_bte = y_bte + self._bias().reshape(-1)
        return y_bte.reshape(*x_btd.shape[:2], 3, self.heads, -1)

    def _bias(self) -> Float[Array, "3 h k"]:
        if self.bias is None:
            return jnp.zeros((3, self.heads, self.width // self.heads), self.dtype)
        bias = self.bias[...].astype(self.dtype)
        if bias.shape[0] == 2:
            bias = jnp.stack([bias[0], jnp.zeros_like(bias[0]), bias[1]])
        return bias


class Output(nnx.Module):
    """Merges the heads: kernel `[h, k, d]`, or flat; bias `[d]`."""

    def __init__(self, width: int, *, heads: int, dtype: str, rngs: nnx.Rngs):
        d, h = width, heads
        self.kernel = nnx.Param(primitives.xavier(rngs.params(), (d, d)).reshape(h, d // h, d))
        self.bias = nnx.Param(jnp.zeros(d))
        self.dtype = dtype

    def __call__(self, x_bthk: Float[Array, "b t h k"]) -> Float[Array, "b t d"]:
        kernel = self.kernel[...].astype(self.dtype)
        y_btd = x_bthk.reshape(*x_bthk.shape[:2], -1) @ kernel.reshape(-1, kernel.shape[-1])
        return layout.rows(y_btd) + self.bias[...].astype(self.dtype)


def flat(path: tuple[str, ...], kernel: Float[Array, "..."]) -> Float[Array, "..."]:
    """Attention's kernels as matrices, `[... d 3hk]` and `[... hk d]`; any other one as it is.

    TPUs do not lay an axis of 64 numbers out last, so that what comes of a product with it has to
    be copied for whoever reads it otherwise. Where devices hold only some of the heads, query, key
    and value stay as they are: heads are not their first axis.
    """
    if path[-2:] == ("out", "kernel"):
        return kernel.reshape(*kernel.shape[:-3], -1, kernel.shape[-1])
    if path[-2:] == ("qkv", "kernel") and not attention.heads_are_split():
        return kernel.reshape(*kernel.shape[:-3], -1)
    return kernel
