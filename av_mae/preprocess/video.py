"""Pixels on the device: crops, normalisation, flips and colour augmentation of uint8 frames."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

BRIGHTNESS = 32.0 / 255.0
SATURATION = (0.6, 1.4)
CONTRAST = (0.6, 1.4)
HUE = 0.2
LUMA = (0.2989, 0.5870, 0.1140)

Clips = Float[Array, "b f h w 3"]
Planes = Float[Array, "3 f h w"]
Color = tuple[float, ...]  # a value a channel

# Of crops: three passes of bfloat16 products on a TPU, TF32 on a GPU; a tenth of a grey level.
_PRECISION = jax.lax.Precision.HIGH


def crops(
    canvas_cfhwx: UInt8[Array, "c f H W 3"], boxes_cr4: Float[Array, "c r 4"], size: int
) -> UInt8[Array, "c*r f {size} {size} 3"]:
    """Cuts r boxes (y, x, h, w) in pixels out of every clip, scaled to `size`, a clip's together.

    The host has decoded the clips once, onto canvases that serve all copies (dataset.repeat).
    Values are those of its own crops (`av_mae.input.pictures.crops`) to the rounding of a grey
    level. Bilinear between pixel centres inside the box, as two products with matrices of weights:
    no gathers, which TPUs are slow at.
    """

    def weights(start_cr: jax.Array, extent_cr: jax.Array, pixels: int) -> jax.Array:
        """Shares `[c r size pixels]` of a canvas' rows, or columns, in each row of a crop."""
        start, extent = start_cr[..., None], extent_cr[..., None]
        places = start + (jnp.arange(size) + 0.5) * extent / size - 0.5
        places = jnp.clip(places, start, jnp.maximum(start + extent - 1, start))
        return jnp.maximum(1 - jnp.abs(places[..., None] - jnp.arange(pixels)), 0)

    y_cr, x_cr, h_cr, w_cr = jnp.moveaxis(boxes_cr4, -1, 0)
    rows_crsh = weights(y_cr, h_cr, canvas_cfhwx.shape[2])
    columns_crsw = weights(x_cr, w_cr, canvas_cfhwx.shape[3])
    pixels = canvas_cfhwx.astype(jnp.float32)
    pixels = jnp.einsum("crsh,cfhwx->crfswx", rows_crsh, pixels, precision=_PRECISION)
    pixels = jnp.einsum("crtw,crfswx->crfstx", columns_crsw, pixels, precision=_PRECISION)
    return (pixels + 0.5).astype(jnp.uint8).reshape(-1, *pixels.shape[2:])


