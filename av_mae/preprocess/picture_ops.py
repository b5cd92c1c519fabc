"""Operations on 8-bit clips that equal those of Pillow up to rounding: warps, blends, tables.

A clip lies as `[h w c f]` uint8: pixels of one place of all frames side by side, so that a warp
copies rows of memory and everything else runs along them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped, UInt8

GREY = 128  # fills what a warp uncovers
_LEVELS = 256
_TAPS = 4
_LUMA = (19595, 38470, 7471)  # ITU-R 601-2 in 1/65536, as Pillow's mode L
_FINE = 1e-3  # absorbs the rounding of a sum that is a whole number before it is cut


def warp(x_hwcf: UInt8[Array, "h w c f"], matrix: Float[Array, "6"]) -> UInt8[Array, "h w c f"]:
    """Bicubic: pixel (x, y) of the result lies at (m0 x + m1 y + m2, m3 x + m4 y + m5).

    Centres of pixels lie at .5. Pillow's kernel for transforms is Keys' with a = -1 (its kernel for
    resizing has -.5); edges are repeated, and what comes from outside is grey.
    """
    h, w, c, f = x_hwcf.shape
    x = jnp.arange(w) + 0.5
    y = (jnp.arange(h) + 0.5)[:, None]
    from_x = matrix[0] * x + matrix[1] * y + matrix[2]
    from_y = matrix[3] * x + matrix[4] * y + matrix[5]
    inside = (from_x >= 0) & (from_x < w) & (from_y >= 0) & (from_y < h)
    left, weights_x = _taps(from_x)
    top, weights_y = _taps(from_y)
    rows = x_hwcf.reshape(h * w, c * f)

    def add(tap: Any, total: jax.Array) -> jax.Array:
        i, j = tap // _TAPS, tap % _TAPS
        place = jnp.clip(top + i, 0, h - 1) * w + jnp.clip(left + j, 0, w - 1)
        taken = rows.at[place.reshape(-1)].get(mode="promise_in_bounds")
        return total + (weights_y[i] * weights_x[j]).reshape(-1, 1) * taken.astype(jnp.float32)

    total = jax.lax.fori_loop(0, _TAPS * _TAPS, add, jnp.zeros((h * w, c * f), jnp.float32))
    return jnp.where(inside.reshape(-1, 1), _cut(total + _FINE), GREY).reshape(x_hwcf.shape)


def _taps(at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(index of the first of four neighbours along an axis, their weights `[4 ...]`)."""
    start = jnp.floor(at - 0.5)
    d = at - 0.5 - start
    before, after = d * (1 - d) ** 2, (1 - d) * d**2
    weights = jnp.stack([-before, 1 - d * d * (2 - d), 1 - (1 - d) ** 2 * (1 + d), -after])
    return start.astype(jnp.int32) - 1, weights


def blend(
    x_hwcf: UInt8[Array, "h w c f"], base_hwcf: Int[Array, "h w c f"], factor: Float[Array, ""]
) -> UInt8[Array, "h w c f"]:
    """base + factor (x - base): 0 gives the base, 1 the clip, more goes beyond it."""
    base = base_hwcf.astype(jnp.float32)
    return _cut(base + factor * (x_hwcf.astype(jnp.float32) - base))


def grey(x_hwcf: UInt8[Array, "h w c f"]) -> Int[Array, "h w c f"]:
    """The luma of every pixel in all channels."""
    red, green, blue = jnp.moveaxis(x_hwcf.astype(jnp.int32), 2, 0)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue + (1 << 15)
    return jnp.broadcast_to((luma >> 16)[:, :, None], x_hwcf.shape)


def mean_grey(grey_hwcf: Int[Array, "h w c f"]) -> Int[Array, "h w c f"]:
    """The mean of each frame's luma, rounded."""
    pixels = grey_hwcf.shape[0] * grey_hwcf.shape[1]
    total_f = grey_hwcf[:, :, 0].sum((0, 1))
    return jnp.broadcast_to((2 * total_f + pixels) // (2 * pixels), grey_hwcf.shape)


def smooth(x_hwcf: UInt8[Array, "h w c f"]) -> Int[Array, "h w c f"]:
    """Mean of 3 x 3 pixels, the middle one weighing 5; the outermost pixels stay."""
    x = x_hwcf.astype(jnp.int32)
    rows = x[:-2] + x[1:-1] + x[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * x[1:-1, 1:-1]
    return x.at[1:-1, 1:-1].set((2 * total + 13) // 26)


def look_up(
    x_hwcf: UInt8[Array, "h w c f"], table_cfi: Shaped[Array, "c f 256"]
) -> UInt8[Array, "h w c f"]:
    """Replaces every value by its entry in the table of its channel and frame."""
    table = table_cfi.reshape(-1).astype(jnp.uint8)
    return table.at[_entries(x_hwcf)].get(mode="promise_in_bounds")


def histogram(x_hwcf: UInt8[Array, "h w c f"]) -> Int[Array, "c f 256"]:
    """How often each value occurs in each channel of each frame."""
    c, f = x_hwcf.shape[2:]
    counts = jnp.zeros(c * f * _LEVELS, jnp.int32)
    entries = _entries(x_hwcf).reshape(-1)
    return counts.at[entries].add(1, mode="promise_in_bounds").reshape(c, f, _LEVELS)


def _entries(x_hwcf: jax.Array) -> jax.Array:
    """Place of every value's entry among those of all channels and frames, `[h w c f]`."""
    c, f = x_hwcf.shape[2:]
    return x_hwcf.astype(jnp.int32) + _LEVELS * jnp.arange(c * f).reshape(c, f)


def stretching(counts_cfi: Int[Array, "c f 256"]) -> Int[Array, "c f 256"]:
    """The table that maps the darkest value there is to 0 and the lightest to 255."""
    levels = jnp.arange(_LEVELS)
    low = jnp.where(counts_cfi > 0, levels, _LEVELS).min(-1, keepdims=True)
    high = jnp.where(counts_cfi > 0, levels, -1).max(-1, keepdims=True)
    extent = high - low
    stretched = (levels - low) * (_LEVELS - 1) // jnp.maximum(extent, 1)
    return jnp.where(extent > 0, jnp.clip(stretched, 0, _LEVELS - 1), levels)


def equalising(counts_cfi: Int[Array, "c f 256"]) -> Int[Array, "c f 256"]:
    """The table after which all values are about equally frequent."""
    levels = jnp.arange(_LEVELS)
    last = jnp.where(counts_cfi > 0, levels, -1).argmax(-1, keepdims=True)
    most = jnp.take_along_axis(counts_cfi, last, axis=-1)
    step = (counts_cfi.sum(-1, keepdims=True) - most) // (_LEVELS - 1)
    below = jnp.cumsum(counts_cfi, -1) - counts_cfi
    equal = (below + step // 2) // jnp.maximum(step, 1)
    return jnp.where(step > 0, jnp.minimum(equal, _LEVELS - 1), levels)


def _cut(x: jax.Array) -> jax.Array:
    """Floats to the whole numbers below them within 0 to 255."""
    return jnp.clip(x, 0, _LEVELS - 1).astype(jnp.uint8)
