"""The device mesh, one table of rules that lays arrays out on it, and batches over hosts."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from av_mae import config

# The batch is split over both axes; parameters only over "fsdp".
BATCH = PartitionSpec(("data", "fsdp"))

# (path pattern, first axis that may be split): the last axis from there on that the fsdp axis
# divides is split. Stacked layers keep axis 0 whole, so that a scan over layers stays local.
RULES = (
    (r"blocks/.*kernel", 1),
    (r"kernel", 0),
)


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """Mesh of all devices: `fsdp` of them share one copy of the parameters, the rest repeat it.

    Raises:
        ConfigError: the number of devices is not a multiple of `fsdp`.
    """
    count = len(devices) if devices else jax.device_count()
    if fsdp < 1 or count % fsdp:
        fitting = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
        raise config.ConfigError(
            f"compute.fsdp is {fsdp} with {count} devices; use one of {fitting}"
        )
    axis_types = (AxisType.Auto, AxisType.Auto)
    shape = (count // fsdp, fsdp)
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=axis_types, devices=devices)


def check_batch(batch_size: int, mesh: Mesh, key: str = "batch_size") -> None:
    """Raises ConfigError unless every device gets the same number of rows."""
    count = mesh.size
    if batch_size % count:
        below, above = batch_size // count * count, (batch_size // count + 1) * count
        choice = f"{below} or {above}" if below else f"{above}"
        raise config.ConfigError(
            f"{key} {batch_size} is not divisible by {count} devices; use {choice}"
        )


def within(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, traced with the mesh known: kernels have to be told how arrays are split."""

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args, **kwargs)

    return told


def jit_replicated(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function jitted on the mesh; every device has the whole of what it returns."""
    return jax.jit(within(mesh, function), out_shardings=replicated(mesh))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, BATCH)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def tree_shardings(tree: Any, mesh: Mesh) -> Any:
    """A NamedSharding for every leaf of a tree of arrays or shapes, by `RULES` on its path.

    Optimizer moments and averaged parameters carry the parameter's path at their end, so they are
    laid out as the parameter is.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, _spec(path_name(path), leaf.shape, mesh)), tree
    )


def path_name(path: tuple[Any, ...]) -> str:
    """`"encoders/video/blocks/..."` of a jax key path."""
    return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)


def host_share(mesh: Mesh, batch_size: int) -> tuple[int, int]:
    """(which contiguous share of the global batch this process feeds, number of shares).

    Raises:
        ConfigError: the mesh gives this process rows that do not form one contiguous share.
    """
    rows = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    spans = {index[0].indices(batch_size)[:2] for index in rows.values() if index}
    start, stop = min(s for s, _ in spans), max(e for _, e in spans)
    if sum(e - s for s, e in spans) != stop - start or batch_size % (stop - start):
        raise config.ConfigError(
            f"this process feeds rows {sorted(spans)} of {batch_size}, which are not contiguous; "
            "choose compute.fsdp so that it divides the devices of one host"
        )
    return start // (stop - start), batch_size // (stop - start)


def to_devices(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Assembles every host's rows `[b/hosts ...]` into global arrays `[b ...]`."""
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def _spec(name: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    fsdp = mesh.shape["fsdp"]
    first = next((start for pattern, start in RULES if re.search(pattern, name)), None)
    if fsdp == 1 or first is None:
        return PartitionSpec()
    for axis in reversed(range(first, len(shape))):
        if shape[axis] % fsdp == 0:
            return PartitionSpec(*(None,) * axis, "fsdp")
    return PartitionSpec()
