"""What a program of ours asks of the machine it runs on: kept memory, and kept compiled programs.

For programs alone: who imports the library decides for itself.
"""

import ctypes
import os

import jax

# Parameters of mallopt(3), from glibc's malloc.h, and what they are set to.
_TRIM_THRESHOLD, _NEVER = -1, -1
_TOP_PAD, _PAD_BYTES = -2, 64 * 2**20  # the size of a thread's heap
_MMAP_MAX, _NONE = -4, 0


def keep_compiled() -> None:
    """Turns JAX's compilation cache on: JAX_COMPILATION_CACHE_DIR, or a folder of ours."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", "~/.cache/av_mae/compiled")
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))


def keep_memory() -> bool:
    """Memory that a step on the CPU or a batch gives back stays with the process.

    glibc's malloc returns large blocks to the system, which then clears and maps them page by page
    for the next one: a third of the time of small models, a fifth of that of reading clips
    for an accelerator. The process stays as large as it ever was. Other C libraries have no
    mallopt; there nothing changes.

    Returns:
        Whether memory is kept.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    settings = ((_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _PAD_BYTES), (_MMAP_MAX, _NONE))
    taken = [libc.mallopt(parameter, value) for parameter, value in settings]
    return all(taken)
