"""The training state and the pure functions that make it and move it one step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from av_mae.models import projections
from av_mae.tasks import Task

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class TrainState:
    """Everything a run changes. `step` is also the input position: one batch a step.

    Attributes:
        params: trainable parameters, nested dict by path.
        rest: the model's other variables (running statistics), nested dict.
        ema: averaged parameters, or an empty dict when off.
    """

    step: jax.Array
    params: dict[str, Any]
    rest: dict[str, Any]
    opt_state: Any
    ema: dict[str, Any]

    @property
    def eval_params(self) -> dict[str, Any]:
        return self.ema or self.params


def init_state(task: Task, tx: optax.GradientTransformation, seed: int, ema: bool) -> TrainState:
    """Fresh parameters from `seed`; jit it with out_shardings to create them in place."""
    _, params, rest = split(task.init(nnx.Rngs(seed)))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        rest=rest,
        opt_state=tx.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else {},
    )


def split(model: nnx.Module) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Module -> (graph definition, parameters, other variables) as plain nested dicts."""
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def make_train_step(
    task: Task,
    graphdef: Any,
    tx: optax.GradientTransformation,
    *,
    seed: int,
    dtype: str = "float32",
    accumulate: int = 1,
    ema: float = 0.0,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the pure step. Every random draw is a function of (seed, step, row of the batch).

    Args:
        dtype: what matrix products run in. Kernels are cast to it (and made flat) once a step, and
            their gradients leave the products so; everything else, and the update, is float32.
    """

    def loss_and_grad(state: TrainState, batch: Batch, key: jax.Array, keys_b: jax.Array):
        def loss(params):
            model = nnx.merge(graphdef, params, state.rest)
            value, metrics = task.loss(model, batch, key, keys_b)
            return value, (metrics, split(model)[2])

        working = _working(state.params, dtype)
        (_, (metrics, rest)), grads = jax.value_and_grad(loss, has_aux=True)(working)
        grads = jax.tree.map(lambda g, p: g.reshape(p.shape).astype(p.dtype), grads, state.params)
        return grads, metrics, rest

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key, keys_b = step_keys(seed, state.step, batch["valid"].shape[0])
        if accumulate == 1:
            grads, metrics, rest = loss_and_grad(state, batch, key, keys_b)
        else:
            grads, metrics, rest = _accumulate(loss_and_grad, state, batch, key, keys_b, accumulate)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        averaged = (
            jax.tree.map(lambda a, p: ema * a + (1 - ema) * p, state.ema, params) if ema else {}
        )
        metrics = metrics | {"grad_norm": optax.tree.norm(grads)}
        step = state.step + 1
        return TrainState(step, params, rest, opt_state, averaged), metrics

    return train_step


def _working(params: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Kernels as products take them; but for the head's, which computes in float32."""

    def cast(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
        names = tuple(part.key for part in path)
        if names[-1] != "kernel" or names[0] == "head":
            return x
        return projections.flat(names, x).astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, params)


def step_keys(seed: int, step: jax.Array, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """(one key for draws that the whole batch shares, one key `[b]` for each row)."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    batch_key, row_key = jax.random.split(key)
    return batch_key, jax.vmap(jax.random.fold_in, (None, 0))(row_key, jnp.arange(batch_size))


def _accumulate(loss_and_grad, state, batch, key, keys_b, parts: int):
    """Averages gradients and metrics over `parts` micro-batches, one in memory at a time.

    Rows are dealt out in turn (row i goes to part i mod parts), so that every device keeps its own
    rows. The running statistics are those after the last part.
    """
    deal = lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)  # noqa: E731
    zeros = jax.eval_shape(loss_and_grad, state, *_part(batch, key, keys_b, parts))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), zeros)[:2]

    def body(carry, part):
        (grads, metrics), rest = carry
        rows, keys = part
        g, m, rest = loss_and_grad(dataclasses.replace(state, rest=rest), rows, key, keys)
        total = jax.tree.map(jnp.add, (grads, metrics), (g, m))
        return (total, rest), None

    dealt = (jax.tree.map(deal, batch), deal(keys_b))
    ((grads, metrics), rest), _ = jax.lax.scan(body, (zeros, state.rest), dealt)
    return *jax.tree.map(lambda x: x / parts, (grads, metrics)), rest


def _part(batch: Batch, key: jax.Array, keys_b: jax.Array, parts: int):
    first = lambda x: x[: x.shape[0] // parts]  # noqa: E731
    return jax.tree.map(first, batch), key, first(keys_b)
