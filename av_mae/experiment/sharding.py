"""The device mesh, one table of rules that lays arrays out on it, and batches over hosts."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from av_mae.config import schema
from av_mae.models import layers

# "data", "fsdp", "tensor". The batch is split over the first two, parameters over the last two.
AXES = (*layers.BATCH_AXES, layers.HEAD_AXIS)

# Axes of an array: none, any, or any but the first, of stacked layers; no array has more.
_NONE, _ANY, _IN_LAYERS = range(0), range(9), range(1, 9)

# (path pattern, axis split over "tensor", axes that may be split over "fsdp"); the first pattern
# that is found counts. Heads and hidden units are split over "tensor", so that a layer sums over
# devices twice (Shoeybi et al. 2019). Of the axes open to "fsdp" the last one that it divides is
# split. Stacked layers keep axis 0 whole, so that a scan over layers stays local; query, key and
# value are one product, so their own axes stay together.
RULES: tuple[tuple[str, int | None, range], ...] = (
    (r"blocks/attention/qkv/kernel", 3, range(1, 2)),
    (r"blocks/attention/qkv/bias", 2, _NONE),
    (r"blocks/attention/out/kernel", 1, _IN_LAYERS),
    (r"blocks/mlp/up/kernel", 2, _IN_LAYERS),
    (r"blocks/mlp/up/bias", 1, _NONE),
    (r"blocks/mlp/down/kernel", 1, _IN_LAYERS),
    (r"blocks/.*kernel", None, _IN_LAYERS),
    (r"kernel", None, _ANY),
)


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None, *, tensor: int = 1) -> Mesh:
    """Mesh of all devices: `fsdp` x `tensor` of them share one copy of the parameters.

    Devices are placed along the wires between them. Slices are far from each other: "data" is split
    over them. Where a copy of the parameters is larger than a slice, it takes the next one as well.

    Args:
        fsdp: devices that hold a part of every matrix and gather the rest when it is needed.
        tensor: devices that compute a part of every layer, its heads and hidden units.

    Raises:
        ConfigError: the number of devices is not a multiple of `fsdp` x `tensor`.
    """
    devices = list(devices or jax.devices())
    count = len(devices)
    for key, size, rest in (("fsdp", fsdp, count), ("tensor", tensor, count // max(fsdp, 1))):
        if size < 1 or rest % size:
            fitting = ", ".join(str(n) for n in range(1, rest + 1) if rest % n == 0)
            given = f"{count} devices" + (f" and compute.fsdp {fsdp}" if key == "tensor" else "")
            raise schema.ConfigError(f"compute.{key} is {size} with {given}; use one of {fitting}")
    data, slices = count // fsdp // tensor, len({getattr(d, "slice_index", 0) for d in devices})
    shape = (data, fsdp, tensor)
    if slices == 1:
        placed = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    elif data % slices:
        placed = np.array(sorted(devices, key=lambda d: d.slice_index)).reshape(shape)
    else:
        within_slice, over_slices = (data // slices, fsdp, tensor), (slices, 1, 1)
        placed = mesh_utils.create_hybrid_device_mesh(
            within_slice, over_slices, devices, allow_split_physical_axes=True
        )
    return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def mesh_of(compute: schema.Compute, devices: Sequence[Any] | None = None) -> Mesh:
    """The devices laid out as the config says; None: all that JAX sees."""
    return make_mesh(compute.fsdp, devices, tensor=compute.tensor)


def row_shards(mesh: Mesh) -> int:
    """Number of parts that a batch is cut into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def check_batches(e: schema.Experiment, mesh: Mesh) -> None:
    """Raises ConfigError unless the devices divide the batch, and hosts its clips."""
    check_batch(e.batch_size, mesh, micro=e.optim.accumulate)
    copies = e.dataset.repeat
    for host in {device.process_index for device in mesh.devices.flat}:
        rows = host_rows(mesh, e.batch_size, host)
        if len(np.unique(rows // copies)) * copies != len(rows):
            raise schema.ConfigError(
                f"batch_size {e.batch_size} parts the {copies} copies of a clip (dataset.repeat) "
                f"over hosts; use a multiple of {copies * row_shards(mesh)}"
            )
    if any(e.dataset.canvas):
        clips = e.batch_size // copies
        check_batch(clips, mesh, "with dataset.canvas, batch_size / dataset.repeat")


def check_batch(batch_size: int, mesh: Mesh, key: str = "batch_size", *, micro: int = 1) -> None:
    """Raises ConfigError unless every part of each micro-batch has the same number of rows."""
    unit = row_shards(mesh) * micro
    if batch_size % unit:
        below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
        choice = f"{below} or {above}" if below else f"{above}"
        tensor = mesh.shape["tensor"]
        devices = f"{row_shards(mesh)} " + (
            "devices" if tensor == 1 else f"groups of {tensor} devices (compute.tensor)"
        )
        parts = f" x {micro} micro-batches (optim.accumulate)" if micro > 1 else ""
        raise schema.ConfigError(
            f"{key} {batch_size} is not divisible by {devices}{parts}; use {choice}"
        )


def within(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, traced with the mesh known: kernels need to know how arrays are split."""

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args, **kwargs)

    return traced


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Layout of a batch: its rows are split over "data" and "fsdp"."""
    return NamedSharding(mesh, PartitionSpec(layers.BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Layout of an array that every device has whole."""
    return NamedSharding(mesh, PartitionSpec())


def tree_shardings(tree: Any, mesh: Mesh) -> Any:
    """A NamedSharding for every leaf of a tree of arrays or shapes, by `RULES` on its path.

    Optimizer moments and averaged parameters carry the parameter's path at their end, so they are
    laid out as the parameter is.
    """

    def layout_of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name, axes = path_name(path), [None] * leaf.ndim
        tensor_axis, opened = next((r[1:] for r in RULES if re.search(r[0], name)), (None, _NONE))
        if tensor_axis is not None and mesh.shape["tensor"] > 1:
            axes[tensor_axis] = "tensor"
        if mesh.shape["fsdp"] > 1:
            free = [i for i in range(leaf.ndim) if i in opened and not axes[i]]
            fitting = [i for i in free if leaf.shape[i] % mesh.shape["fsdp"] == 0]
            if fitting:
                axes[fitting[-1]] = "fsdp"
        while axes and axes[-1] is None:
            axes.pop()
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree_util.tree_map_with_path(layout_of, tree)


def path_name(path: tuple[Any, ...]) -> str:
    """`"encoders/video/blocks/..."` of a jax key path."""
    return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)


def host_rows(mesh: Mesh, batch_size: int, process: int | None = None) -> np.ndarray:
    """Rows of a global batch that a process feeds, int `[rows]` ascending; None: this process.

    A mesh follows the wires between chips, so that these rows need not lie side by side.
    """
    process = jax.process_index() if process is None else process
    where = batch_sharding(mesh).devices_indices_map((batch_size,))
    own = [rows for device, (rows,) in where.items() if device.process_index == process]
    return np.unique(np.concatenate([np.arange(batch_size)[rows] for rows in own]))


def to_devices(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Assembles every host's rows `[b/hosts ...]`, as `host_rows` lists them, into `[b ...]`."""
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
