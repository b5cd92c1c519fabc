"""Meshes, layout rules and batch assembly."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from av_mae.config import schema
from av_mae.experiment import sharding


def _shapes(**shapes):
    return {k.replace("__", "/"): jax.ShapeDtypeStruct(s, np.float32) for k, s in shapes.items()}


def test_mesh_has_all_devices():
    mesh = sharding.make_mesh(fsdp=4)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4, "tensor": 1}


def test_mesh_refuses_a_size_that_does_not_divide():
    with pytest.raises(
        schema.ConfigError, match="compute.fsdp is 3 with 8 devices; use one of 1, 2"
    ):
        sharding.make_mesh(fsdp=3)


def test_batch_must_be_divisible():
    with pytest.raises(
        schema.ConfigError, match="batch_size 10 is not divisible by 8 devices; use 8 or 16"
    ):
        sharding.check_batch(10, sharding.make_mesh())


def test_a_batch_is_advised_that_devices_and_micro_batches_divide():
    with pytest.raises(
        schema.ConfigError, match="40 is not .* 8 devices x 2 micro.*; use 32 or 48"
    ):
        sharding.check_batch(40, sharding.make_mesh(), micro=2)
    with pytest.raises(
        schema.ConfigError, match="6 is not .* 4 groups of 2 devices .*; use 4 or 8"
    ):
        sharding.check_batch(6, sharding.make_mesh(tensor=2))


def test_matrices_are_split_and_vectors_are_not():
    mesh = sharding.make_mesh(fsdp=4)
    tree = {"mlp": {"kernel": np.zeros((6, 8)), "bias": np.zeros(8)}}
    layout = sharding.tree_shardings(tree, mesh)
    assert layout["mlp"]["kernel"].spec == PartitionSpec(None, "fsdp")
    assert layout["mlp"]["bias"].spec == PartitionSpec()


def test_stacked_layers_keep_their_first_axis():
    mesh = sharding.make_mesh(fsdp=4)
    tree = {"encoder": {"blocks": {"kernel": np.zeros((12, 8, 3))}}}
    spec = sharding.tree_shardings(tree, mesh)["encoder"]["blocks"]["kernel"].spec
    assert spec == PartitionSpec(None, "fsdp")
    tree = {"encoder": {"blocks": {"kernel": np.zeros((12, 3, 3))}}}
    assert (
        sharding.tree_shardings(tree, mesh)["encoder"]["blocks"]["kernel"].spec == PartitionSpec()
    )


def test_batch_is_split_over_both_axes_in_row_order():
    mesh = sharding.make_mesh(fsdp=2)
    batch = {"x": np.arange(16)}
    x = sharding.to_devices(batch, mesh)["x"]
    np.testing.assert_array_equal(np.asarray(x), batch["x"])
    assert {s.data.shape for s in x.addressable_shards} == {(2,)}


def test_single_host_feeds_everything():
    assert list(sharding.host_rows(sharding.make_mesh(fsdp=2), 16)) == list(range(16))


@dataclasses.dataclass(frozen=True)
class Chip:
    """A TPU chip as it is described to JAX; four of a plane belong to one host."""

    id: int
    coords: tuple[int, int, int]
    process_index: int
    device_kind: str
    platform: str = "tpu"
    core_on_chip: int = 0
    slice_index: int = 0


def torus(kind: str, x: int, y: int, z: int = 1) -> list[Chip]:
    places = [(i, j, k) for k in range(z) for j in range(y) for i in range(x)]
    hosts = [(k * (y // 2) + j // 2) * (x // 2) + i // 2 for i, j, k in places]
    return [Chip(n, c, h, kind) for n, (c, h) in enumerate(zip(places, hosts, strict=True))]


@pytest.mark.parametrize(
    "chips", [torus("TPU v6 lite", 8, 8), torus("TPU v5", 4, 4, 4)], ids=["v6e:8x8", "v5p:4x4x4"]
)
@pytest.mark.parametrize(("fsdp", "tensor"), [(1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (2, 8)])
def test_every_row_is_fed_by_the_hosts_whose_chips_hold_it(chips, fsdp, tensor):
    mesh = sharding.make_mesh(fsdp, chips, tensor=tensor)
    shares = [list(sharding.host_rows(mesh, 128, process)) for process in range(16)]
    held: list[set[int]] = [set() for _ in range(16)]
    each = 128 * tensor // 64
    for place, chip in np.ndenumerate(mesh.devices):
        part = place[0] * fsdp + place[1]
        held[chip.process_index] |= set(range(part * each, (part + 1) * each))
    assert shares == [sorted(rows) for rows in held]
    assert len({len(share) for share in shares}) == 1


def test_hosts_feed_clips_with_all_their_copies():
    mesh = sharding.make_mesh(devices=torus("TPU v5", 4, 4, 4))
    twice = schema.Experiment(batch_size=128, dataset=schema.Dataset(repeat=2))
    sharding.check_batches(twice, mesh)
    with pytest.raises(schema.ConfigError, match="64 parts the 2 copies.*use a multiple of 128"):
        sharding.check_batches(dataclasses.replace(twice, batch_size=64), mesh)


@dataclasses.dataclass(frozen=True)
class OfSlice:
    """A device as a scheduler of several slices describes it."""

    id: int
    slice_index: int
    platform: str = "cpu"
    device_kind: str = "cpu"
    process_index: int = 0


def slices_of(mesh_devices):
    return [[device.slice_index for device in copy.ravel()] for copy in mesh_devices]


def test_a_copy_of_the_parameters_stays_within_its_slice():
    devices = [OfSlice(id=i, slice_index=i % 2) for i in range(8)]  # told in any order
    found = sharding.make_mesh(2, devices, tensor=2).devices
    assert found.shape == (2, 2, 2)
    assert slices_of(found) == [[0] * 4, [1] * 4]


def test_a_copy_that_is_larger_than_a_slice_takes_whole_ones():
    devices = [OfSlice(id=i, slice_index=i % 4) for i in range(8)]
    found = sharding.make_mesh(4, devices).devices
    assert slices_of(found) == [[0, 0, 1, 1], [2, 2, 3, 3]]
