"""What tells one run from another: bits, shapes and types of its arrays, its labels, its config."""

import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from av_mae.config import schema
from av_mae.experiment import sharding


class OtherRunError(schema.ConfigError):
    """The checkpoints are whole, but of a run with other arrays."""


def digest(tree: Any) -> dict[str, int]:
    """Sum of the bits of every array as unsigned integers, by path; layout plays no part."""
    arrays = named(tree)
    return dict(zip(arrays, map(int, jax.device_get(_bit_sums([*arrays.values()]))), strict=True))


def of_host(tree: Any) -> dict[str, int]:
    """`digest` of numpy arrays."""
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32}
    sums = {
        name: np.sum(np.ascontiguousarray(x).view(unsigned[x.dtype.itemsize]), dtype=np.uint64)
        for name, x in named(tree).items()
    }
    return {name: int(total % 2**32) for name, total in sums.items()}


def named(tree: Any) -> dict[str, Any]:
    """Every array by its path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {sharding.path_name(path): leaf for path, leaf in leaves}


def shapes(tree: Any) -> dict[str, list[int]]:
    """Shape of every array, by path."""
    return {name: list(x.shape) for name, x in named(tree).items()}


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
    every = {**expected, **found}
    wrong = [k for k in every if k.startswith(keys) and found.get(k) != expected.get(k)]
    if wrong:
        raise schema.ConfigError(f"{len(wrong)} arrays differ from their digest, first {wrong[0]}")


def compare_labels(before: Sequence[str], now: Sequence[str], path: pathlib.Path) -> None:
    """Makes sure that a classifier meets the labels it was trained on, in their order.

    Raises:
        ConfigError: it does not; names the first label that differs.
    """
    for number, (old, new) in enumerate(itertools.zip_longest(before, now)):
        if old != new:
            raise OtherRunError(
                f"{path} holds a run with other labels, or in another order (label {number}: "
                f"{old!r} -> {new!r}); use the records that it was trained on, or another --workdir"
            )


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`"lr: 0.1 -> 0.2"` for every key of two configs that is not the same."""
    old, new = (
        traverse_util.flatten_dict(json.loads(json.dumps(c)), keep_empty_nodes=True, sep=".")
        for c in (before, now)
    )
    return [f"{k}: {old.get(k)!r} -> {new.get(k)!r}" for k in old | new if old.get(k) != new.get(k)]


@jax.jit
def _bit_sums(leaves: Sequence[jax.Array]) -> list[jax.Array]:
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}
    bits = (
        x if x.dtype == bool else jax.lax.bitcast_convert_type(x, unsigned[x.dtype.itemsize])
        for x in leaves
    )
    return [jnp.sum(x.astype(jnp.uint32), dtype=jnp.uint32) for x in bits]
