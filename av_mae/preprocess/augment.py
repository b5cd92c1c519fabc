"""RandAugment and random erasing of whole clips on the device; all frames of a clip alike.

RandAugment: Cubuk et al. 2020 (arXiv 1909.13719), with the fifteen operations of timm that grow
with the magnitude ("inc1"), their ranges, and its noise on the magnitude ("mstd"). VideoMAE
finetunes with rand-m7-n4-mstd0.5-inc1. The operations equal those of Pillow up to rounding. They
take a clip as `[h w c f]` uint8: pixels of one place of all frames side by side, so that a warp
copies rows of memory and everything else runs along them.

Random erasing: Zhong et al. 2020 (arXiv 1708.04896), as VideoMAE finetunes with it: noise that
differs from pixel to pixel and from frame to frame, N(0, 1) after normalisation.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
BLENDS = ("color", "contrast", "brightness", "sharpness")
TABLES = ("auto_contrast", "equalize", "invert", "posterize", "solarize", "solarize_add")
OPS = (*GEOMETRIC, *BLENDS, *TABLES)
NONE = len(OPS)  # the operation that changes nothing

CHANCE = 0.5  # of an operation that was drawn to be carried out
STRONGEST = 10.0  # magnitude at which the ranges below end
_ANGLE = math.radians(30.0)
_SHEAR = 0.3
_SHIFT = 0.45  # of the width or height
_FACTOR = 0.9  # of blends: 1 - .9 to 1 + .9
_BITS = 4  # posterize keeps 4 to 0 of 8
_BRIGHTER = 110  # solarize_add

_GREY = 128  # fills what a warp uncovers
_LEVELS = 256
_TAPS = 4
_LUMA = (19595, 38470, 7471)  # ITU-R 601-2 in 1/65536, as Pillow's mode L
_FINE = 1e-3  # absorbs the rounding of a sum that is a whole number before it is cut

_ERASED_AREA = (0.02, 1 / 3)  # share of the picture
_ERASED_ASPECT = (0.3, 1 / 0.3)  # height / width, equally likely by its logarithm
_TRIES = 10  # boxes drawn until one fits; about one in a hundred does not


def rand_augment(
    frames_bfhwc: UInt8[Array, "b f h w 3"],
    keys_b: Key[Array, " b"],
    *,
    layers: int,
    magnitude: float,
    deviation: float,
) -> UInt8[Array, "b f h w 3"]:
    """Draws `layers` operations a clip, with replacement, and carries each out with chance .5.

    Args:
        keys_b: one key a clip.
        magnitude: mean strength, 0 to 10; the strength of an operation is drawn from
            N(magnitude, deviation) and cut to this range.
    """

    def one(x_fhwc: jax.Array, key: jax.Array) -> jax.Array:
        drawn = draw(key, layers, magnitude, deviation)
        step = lambda x, operation: (apply(x, *operation), None)  # noqa: E731
        x_hwcf, _ = jax.lax.scan(step, x_fhwc.transpose(1, 2, 3, 0), drawn)
        return x_hwcf.transpose(3, 0, 1, 2)

    return jax.vmap(one)(frames_bfhwc, keys_b)


def draw(
    key: Key[Array, ""], layers: int, magnitude: float, deviation: float
) -> tuple[Int[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """(operations, strengths, signs) of the layers of one clip, as `apply` takes them."""
    op_key, chance_key, strength_key, sign_key = jax.random.split(key, 4)
    ops = jax.random.randint(op_key, (layers,), 0, len(OPS))
    ops = jnp.where(jax.random.bernoulli(chance_key, CHANCE, (layers,)), ops, NONE)
    strengths = magnitude + deviation * jax.random.normal(strength_key, (layers,))
    signs = jax.random.rademacher(sign_key, (layers,), jnp.float32)
    return ops, jnp.clip(strengths, 0.0, STRONGEST), signs


def apply(
    x_hwcf: UInt8[Array, "h w 3 f"],
    op: Int[Array, ""],
    strength: Float[Array, ""],
    sign: Float[Array, ""],
) -> UInt8[Array, "h w 3 f"]:
    """One operation, `OPS[op]`, at a strength of 0 to 10; some go both ways, by `sign`.

    Each of the three families is computed once and the right one chosen: under `vmap` a switch
    would cost as much as all fifteen operations.
    """
    share = strength / STRONGEST
    warped = _warp(x_hwcf, op, sign * share)
    blended = _blend(x_hwcf, op, sign * share)
    looked_up = _look_up(x_hwcf, op, share)
    families = [jnp.array([OPS.index(n) for n in names]) for names in (GEOMETRIC, BLENDS, TABLES)]
    kinds = [(op == family).any() for family in families]
    return jnp.select(kinds, [warped, blended, looked_up], x_hwcf)


def _warp(x_hwcf: jax.Array, op: jax.Array, share: jax.Array) -> jax.Array:
    """Bicubic: pixel (x, y) of the result lies at (m0 x + m1 y + m2, m3 x + m4 y + m5).

    Centres of pixels lie at .5. Pillow's kernel for transforms is Keys' with a = -1 (its kernel for
    resizing has -.5); edges are repeated, and what comes from outside is grey.
    """
    h, w, c, f = x_hwcf.shape
    cos, sin = jnp.cos(_ANGLE * share), -jnp.sin(_ANGLE * share)
    x, y = w / 2, h / 2
    matrices = {
        "rotate": (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y),
        "shear_x": (1.0, _SHEAR * share, 0.0, 0.0, 1.0, 0.0),
        "shear_y": (1.0, 0.0, 0.0, _SHEAR * share, 1.0, 0.0),
        "translate_x": (1.0, 0.0, _SHIFT * share * w, 0.0, 1.0, 0.0),
        "translate_y": (1.0, 0.0, 0.0, 0.0, 1.0, _SHIFT * share * h),
    }
    matrices = {name: jnp.stack(jnp.broadcast_arrays(*m)) for name, m in matrices.items()}
    matrix = _choose(op, matrices)

    x, y = jnp.arange(w) + 0.5, (jnp.arange(h) + 0.5)[:, None]
    from_x = matrix[0] * x + matrix[1] * y + matrix[2]
    from_y = matrix[3] * x + matrix[4] * y + matrix[5]
    inside = (from_x >= 0) & (from_x < w) & (from_y >= 0) & (from_y < h)
    left, weights_x = _taps(from_x)
    top, weights_y = _taps(from_y)
    pixels = x_hwcf.reshape(h * w, c * f)

    def add(tap: Any, total: jax.Array) -> jax.Array:
        i, j = tap // _TAPS, tap % _TAPS
        place = jnp.clip(top + i, 0, h - 1) * w + jnp.clip(left + j, 0, w - 1)
        taken = pixels.at[place.reshape(-1)].get(mode="promise_in_bounds")
        return total + (weights_y[i] * weights_x[j]).reshape(-1, 1) * taken.astype(jnp.float32)

    total = jax.lax.fori_loop(0, _TAPS * _TAPS, add, jnp.zeros((h * w, c * f), jnp.float32))
    return jnp.where(inside.reshape(-1, 1), _to_bytes(total + _FINE), _GREY).reshape(x_hwcf.shape)


def _taps(at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(index of the first of four neighbours along an axis, their weights `[4 ...]`)."""
    start = jnp.floor(at - 0.5)
    d = at - 0.5 - start
    before, after = d * (1 - d) ** 2, (1 - d) * d**2
    weights = jnp.stack([-before, 1 - d * d * (2 - d), 1 - (1 - d) ** 2 * (1 + d), -after])
    return start.astype(jnp.int32) - 1, weights


