"""The training step: its state, the pure function that advances it, and how that is compiled.

The order of a step: crops are cut, keys drawn, micro-batches differentiated, parameters updated.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from av_mae.experiment import sharding
from av_mae.models import layers
from av_mae.preprocess import inputs
from av_mae.tasks import Batch, Metrics, Task


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

    @classmethod
    def fresh(cls, task: Task, tx: optax.GradientTransformation) -> "TrainState":
        """The state before the first step."""
        e = task.experiment
        _, params, rest = split(task.init(nnx.Rngs(e.seed)))
        averaged = jax.tree.map(jnp.copy, params) if e.optim.ema else {}
        return cls(jnp.zeros((), jnp.int32), params, rest, tx.init(params), averaged)


def split(model: nnx.Module) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Module -> (graph definition, parameters, other variables) as plain nested dicts."""
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def make_train_step(
    task: Task, graphdef: Any, tx: optax.GradientTransformation, lr: optax.Schedule
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the pure step. Every random draw is a function of (seed, step, row of the batch).

    Its metrics are those of the task's loss, the norm of the gradient and the learning rate. Of
    the task's experiment it takes:
        compute.dtype: of matrix products. Kernels are cast to it (and flattened) once a step, and
            their gradients leave the products in it; everything else, and the update, is float32.
        optim.accumulate: micro-batches that the batch is dealt out to.
        optim.ema: decay of the averaged parameters; 0 = none are kept.

    Args:
        lr: the schedule that `tx` follows, to be logged.
    """
    e = task.experiment
    accumulate, ema = e.optim.accumulate, e.optim.ema

    def working_copy(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
        """Kernels in the type and shape of products; the head's is used in float32."""
        names = tuple(part.key for part in path)
        if names[-1] != "kernel" or names[0] == "head":
            return x
        return layers.flat(names, x).astype(e.compute.dtype)

    def loss_and_grad(state: TrainState, batch: Batch, key: jax.Array, keys_b: jax.Array):
        def loss(params):
            model = nnx.merge(graphdef, params, state.rest)
            value, metrics = task.loss(model, batch, key, keys_b)
            return value, (metrics, split(model)[2])

        working = jax.tree_util.tree_map_with_path(working_copy, state.params)
        (_, (metrics, rest)), grads = jax.value_and_grad(loss, has_aux=True)(working)
        grads = jax.tree.map(lambda g, p: g.reshape(p.shape).astype(p.dtype), grads, state.params)
        return grads, metrics, rest

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        batch = inputs.unpack(batch, e.modalities)
        step_key = jax.random.fold_in(jax.random.key(e.seed), state.step)
        batch_key, row_key = jax.random.split(step_key)
        rows = jnp.arange(batch["valid"].shape[0])
        keys_b = jax.vmap(jax.random.fold_in, (None, 0))(row_key, rows)

        if accumulate == 1:
            grads, metrics, rest = loss_and_grad(state, batch, batch_key, keys_b)
        else:
            grads, metrics, rest = _accumulate(
                loss_and_grad, state, batch, batch_key, keys_b, accumulate
            )

        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        averaged = (
            jax.tree.map(lambda a, p: ema * a + (1 - ema) * p, state.ema, params) if ema else {}
        )
        numbers = {"grad_norm": optax.tree.norm(grads), "lr": jnp.float32(lr(state.step))}
        return TrainState(state.step + 1, params, rest, opt_state, averaged), metrics | numbers

    return train_step


def compiled_on(
    mesh: Mesh, train_step: Callable[..., tuple[TrainState, Metrics]], shardings: TrainState
) -> Any:
    """The step jitted for a mesh; it consumes (donates) the state it is given.

    Args:
        shardings: layout of the state, before the step and after it.
    """
    return jax.jit(
        sharding.within(mesh, train_step),
        donate_argnums=0,
        in_shardings=(shardings, sharding.batch_sharding(mesh)),
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def _accumulate(loss_and_grad, state, batch, key, keys_b, parts: int):
    """Averages gradients and metrics over `parts` micro-batches, one in memory at a time.

    Rows are dealt out in turn (row i goes to part i mod parts), so that every device keeps its own
    rows. The running statistics are those after the last part.
    """
    deal = lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)  # noqa: E731
    first = lambda x: x[: x.shape[0] // parts]  # noqa: E731
    part = (state, jax.tree.map(first, batch), key, first(keys_b))
    shapes = jax.eval_shape(loss_and_grad, *part)[:2]

    def body(carry, part):
        (grads, metrics), rest = carry
        rows, keys = part
        g, m, rest = loss_and_grad(dataclasses.replace(state, rest=rest), rows, key, keys)
        return (jax.tree.map(jnp.add, (grads, metrics), (g, m)), rest), None

    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    dealt = (jax.tree.map(deal, batch), deal(keys_b))
    ((grads, metrics), rest), _ = jax.lax.scan(body, (zeros, state.rest), dealt)
    return *jax.tree.map(lambda x: x / parts, (grads, metrics)), rest
