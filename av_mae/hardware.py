"""What the devices can do at best, for the share of it that a run reaches (MFU)."""

import jax

# Dense bfloat16 FLOP/s of one device, from the vendors' data sheets.
PEAK_BFLOAT16 = {
    "TPU v3": 123e12 / 2,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
}


def peak_flops() -> float | None:
    """FLOP/s of all devices together; None where the device is unknown (CPUs among them).

    A float32 run is held against the bfloat16 peak too: that is what it leaves unused.
    """
    kind = jax.devices()[0].device_kind
    matching = [name for name in PEAK_BFLOAT16 if kind.startswith(name)]
    if not matching:
        return None
    return PEAK_BFLOAT16[max(matching, key=len)] * jax.device_count()
