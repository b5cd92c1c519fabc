"""Joining the other processes of a run: named by hand, or found by JAX (TPU VMs, Slurm, MPI)."""

import re

import jax

from av_mae.config import schema

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
        ConfigError: only some of the three are given, or they contradict each other.
    """
    given = (coordinator, processes, process)
    if any(x is not None for x in given):
        _check(*given)
        jax.distributed.initialize(coordinator, processes, process)
        return
    try:
        jax.distributed.initialize()
    except ValueError as error:
        if _ALONE not in str(error):
            raise


def _check(coordinator: str | None, processes: int | None, process: int | None) -> None:
    if coordinator is None or processes is None or process is None:
        raise schema.ConfigError(
            "processes named by hand need all of --coordinator=host:port (the address of process "
            "0), --processes=N (how many there are) and --process=I (the number of this one)"
        )
    if not re.fullmatch(r".+:\d+", coordinator):
        raise schema.ConfigError(f"--coordinator is {coordinator!r}; expected host:port")
    if not 0 <= process < processes:
        expected = f"0 to {processes - 1}" if processes > 0 else "at least one process"
        raise schema.ConfigError(
            f"--process is {process} of --processes={processes}; expected {expected}"
        )
