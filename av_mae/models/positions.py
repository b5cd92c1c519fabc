"""Where a token lies: fixed sinusoidal tables and learned ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from av_mae.config import modality as modality_lib
from av_mae.config.limits import ConfigError


def learned(modality: modality_lib.Modality, width: int, *, rngs: nnx.Rngs) -> nnx.Param:
    """A table `[n, width]` of learned positions, normal(0.02)."""
    return nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (modality.tokens, width)))


def check(kind: str, modality: modality_lib.Modality, width: int, key: str) -> None:
    """Raises ConfigError if the width, a config's `key`, holds no such positions."""
    if kind == "sincos3d":
        try:
            sincos_axes(modality.grid, width)
        except ValueError as error:
            raise ConfigError(f"{key}: modalities.{modality.name}: {error}") from error


def table(
    kind: str, modality: modality_lib.Modality, width: int, parameter: nnx.Param | None
) -> jax.Array:
    """Positions `[n, width]` of a modality's tokens, float32; `parameter` holds learned ones."""
    if parameter is not None:
        return parameter[...]
    if kind == "sincos":
        return jnp.asarray(sincos(modality.tokens, width))
    return jnp.asarray(sincos_axes(modality.grid, width))


def resize(
    table_nd: Float[np.ndarray, "n d"], old: tuple[int, ...], new: tuple[int, ...]
) -> Float[np.ndarray, "m d"]:
    """A table on another token grid, by cubic interpolation along every axis that changes.

    The kernel is PyTorch's bicubic (a = -0.75, corners not aligned, no antialiasing, edges held),
    which VideoMAE and mmaction2 use.
    """
    table = table_nd.reshape(*old, -1)
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after:
            table = np.moveaxis(np.tensordot(_cubic(before, after), table, (1, axis)), 0, axis)
    return table.reshape(-1, table_nd.shape[-1]).astype(table_nd.dtype)


def _cubic(old: int, new: int) -> Float[np.ndarray, "m n"]:
    """Weights of `old` values in each of `new` ones (Keys 1981)."""
    a = -0.75
    places = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        index = np.floor(places).astype(int) + tap
        t = np.abs(places - index)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        kernel = np.where(t <= 1, near, far)
        np.add.at(weights, (np.arange(new), np.clip(index, 0, old - 1)), kernel)
    return weights


@functools.cache
def sincos(n: int, width: int) -> Float[np.ndarray, "n d"]:
    """Columns 2i, 2i+1 are sin, cos of p / 10000^(2i / width) (Vaswani et al. 2017).

    One dimension over the flattened tokens, computed in float64, as in Scenic and VideoMAE.
    """
    columns = np.arange(width)
    angles = np.arange(n)[:, None] / 10000.0 ** (2 * (columns // 2) / width)
    return np.where(columns % 2 == 0, np.sin(angles), np.cos(angles)).astype(np.float32)


@functools.cache
def sincos_axes(grid: tuple[int, ...], width: int) -> Float[np.ndarray, "n d"]:
    """One block of columns for each grid axis: sines, then cosines, of 10000^(-j / m).

    The blocks come in the order t, x, y, where y is the next-to-last axis and x the last, as in
    Scenic's sinusoidal_3d and (for grids of one slot) sinusoidal_2d. An axis with a single place
    has no block.

    Raises:
        ValueError: `width` does not split into sines and cosines of every axis.
    """
    axes = [axis for axis, extent in enumerate(grid) if extent > 1] or [0]
    axes = [*axes[:-2], *reversed(axes[-2:])]
    if width % (2 * len(axes)):
        raise ValueError(
            f"positions sincos3d need a width divisible by {2 * len(axes)} on a {grid} token grid, "
            f"got {width}; change the width or use positions sincos"
        )
    count = width // (2 * len(axes))
    frequencies = 10000.0 ** (-np.arange(count) / count)
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij")).reshape(len(grid), -1)
    angles = [places[axis][:, None] * frequencies for axis in axes]
    return np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], 1).astype(np.float32)