def _blend(x_hwcf: jax.Array, op: jax.Array, share: jax.Array) -> jax.Array:
    """base + factor (x - base): 0 gives the base, 1 the clip, more goes beyond it.

    The base is the luma (color), its mean over each frame (contrast), a smoothed clip (sharpness)
    or black (brightness).
    """
    x = x_hwcf.astype(jnp.int32)
    red, green, blue = jnp.moveaxis(x, 2, 0)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue + (1 << 15)
    grey = jnp.broadcast_to((luma >> 16)[:, :, None], x.shape)
    pixels = x.shape[0] * x.shape[1]
    mean_f = (2 * grey[:, :, 0].sum((0, 1)) + pixels) // (2 * pixels)  # rounded
    # Mean of 3 x 3 pixels, the middle one weighing 5; the outermost pixels stay.
    rows = x[:-2] + x[1:-1] + x[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * x[1:-1, 1:-1]
    smooth = x.at[1:-1, 1:-1].set((2 * total + 13) // 26)

    bases = [grey, jnp.broadcast_to(mean_f, x.shape), smooth]
    kinds = [op == OPS.index(name) for name in ("color", "contrast", "sharpness")]
    base = jnp.select(kinds, bases, jnp.zeros_like(x)).astype(jnp.float32)
    return _to_bytes(base + (1.0 + _FACTOR * share) * (x_hwcf.astype(jnp.float32) - base))


def _look_up(x_hwcf: jax.Array, op: jax.Array, share: jax.Array) -> jax.Array:
    """Replaces every value by its entry in the table `[256]` of its channel and frame."""
    c, f = x_hwcf.shape[2:]
    entries = x_hwcf.astype(jnp.int32) + _LEVELS * jnp.arange(c * f).reshape(c, f)
    counts = jnp.zeros(c * f * _LEVELS, jnp.int32)
    counts = counts.at[entries.reshape(-1)].add(1, mode="promise_in_bounds")
    counts_cfi = counts.reshape(c, f, _LEVELS)
    levels = jnp.broadcast_to(jnp.arange(_LEVELS), counts_cfi.shape)
    dropped_bits = 8 - _BITS + (share * _BITS).astype(jnp.int32)
    threshold = _LEVELS - (share * _LEVELS).astype(jnp.int32)
    brighter = jnp.minimum(levels + (share * _BRIGHTER).astype(jnp.int32), _LEVELS - 1)
    tables = {
        "auto_contrast": _stretching(counts_cfi),
        "equalize": _equalising(counts_cfi),
        "invert": _LEVELS - 1 - levels,
        "posterize": levels >> dropped_bits << dropped_bits,
        "solarize": jnp.where(levels < threshold, levels, _LEVELS - 1 - levels),
        "solarize_add": jnp.where(levels < _LEVELS // 2, brighter, levels),
    }
    table = _choose(op, tables).reshape(-1).astype(jnp.uint8)
    return table.at[entries].get(mode="promise_in_bounds")


def _stretching(counts_cfi: jax.Array) -> jax.Array:
    """The table that maps the darkest value there is to 0 and the lightest to 255."""
    levels = jnp.arange(_LEVELS)
    low = jnp.where(counts_cfi > 0, levels, _LEVELS).min(-1, keepdims=True)
    high = jnp.where(counts_cfi > 0, levels, -1).max(-1, keepdims=True)
    extent = high - low
    stretched = (levels - low) * (_LEVELS - 1) // jnp.maximum(extent, 1)
    return jnp.where(extent > 0, jnp.clip(stretched, 0, _LEVELS - 1), levels)


def _equalising(counts_cfi: jax.Array) -> jax.Array:
    """The table after which all values are about equally frequent."""
    levels = jnp.arange(_LEVELS)
    last = jnp.where(counts_cfi > 0, levels, -1).argmax(-1, keepdims=True)
    most = jnp.take_along_axis(counts_cfi, last, axis=-1)
    step = (counts_cfi.sum(-1, keepdims=True) - most) // (_LEVELS - 1)
    below = jnp.cumsum(counts_cfi, -1) - counts_cfi
    equal = (below + step // 2) // jnp.maximum(step, 1)
    return jnp.where(step > 0, jnp.minimum(equal, _LEVELS - 1), levels)


def _choose(op: jax.Array, by_name: dict[str, jax.Array]) -> jax.Array:
    """The entry of an operation as float32, zeros if it has none.

    A product, because the compiler would compute a selection anew for every pixel.
    """
    chosen = jnp.stack([op == OPS.index(name) for name in by_name]).astype(jnp.float32)
    entries = jnp.stack(list(by_name.values())).astype(jnp.float32)
    return jnp.tensordot(chosen, entries, 1, precision=jax.lax.Precision.HIGHEST)


def _to_bytes(x: jax.Array) -> jax.Array:
    """Floats to the whole numbers below them within 0 to 255."""
    return jnp.clip(x, 0, _LEVELS - 1).astype(jnp.uint8)


def erase(
    x_bfhwc: Float[Array, "b f h w 3"], keys_b: Key[Array, " b"], probability: float
) -> Float[Array, "b f h w 3"]:
    """Covers a box of normalised clips by noise, with this probability; one key a clip."""

    def one(x_fhwc: jax.Array, key: jax.Array) -> jax.Array:
        chance_key, box_key, noise_key = jax.random.split(key, 3)
        covered_hw = _box(box_key, *x_fhwc.shape[1:3])
        covered_hw &= jax.random.bernoulli(chance_key, probability)
        noise = jax.random.normal(noise_key, x_fhwc.shape)
        return jnp.where(covered_hw[:, :, None], noise, x_fhwc)

    return jax.vmap(one)(x_bfhwc, keys_b)


def _box(key: Key[Array, ""], height: int, width: int) -> Bool[Array, "{height} {width}"]:
    """True inside the first of ten random boxes that is smaller than the picture; else nowhere."""
    area_key, aspect_key, y_key, x_key = jax.random.split(key, 4)
    areas = jax.random.uniform(area_key, (_TRIES,), minval=_ERASED_AREA[0], maxval=_ERASED_AREA[1])
    logs = jnp.log(jnp.asarray(_ERASED_ASPECT))
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
