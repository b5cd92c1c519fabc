"""Optimizers, learning-rate schedules, weight-decay masks and layer-wise learning rates."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from av_mae.config import schema
from av_mae.experiment import sharding
from av_mae.models import vit

# Groups of parameters below the first layer.
_LOWEST = ("embed", "modality_token", "class_token", "positions")


def schedule(optim: schema.Optim, lr: float, *, total: int, warmup: int) -> optax.Schedule:
    """Linear warm-up from 0 over `warmup` steps, then cosine or linear to `min_lr`, or constant.

    The decay covers the steps after the warm-up, as in Scenic and VideoMAE; the first step of a
    warmed-up run has a learning rate of 0. With `cosine_videomae` the last step of the warm-up has
    the full rate already, and so has the next one, as in VideoMAE's program.
    """
    if warmup >= total and total > 1:
        raise schema.ConfigError(
            f"optim.warmup is {warmup} steps of {total} in all; shorten it or raise total"
        )
    rest = max(total - warmup, 1)
    after = {
        "cosine": optax.cosine_decay_schedule(lr, rest, alpha=optim.min_lr / lr if lr else 0),
        "linear": optax.linear_schedule(lr, optim.min_lr, rest),
        "constant": optax.constant_schedule(lr),
    }[optim.schedule.removesuffix("_videomae")]
    if not warmup:
        return after
    rise = warmup - 1 if optim.schedule == "cosine_videomae" else warmup
    return optax.join_schedules([optax.linear_schedule(0.0, lr, rise), after], [warmup])


def make(
    optim: schema.Optim, model: nnx.Module, lr: optax.Schedule, *, trainable: str = ""
) -> optax.GradientTransformation:
    """The whole chain: clipping, AdamW or SGD, weight decay, layer-wise scale, learning rate.

    What is off keeps its place, so that a run may be continued with it on: the state is the same.

    Args:
        model: (possibly abstract) module whose parameters are optimised.
        trainable: name of the only top-level parameter group that moves; "" = all of them.
    """
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    off = optax.identity()
    if optim.name == "adamw":
        moments = optax.scale_by_adam(
            b1=optim.b1, b2=optim.b2, eps=optim.eps, mu_dtype=optim.momentum_dtype
        )
    else:
        moments = optax.trace(optim.momentum, accumulator_dtype=optim.momentum_dtype)
    mask = decay_mask(params) if optim.decay_kernels_only else None
    moving = jax.tree_util.tree_map_with_path(
        lambda path, _: float(path[0].key == trainable), params
    )
    return optax.chain(
        optax.clip_by_global_norm(optim.clip) if optim.clip else off,
        moments,
        optax.add_decayed_weights(optim.weight_decay, mask) if optim.weight_decay else off,
        _scale_by(layer_scales(model, optim.layer_decay)) if optim.layer_decay != 1.0 else off,
        _scale_by(moving) if trainable else off,
        optax.scale_by_learning_rate(lr),
    )


def decay_mask(params: Any) -> Any:
    """True for the matrices: every parameter whose path ends in `kernel`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: sharding.path_name(path).endswith("kernel"), params
    )


def layer_scales(model: nnx.Module, decay: float) -> dict[str, Any]:
    """Learning-rate factor of every parameter: decay^(depth + 1 - layer), as in BEiT and MAE.

    Embeddings, modality tokens, class tokens and positions are layer 0, transformer layer k is
    k + 1, everything else (heads, final norms, bottlenecks) is depth + 1 and keeps the full rate.
    Stacked blocks get one factor a layer, broadcast over their other axes.
    """
    encoders = {
        "/".join(map(str, path)): (module.first_layer, module.depth)
        for path, module in nnx.iter_modules(model)
        if isinstance(module, vit.Encoder) and path[0] == "encoders"
    }
    depth = max(first + layers for first, layers in encoders.values())

    def factor(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        name = sharding.path_name(path)
        for prefix, (first, _) in encoders.items():
            if name.startswith(f"{prefix}/blocks/"):
                layer = (first + 1 + jnp.arange(leaf.shape[0])).reshape(-1, *(1,) * (leaf.ndim - 1))
                return jnp.float32(decay) ** (depth + 1 - layer)
        lowest = name.split("/")[0] in _LOWEST
        return jnp.float32(decay) ** (depth + 1 - jnp.zeros(())) if lowest else jnp.float32(1.0)

    return jax.tree_util.tree_map_with_path(factor, nnx.to_pure_dict(nnx.state(model, nnx.Param)))


def _scale_by(factors: Any) -> optax.GradientTransformation:
    return optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, factors))