def normalise(x_bfhwc: Clips, mean: Color, std: Color) -> Clips:
    """(x - mean) / std per channel, x in [0, 1]."""
    return (x_bfhwc - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def remove_still(x_bfhwc: Clips, color: Color) -> Clips:
    """Replaces each pixel's mean over the frames by a colour: what is left is what moves."""
    return x_bfhwc - x_bfhwc.mean(1, keepdims=True) + np.asarray(color, np.float32)


def denormalise(
    x_bfhwc: Float[Array, "*b f h w 3"], mean: Color, std: Color
) -> Float[Array, "*b f h w 3"]:
    """Inverse of `normalise`; predictions may leave [0, 1]."""
    return x_bfhwc * np.asarray(std, np.float32) + np.asarray(mean, np.float32)


def augment(
    x_bfhwc: Clips,
    keys_b: Key[Array, " b"],
    *,
    flip: float = 0.0,
    color: float = 0.0,
    gray: float = 0.0,
) -> Clips:
    """Flips and recolours clips in [0, 1]; every frame of a clip is treated alike.

    Args:
        keys_b: one key a clip, so that the draws do not depend on how the batch is laid out.
        flip: probability of a horizontal flip.
        color: probability of colour jitter (`jitter`).
        gray: probability of replacing colour by luma.
    """

    def one(x_fhwc: jax.Array, key: jax.Array) -> jax.Array:
        flip_key, color_key, jitter_key, gray_key = jax.random.split(key, 4)
        if flip:
            x_fhwc = jnp.where(jax.random.bernoulli(flip_key, flip), x_fhwc[:, :, ::-1], x_fhwc)
        if color:
            x_fhwc = jnp.where(
                jax.random.bernoulli(color_key, color), jitter(x_fhwc, jitter_key), x_fhwc
            )
        if gray:
            luma = (x_fhwc * np.asarray(LUMA, np.float32)).sum(-1, keepdims=True)
            x_fhwc = jnp.where(jax.random.bernoulli(gray_key, gray), luma, x_fhwc)
        return x_fhwc

    return jax.vmap(one)(x_bfhwc, keys_b)


def jitter(x_fhwc: Float[Array, "f h w 3"], key: Key[Array, ""]) -> Float[Array, "f h w 3"]:
    """Brightness, saturation, contrast and hue, in this order, by one draw for the whole clip.

    Strengths and order of Scenic's av_mae (Georgescu et al. 2023).
    """
    brightness, saturation, contrast, hue = jax.random.split(key, 4)
    # Whole planes of a colour are several times faster than interleaved pixels.
    x = jnp.moveaxis(x_fhwc, -1, 0)
    x = x + jax.random.uniform(brightness, minval=-BRIGHTNESS, maxval=BRIGHTNESS)
    x = jnp.clip(x, 0.0, 1.0)  # saturation and hue have no meaning outside
    factor = jax.random.uniform(saturation, minval=SATURATION[0], maxval=SATURATION[1])
    x = adjust_saturation(x, factor)
    x = adjust_contrast(x, jax.random.uniform(contrast, minval=CONTRAST[0], maxval=CONTRAST[1]))
    x = rotate_hue(x, jax.random.uniform(hue, minval=-HUE, maxval=HUE))
    return jnp.moveaxis(jnp.clip(x, 0.0, 1.0), 0, -1)


def adjust_saturation(x_cfhw: Planes, factor: Float[Array, ""]) -> Planes:
    """Multiplies the HSV saturation, at most up to 1.

    HSV keeps the largest channel v and moves the others along v - x, so no conversion is needed.
    """
    v = x_cfhw.max(0)
    chroma = v - x_cfhw.min(0)
    limit = jnp.where(chroma > 0, v / jnp.where(chroma > 0, chroma, 1.0), 1.0)
    return v - jnp.minimum(factor, limit) * (v - x_cfhw)


def adjust_contrast(x_cfhw: Planes, factor: Float[Array, ""]) -> Planes:
    """Scales the distance to the mean of each frame and channel."""
    mean = x_cfhw.mean((2, 3), keepdims=True)
    return mean + factor * (x_cfhw - mean)


def rotate_hue(x_cfhw: Planes, turns: Float[Array, ""]) -> Planes:
    """Adds `turns` of the colour circle to the HSV hue; value and saturation stay."""
    r, g, b = x_cfhw
    v = x_cfhw.max(0)
    chroma = v - x_cfhw.min(0)
    scale = 1.0 / jnp.where(chroma > 0, chroma, 1.0)
    # Not v == r: a compiler may compute either side twice and round differently. At ties the
    # three forms agree, so it does not matter which one an inequality chooses.
    sixth = jnp.where(
        (r >= g) & (r >= b),
        (g - b) * scale,
        jnp.where(g >= b, 2.0 + (b - r) * scale, 4.0 + (r - g) * scale),
    )
    sixth = sixth + 6.0 * turns

    def channel(offset: int) -> jax.Array:
        k = offset + sixth
        k = k - 6.0 * jnp.floor(k / 6.0)
        return v - chroma * jnp.clip(jnp.minimum(k, 4.0 - k), 0.0, 1.0)

    return jnp.stack([channel(5), channel(3), channel(1)])
