"""Bytes that a compiled program sends are read from its text, loops included."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from av_mae import hlo, sharding

MESH = sharding.make_mesh(fsdp=4)
SPLIT, WHOLE = (NamedSharding(MESH, PartitionSpec(axes)) for axes in ("fsdp", None))


def sent(function, *shardings, out):
    shapes = [jax.ShapeDtypeStruct((64, 128), jnp.float32, sharding=s) for s in shardings]
    text = jax.jit(function, out_shardings=out).lower(*shapes).compile().as_text()
    return hlo.collective_bytes(text)


def test_a_gathered_array_comes_from_all_the_others():
    assert sent(lambda x: x * 2, SPLIT, out=WHOLE) == {"all-gather": 64 * 128 * 4 * 3 / 4}


def test_a_sum_goes_around_twice():
    assert sent(lambda x: x.sum(0), SPLIT, out=WHOLE) == {"all-reduce": 2 * 128 * 4 * 3 / 4}


def test_a_loop_counts_as_often_as_it_runs():
    def add(x):
        body = lambda c, _: (jnp.sin(x * c.sum()).sum(0), None)  # noqa: E731
        return jax.lax.scan(body, jnp.ones(128), None, length=5)[0]

    once = 2 * 128 * 4 * 3 / 4
    assert sent(add, SPLIT, out=WHOLE)["all-reduce"] == pytest.approx(5 * once)


def test_nothing_is_sent_without_need():
    assert sent(jnp.sin, SPLIT, out=SPLIT) == {}
