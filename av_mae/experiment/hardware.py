"""What accelerators can do at best: peak rates, memory, bandwidths."""

import dataclasses
import os
from typing import Any

import jax

from av_mae.config import schema

GIB = 2**30

# docs.jax.dev, "GPU memory allocation": the share of a GPU's memory that JAX takes, unless one of
# these says otherwise (the second is the older name).
_SHARE = 0.75
_SHARES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as its vendor describes it.

    TPUs: the tables of cloud.google.com/tpu/docs (v4, v5e, v5p, v6e); v3 counts its two cores as
    two devices, as JAX does. GPUs: NVIDIA's data sheets, dense products; SXM forms but where the
    name says otherwise.

    Attributes:
        kinds: beginnings of JAX's `device_kind`.
        flops: bfloat16 operations a second.
        memory: bytes.
        bandwidth: bytes a second between chip and its memory.
        link: bytes a second that a chip can send to the others of its slice or server.
    """

    name: str
    kinds: tuple[str, ...]
    flops: float
    memory: float
    bandwidth: float
    link: float


_A100_40GB = ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB")

CHIPS = (
    Chip("v3", ("TPU v3",), 61.5e12, 16 * GIB, 450e9, 82e9),
    Chip("v4", ("TPU v4",), 275e12, 32 * GIB, 1228e9, 300e9),
    Chip("v5e", ("TPU v5 lite", "TPU v5e"), 197e12, 16 * GIB, 819e9, 200e9),
    Chip("v5p", ("TPU v5", "TPU v5p"), 459e12, 95 * GIB, 2765e9, 600e9),
    Chip("v6e", ("TPU v6 lite", "TPU v6e"), 918e12, 32 * GIB, 1638e9, 448e9),
    Chip("a100", ("NVIDIA A100",), 312e12, 80e9, 2039e9, 300e9),
    Chip("a100_40gb", _A100_40GB, 312e12, 40e9, 1555e9, 300e9),
    Chip("h100", ("NVIDIA H100",), 989e12, 80e9, 3350e9, 450e9),
    Chip("h100_pcie", ("NVIDIA H100 PCIe",), 756e12, 80e9, 2000e9, 300e9),
    Chip("h100_nvl", ("NVIDIA H100 NVL",), 835e12, 94e9, 3900e9, 300e9),
    Chip("h200", ("NVIDIA H200",), 989e12, 141e9, 4800e9, 450e9),
    Chip("b200", ("NVIDIA B200",), 2250e12, 180e9, 8000e9, 900e9),
)


def chip(kind: str) -> Chip | None:
    """The chip of a `device_kind`; None where it is unknown (CPUs among them)."""
    matching = [(len(k), c) for c in CHIPS for k in c.kinds if kind.startswith(k)]
    return max(matching, key=lambda pair: pair[0])[1] if matching else None


def named(name: str) -> Chip | None:
    """The chip of a name such as `v5e` or `h100`."""
    return next((c for c in CHIPS if c.name == name), None)


def usable(chip: Chip) -> float:
    """Bytes of a chip that a program may use: on GPUs, JAX takes a share of them at its start.

    Raises:
        ConfigError: the environment names a share that is no number.
    """
    if not chip.kinds[0].startswith("NVIDIA"):
        return chip.memory
    given = [(name, os.environ[name]) for name in _SHARES if os.environ.get(name)]
    name, share = given[0] if given else ("", str(_SHARE))
    try:
        return chip.memory * float(share)
    except ValueError as error:
        raise schema.ConfigError(f"{name} is {share!r}; expected a share such as .9") from error


def usable_here(device: Any) -> float | None:
    """Bytes of a device of this machine: its own limit, else that of its chip; None: unknown."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    found = chip(device.device_kind)
    return limit or (usable(found) if found else None)


def peak_flops() -> float | None:
    """FLOP/s of all devices together; None where the device is unknown.

    A float32 run is held against the bfloat16 peak too: that is what it leaves unused.
    """
    found = chip(jax.devices()[0].device_kind)
    return found.flops * jax.device_count() if found else None
