"""Which tokens the encoder does not see: a mask is 1 (True) where a token is hidden.

The counts of visible and hidden tokens are static (`Modality.hidden`), so shapes never depend on a
draw. Tokens move only by gathers, forwards and backwards: a scatter is slow on every backend.
"""

import math
import zlib
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, Bool, Float, Int, Key

from av_mae.config import modality as modality_lib

# An array; jax transformations also build pytrees around placeholders, which no check may refuse.
Leaf = Any


@flax.struct.dataclass
class Mask:
    """Token indices of a batch, split into the visible and the hidden ones.

    Attributes:
        visible: `[b v]`, in ascending order where this module makes them.
        hidden: `[b h]`, likewise.
        place: `[b n]`, where token j stands in the concatenation [visible; hidden].
    """

    visible: Leaf
    hidden: Leaf
    place: Leaf

    def as_bool(self) -> Bool[Array, "b n"]:
        """True where a token is hidden."""
        return self.place >= self.visible.shape[1]


def draw(keys_b: Key[Array, "b"], modality: modality_lib.Modality) -> Mask:
    """Draws the hidden tokens of every example from its own key, folded with the modality's name.

    `random`: any tokens (MAE, He et al. 2022). `tube`: the same places in every time slot
    (VideoMAE, Tong et al. 2022). `time`, `freq`, `time_freq`: whole columns and rows of the
    spectrogram (Audio-MAE, Huang et al. 2022).
    """
    grid, ratio, kind = modality.grid, modality.mask_ratio, modality.masking

    def one(key: jax.Array) -> jax.Array:
        if kind == "random":
            return _choose(key, modality.tokens, modality.hidden)
        if kind == "tube":
            places = math.prod(grid[1:])
            return jnp.tile(_choose(key, places, int(ratio * places)), grid[0])
        times, freqs = modality_lib.hidden_columns(grid, ratio, kind)
        time_key, freq_key = jax.random.split(key)
        time_t, freq_m = _choose(time_key, grid[0], times), _choose(freq_key, grid[1], freqs)
        return (time_t[:, None] | freq_m[None, :]).reshape(-1)

    number = zlib.crc32(f"mask {modality.name}".encode()) & 0x7FFFFFFF
    own_keys_b = jax.vmap(jax.random.fold_in, (0, None))(keys_b, number)
    return from_bool(jax.vmap(one)(own_keys_b), modality.hidden)


def from_bool(mask_bn: Bool[Array, "b n"], hidden: int) -> Mask:
    """Indices of a boolean mask with exactly `hidden` True entries in every row.

    Raises:
        ValueError: another number of entries (found only when the mask is not traced).
    """
    if not isinstance(mask_bn, core.Tracer):
        counts = set(np.asarray(mask_bn).sum(1).tolist())
        if counts - {hidden}:
            raise ValueError(
                f"mask hides {sorted(counts)} tokens a row, expected {hidden} in every row; "
                "change the mask or the modality's mask_ratio"
            )
    visible = mask_bn.shape[1] - hidden
    index_n = jnp.arange(mask_bn.shape[1], dtype=jnp.int32)
    # Counted by comparing all pairs: a sort or a running sum is slower to run and to compile.
    earlier_bnn = mask_bn[:, None, :] & (index_n[None, :] < index_n[:, None])
    hidden_before_bn = earlier_bnn.sum(2, dtype=jnp.int32)
    seen_before_bn = index_n - hidden_before_bn
    place_bn = jnp.where(mask_bn, visible + hidden_before_bn, seen_before_bn)
    order_bn = jnp.where(place_bn[:, None, :] == index_n[:, None], index_n, 0).sum(2)
    return Mask(order_bn[:, :visible], order_bn[:, visible:], place_bn)


def take(x_bnd: Float[Array, "b n d"], index_bk: Int[Array, "b k"]) -> Float[Array, "b k d"]:
    """Gathers tokens."""
    return jnp.take_along_axis(x_bnd, index_bk[..., None], axis=1, mode="promise_in_bounds")


@jax.custom_vjp
def merge(
    visible_bvd: Float[Array, "b v d"], fill_d: Float[Array, "d"], mask: Mask
) -> Float[Array, "b n d"]:
    """Puts visible tokens back in their places and `fill_d` in the places of the hidden ones."""
    fill_b1d = jnp.broadcast_to(fill_d, (visible_bvd.shape[0], 1, fill_d.shape[0]))
    padded = jnp.concatenate([visible_bvd, fill_b1d.astype(visible_bvd.dtype)], axis=1)
    return take(padded, jnp.minimum(mask.place, visible_bvd.shape[1]))


def _merge_backward(saved, grad_bnd):
    like_fill, mask = saved
    hidden_bn1 = mask.as_bool()[..., None]
    fill_d = jnp.where(hidden_bn1, grad_bnd, 0).sum((0, 1), dtype=jnp.float32)
    return take(grad_bnd, mask.visible), fill_d.astype(like_fill.dtype), None


merge.defvjp(
    lambda x_bvd, fill_d, mask: (merge(x_bvd, fill_d, mask), (jnp.zeros((), fill_d.dtype), mask)),
    _merge_backward,
)


@jax.custom_vjp
def take_hidden(x_bnd: Float[Array, "b n d"], mask: Mask) -> Float[Array, "b h d"]:
    """The hidden tokens of a full sequence, in the order of `mask.hidden`."""
    return take(x_bnd, mask.hidden)


def _take_hidden_backward(mask, grad_bhd):
    if not grad_bhd.shape[1]:
        return jnp.zeros((*mask.place.shape, grad_bhd.shape[2]), grad_bhd.dtype), None
    source_bn = jnp.maximum(mask.place - mask.visible.shape[1], 0)
    return jnp.where(mask.as_bool()[..., None], take(grad_bhd, source_bn), 0), None


take_hidden.defvjp(lambda x_bnd, mask: (take_hidden(x_bnd, mask), mask), _take_hidden_backward)


def _choose(key: jax.Array, n: int, count: int) -> jax.Array:
    """Bool `[n]` with exactly `count` True entries, every choice equally likely.

    The low bits of the noise hold the index, so that no two entries tie at the threshold.
    """
    low = jnp.uint32((1 << max(n - 1, 1).bit_length()) - 1)
    noise_n = (jax.random.bits(key, (n,)) & ~low) | jnp.arange(n, dtype=jnp.uint32)
    return noise_n < jnp.sort(noise_n)[count]
