"""Crops cut on the device, from pictures that the host only decoded: it has less to do.

One canvas serves all copies of a clip (dataset.repeat). Values are those of the host's crops
(`av_mae.input.pictures.crops`) to the rounding of a grey level.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

# Three passes of bfloat16 products on a TPU, TF32 on a GPU: a tenth of a grey level.
_PRECISION = jax.lax.Precision.HIGH


def crops(
    canvas_cfhwx: UInt8[Array, "c f H W 3"], boxes_cr4: Float[Array, "c r 4"], size: int
) -> UInt8[Array, "c*r f {size} {size} 3"]:
    """Cuts r boxes (y, x, h, w) in pixels out of every clip, scaled to `size`, a clip's together.

    Bilinear between pixel centres inside the box, as two products with matrices of weights: no
    gathers, which TPUs are slow at.
    """
    height, width = canvas_cfhwx.shape[2:4]
    y_cr, x_cr, h_cr, w_cr = jnp.moveaxis(boxes_cr4, -1, 0)
    rows_crsh = _weights(y_cr, h_cr, size, height)
    columns_crsw = _weights(x_cr, w_cr, size, width)
    pixels = canvas_cfhwx.astype(jnp.float32)
    pixels = jnp.einsum("crsh,cfhwx->crfswx", rows_crsh, pixels, precision=_PRECISION)
    pixels = jnp.einsum("crtw,crfswx->crfstx", columns_crsw, pixels, precision=_PRECISION)
    return (pixels + 0.5).astype(jnp.uint8).reshape(-1, *pixels.shape[2:])


def _weights(
    start_cr: Float[Array, "c r"], extent_cr: Float[Array, "c r"], size: int, pixels: int
) -> Float[Array, "c r {size} {pixels}"]:
    """Shares of a canvas' rows, or columns, in each row of a crop; those of one row sum to 1."""
    start, extent = start_cr[..., None], extent_cr[..., None]
    places = start + (jnp.arange(size) + 0.5) * extent / size - 0.5
    places = jnp.clip(places, start, jnp.maximum(start + extent - 1, start))
    return jnp.maximum(1 - jnp.abs(places[..., None] - jnp.arange(pixels)), 0)
