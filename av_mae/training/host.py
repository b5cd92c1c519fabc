"""What a program asks of the machine it runs on: other processes, memory, compiled programs.

Only programs call this; importing the library changes none of it.
"""

import ctypes
import os
import re

import jax

from av_mae.config import schema

# What JAX says where no cluster is named and none is found.
_ALONE = "coordinator_address should be defined"

# Parameters of mallopt(3), from glibc's malloc.h, and what they are set to.
_TRIM_THRESHOLD, _NEVER = -1, -1
_TOP_PAD, _PAD_BYTES = -2, 64 * 2**20  # the size of a thread's heap
_MMAP_MAX, _NONE = -4, 0


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the run's other processes, if there are any; comes before any other use of devices.

    Args:
        coordinator: host:port of process 0. None: the cluster that this process was started in, as
            far as `jax.distributed.initialize` finds it (TPU VMs, Slurm, MPI), else it is alone.
        processes: how many there are.
        process: the number of this one, from 0.

    Raises:
        ConfigError: only some of the three are given, or they contradict each other.
    """
    if coordinator is None and processes is None and process is None:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            if _ALONE not in str(error):
                raise
        return
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
    jax.distributed.initialize(coordinator, processes, process)


def keep_compiled() -> None:
    """Turns JAX's compilation cache on: JAX_COMPILATION_CACHE_DIR, or a folder in ~/.cache."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", "~/.cache/av_mae/compiled")
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))


def keep_memory() -> bool:
    """Keeps memory that is freed after a step on the CPU, or after a batch, within the process.

    glibc's malloc returns large blocks to the system, which then clears and maps them page by page
    for the next one: a third of the time of small models, a fifth of that of reading clips
    for an accelerator. The process stays as large as it ever was. Other C libraries have no
    mallopt; there nothing changes.

    Returns:
        Whether memory is kept.
    """
    libc = ctypes.CDLL(None)
    settings = ((_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _PAD_BYTES), (_MMAP_MAX, _NONE))
    taken = [libc.mallopt(*setting) for setting in settings if hasattr(libc, "mallopt")]
    return bool(taken) and all(taken)
