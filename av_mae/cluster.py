"""Joining the other processes of a run: named by hand, or found by JAX (TPU VMs, Slurm, MPI)."""

import jax

from av_mae import config

# What JAX says where it was told of no cluster and sees none.
_ALONE = "coordinator_address should be defined"


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the run's other processes, if there are any; comes before any other use of devices.

    Args:
        coordinator: host:port of process 0. None: whatever cluster this process was started in
            (`jax.distributed.initialize` knows several), else it is alone.
        processes: how many there are.
        process: the number of this one, from 0.

    Raises:
        ConfigError: numbers without an address.
    """
    if coordinator:
        jax.distributed.initialize(coordinator, processes, process)
        return
    if processes or process is not None:
        raise config.ConfigError(
            "--processes and --process need --coordinator=host:port, the address of process 0"
        )
    try:
        jax.distributed.initialize()
    except ValueError as error:
        if _ALONE not in str(error):
            raise
