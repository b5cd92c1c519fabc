"""The devices that a plan is made for: this machine's, or ones that are only described."""

import contextlib
import dataclasses
import importlib.util
import math
import os
import re
from typing import Any

import jax

from av_mae.config import schema
from av_mae.experiment import hardware

# A bare `gpu:8` means servers of this one.
USUAL_GPU = "h100"

# Without these, libtpu asks the machine for its TPU, which takes long; there is none.
_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no TPU is taken: others may run
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices to plan for.

    Attributes:
        chip: what one of them can do; None where that is unknown.
        memory: bytes of one of them that a program may use; None where that is unknown.
        compiles: whether there is a compiler for them here. Otherwise `devices` are stand-ins that
            only say how many there are.
    """

    name: str
    devices: tuple[Any, ...]
    chip: hardware.Chip | None
    memory: float | None
    compiles: bool


def find(name: str) -> Topology:
    """`here`, TPU slices such as `v5e:16x16` or `2*v5e:16x16`, or a number of GPUs as in `gpu:8`.

    TPUs are described, and compiled for, by libtpu, which needs no TPU. GPUs are compiled for only
    where they are. Call it before anything else of JAX runs: it chooses the platform.

    Raises:
        ConfigError: a name that means nothing, or libtpu is not installed.
    """
    if name == "here":
        return _here(name, jax.devices())
    match = re.fullmatch(r"(?:(\d+)\*)?([a-z]\w*):(\d+(?:x\d+)*)", name)
    chip = hardware.named(USUAL_GPU if match and match[2] == "gpu" else match[2] if match else "")
    if not match or not chip:
        known = ", ".join(c.name for c in hardware.CHIPS)
        raise schema.ConfigError(
            f"topology {name!r}: expected here, TPUs as in v5e:4x4, v5p:2x2x1 or 2*v5e:16x16 (two "
            f"slices), or GPUs as in gpu:8; known chips are {known}"
        )
    slices, extents = int(match[1] or 1), [int(n) for n in match[3].split("x")]
    if chip.kinds[0].startswith("TPU"):
        found = _tpus(chip.name, extents, slices)
        return Topology(name, found, chip, hardware.usable(chip), True)
    return _gpus(name, chip, slices * math.prod(extents), any_kind=match[2] == "gpu")


def _here(name: str, devices: list[Any]) -> Topology:
    memory = hardware.usable_here(devices[0])
    return Topology(name, tuple(devices), hardware.chip(devices[0].device_kind), memory, True)


def _tpus(chip: str, extents: list[int], slices: int) -> tuple[Any, ...]:
    """Descriptions of the slices' devices; a single one is taken from the smallest slice."""
    if not importlib.util.find_spec("libtpu"):
        raise schema.ConfigError(
            "compiling for TPUs needs libtpu (no TPU is needed): pip install 'jax[tpu]'"
        )
    for variable, value in _LIBTPU.items():
        os.environ.setdefault(variable, value)
    jax.config.update("jax_platforms", "cpu")
    from jax.experimental import topologies

    one = slices * math.prod(extents) == 1
    smallest = [2, 2] if chip in ("v5e", "v6e") else [2, 2, 1]
    try:
        described = topologies.get_topology_desc(
            platform="tpu",
            topology_name=f"{chip}:{'x'.join(map(str, smallest if one else extents))}",
            num_slices=slices,
        )
    except Exception as error:  # libtpu raises errors of any type
        reason = str(error).splitlines()[0]
        raise schema.ConfigError(f"topology {chip}:{extents}: libtpu says {reason}") from error
    return tuple(described.devices)[: 1 if one else None]


def _gpus(name: str, chip: hardware.Chip, count: int, any_kind: bool) -> Topology:
    """GPUs of this machine if they are meant, else as many simulated devices in their place."""
    with contextlib.suppress(RuntimeError):  # JAX runs already, with the devices it has
        jax.config.update("jax_num_cpu_devices", count)
    here = [d for d in jax.devices() if d.platform == "gpu"]
    found = hardware.chip(here[0].device_kind) if here else None
    if len(here) >= count and (any_kind or found == chip):
        return _here(name, here[:count])
    chip = found if any_kind and found else chip
    try:
        stand_ins = jax.devices("cpu")
    except RuntimeError as error:
        raise schema.ConfigError(
            "GPUs that are not here are planned for on the CPU, which JAX_PLATFORMS="
            f"{os.environ.get('JAX_PLATFORMS')} leaves out; unset it"
        ) from error
    if len(stand_ins) < count:
        raise schema.ConfigError(
            f"topology {name!r}: JAX runs already, with {len(stand_ins)} devices that could stand "
            "for them; plan in a process of its own"
        )
    return Topology(name, tuple(stand_ins[:count]), chip, hardware.usable(chip), False)
