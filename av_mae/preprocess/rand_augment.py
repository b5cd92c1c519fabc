"""RandAugment of whole clips on the device: a few of fifteen operations in turn, at random.

Cubuk et al. 2020 (arXiv 1909.13719), with the fifteen operations of timm that grow with the
magnitude ("inc1"), their ranges, and its noise on the magnitude ("mstd"). VideoMAE finetunes with
rand-m7-n4-mstd0.5-inc1. All frames of a clip are treated alike.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8

from av_mae.preprocess import picture_ops

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

    Each of the three families is worked out once and the right one chosen: under `vmap` a switch
    would cost as much as all fifteen operations.
    """
    share = strength / STRONGEST
    warped = picture_ops.warp(x_hwcf, _matrix(op, sign * share, *x_hwcf.shape[:2]))
    blended = _blend(x_hwcf, op, sign * share)
    looked_up = picture_ops.look_up(x_hwcf, _table(x_hwcf, op, share))
    kinds = [_among(op, GEOMETRIC), _among(op, BLENDS), _among(op, TABLES)]
    return jnp.select(kinds, [warped, blended, looked_up], x_hwcf)


def _matrix(op: jax.Array, share: jax.Array, height: int, width: int) -> jax.Array:
    """Where the pixels of a geometric operation come from; see `picture_ops.warp`."""
    cos, sin = jnp.cos(_ANGLE * share), -jnp.sin(_ANGLE * share)
    x, y = width / 2, height / 2
    matrices = {
        "rotate": (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y),
        "shear_x": (1.0, _SHEAR * share, 0.0, 0.0, 1.0, 0.0),
        "shear_y": (1.0, 0.0, 0.0, _SHEAR * share, 1.0, 0.0),
        "translate_x": (1.0, 0.0, _SHIFT * share * width, 0.0, 1.0, 0.0),
        "translate_y": (1.0, 0.0, 0.0, 0.0, 1.0, _SHIFT * share * height),
    }
    return _choose(op, {name: jnp.stack(jnp.broadcast_arrays(*m)) for name, m in matrices.items()})


def _blend(x_hwcf: jax.Array, op: jax.Array, share: jax.Array) -> jax.Array:
    grey = picture_ops.grey(x_hwcf)
    bases = [grey, picture_ops.mean_grey(grey), picture_ops.smooth(x_hwcf)]
    kinds = [_among(op, (name,)) for name in ("color", "contrast", "sharpness")]
    black = jnp.zeros_like(grey)
    return picture_ops.blend(x_hwcf, jnp.select(kinds, bases, black), 1.0 + _FACTOR * share)


def _table(x_hwcf: jax.Array, op: jax.Array, share: jax.Array) -> jax.Array:
    """What each value of each channel and frame becomes, `[c f 256]`."""
    counts = picture_ops.histogram(x_hwcf)
    levels = jnp.broadcast_to(jnp.arange(256), counts.shape)
    dropped_bits = 8 - _BITS + (share * _BITS).astype(jnp.int32)
    threshold = 256 - (share * 256).astype(jnp.int32)
    brighter = jnp.minimum(levels + (share * _BRIGHTER).astype(jnp.int32), 255)
    return _choose(
        op,
        {
            "auto_contrast": picture_ops.stretching(counts),
            "equalize": picture_ops.equalising(counts),
            "invert": 255 - levels,
            "posterize": levels >> dropped_bits << dropped_bits,
            "solarize": jnp.where(levels < threshold, levels, 255 - levels),
            "solarize_add": jnp.where(levels < 128, brighter, levels),
        },
    )


def _choose(op: jax.Array, by_name: dict[str, jax.Array]) -> jax.Array:
    """The entry of an operation as float32, zeros if it has none.

    A product, because the compiler would work a selection out anew for every pixel.
    """
    chosen = jnp.stack([op == OPS.index(name) for name in by_name]).astype(jnp.float32)
    entries = jnp.stack(list(by_name.values())).astype(jnp.float32)
    return jnp.tensordot(chosen, entries, 1, precision=jax.lax.Precision.HIGHEST)


def _among(op: jax.Array, names: tuple[str, ...]) -> jax.Array:
    return functools.reduce(jnp.logical_or, [op == OPS.index(name) for name in names])
