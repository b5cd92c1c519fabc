"""What tells one tree of arrays from another: the sum of their bits, their shapes and types."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from av_mae.config import schema
from av_mae.experiment import sharding


def digest(tree: Any) -> dict[str, int]:
    """Sum of the bits of every array as unsigned integers, by path; layout plays no part."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    sums = jax.device_get(_bit_sums([leaf for _, leaf in leaves]))
    return {sharding.path_name(path): int(s) for (path, _), s in zip(leaves, sums, strict=True)}


def of_host(tree: Any) -> dict[str, int]:
    """`digest` of numpy arrays."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32}
    return {
        sharding.path_name(path): int(
            np.sum(np.ascontiguousarray(x).view(unsigned[x.dtype.itemsize]), dtype=np.uint64)
            % 2**32
        )
        for path, x in leaves
    }


def shapes(tree: Any) -> dict[str, list[int]]:
    """Shape of every array, by path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {sharding.path_name(path): list(leaf.shape) for path, leaf in leaves}


def dtypes(tree: Any) -> dict[str, str]:
    """Type of every array, by path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {sharding.path_name(path): str(leaf.dtype) for path, leaf in leaves}


def difference(found: Any, wanted: Any) -> str:
    """Says how the shapes of two trees differ; "" if they do not."""
    have, want = shapes(found), shapes(wanted)
    wrong = sorted(k for k in have.keys() | want.keys() if have.get(k) != want.get(k))
    if not wrong:
        return ""
    name = wrong[0]
    sides = f"{have.get(name)} there, {want.get(name)} wanted"
    return f"{len(wrong)} arrays differ, first {name}: {sides}"


def compare(found: dict[str, int], expected: dict[str, int], keys: tuple[str, ...] = ("",)) -> None:
    """Compares the digests of all paths that begin with one of `keys`.

    Raises:
        ConfigError: some differ.
    """
    wanted = {k: v for k, v in expected.items() if k.startswith(keys)}
    wrong = [k for k, v in wanted.items() if found.get(k) != v]
    if wrong:
        raise schema.ConfigError(f"{len(wrong)} arrays differ from their digest, first {wrong[0]}")


@jax.jit
def _bit_sums(leaves: Sequence[jax.Array]) -> list[jax.Array]:
    return [jnp.sum(_bits(leaf).astype(jnp.uint32), dtype=jnp.uint32) for leaf in leaves]


def _bits(x: jax.Array) -> jax.Array:
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
    return x if x.dtype == bool else jax.lax.bitcast_convert_type(x, unsigned)
