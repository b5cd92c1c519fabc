"""Random erasing on the device: a box of noise over the same place of all frames of a clip.

Zhong et al. 2020 (arXiv 1708.04896), as VideoMAE finetunes with it: noise that differs from pixel
to pixel and from frame to frame, N(0, 1) after normalisation.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

AREA = (0.02, 1 / 3)  # share of the picture
ASPECT = (0.3, 1 / 0.3)  # height / width, equally likely by its logarithm
_TRIES = 10  # boxes drawn until one fits; about one in a hundred does not


def erase(
    x_bfhwc: Float[Array, "b f h w 3"], keys_b: Key[Array, " b"], probability: float
) -> Float[Array, "b f h w 3"]:
    """Covers a box of normalised clips by noise, with this probability; one key a clip."""

    def one(x_fhwc: jax.Array, key: jax.Array) -> jax.Array:
        chance_key, box_key, noise_key = jax.random.split(key, 3)
        covered_hw = box(box_key, *x_fhwc.shape[1:3])
        covered_hw &= jax.random.bernoulli(chance_key, probability)
        noise = jax.random.normal(noise_key, x_fhwc.shape)
        return jnp.where(covered_hw[:, :, None], noise, x_fhwc)

    return jax.vmap(one)(x_bfhwc, keys_b)


def box(key: Key[Array, ""], height: int, width: int) -> Bool[Array, "{height} {width}"]:
    """True inside the first of ten random boxes that is smaller than the picture; else nowhere."""
    area_key, aspect_key, y_key, x_key = jax.random.split(key, 4)
    areas = jax.random.uniform(area_key, (_TRIES,), minval=AREA[0], maxval=AREA[1])
    logs = jnp.log(jnp.asarray(ASPECT))
    aspects = jnp.exp(jax.random.uniform(aspect_key, (_TRIES,), minval=logs[0], maxval=logs[1]))
    pixels = areas * (height * width)
    h = jnp.round(jnp.sqrt(pixels * aspects)).astype(jnp.int32)
    w = jnp.round(jnp.sqrt(pixels / aspects)).astype(jnp.int32)
    fits = (h < height) & (w < width)
    h, w = h[fits.argmax()], w[fits.argmax()]
    top = jax.random.randint(y_key, (), 0, jnp.maximum(height - h, 0) + 1)
    left = jax.random.randint(x_key, (), 0, jnp.maximum(width - w, 0) + 1)
    y, x = jnp.arange(height)[:, None], jnp.arange(width)
    inside = (y >= top) & (y < top + h) & (x >= left) & (x < left + w)
    return inside & fits.any()
