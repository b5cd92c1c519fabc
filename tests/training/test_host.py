"""Memory of a CPU's steps stays with the process, and compiled programs are kept where one says."""

import resource

import jax
import jax.numpy as jnp
import pytest

from av_mae.training import host

_SMALLEST_PAGE = 4096
_STEPS = 60  # a few thousand pages are new to threads that take part for the first time


def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_a_step_finds_the_memory_that_the_step_before_gave_back():
    if not host.keep_memory():
        pytest.skip("this C library has no mallopt")
    step = jax.jit(lambda x: (jnp.outer(x, x) @ jnp.outer(x, x[:8])).sum())
    x = jnp.ones(2000)  # 16 MB for the larger of the matrices
    step(x).block_until_ready()
    before = page_faults()
    for _ in range(_STEPS):
        step(x).block_until_ready()
    assert (page_faults() - before) / _STEPS < 16e6 / _SMALLEST_PAGE / 4


def test_compiled_programs_are_kept_in_the_folder_that_jax_is_told(monkeypatch, tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    try:
        host.keep_compiled()
        assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
