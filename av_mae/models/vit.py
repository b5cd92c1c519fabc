"""The Vision Transformer (Dosovitskiy et al. 2021): a block, and stacks of blocks.

Parameters are float32; products run in `Compute.dtype`; norms, softmax and dropout scales in
float32. The families this package reads differ in small ways, each a field of `schema.Model`. A
decoder is an encoder of another model, see `mae.decoder`. Initialisers are Scenic's (xavier uniform
on each of query, key, value; zero biases, MLP biases normal(1e-6)), where VideoMAE's take the
packed query-key-value matrix as one.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from av_mae.config import schema
from av_mae.models import attention, layers

# Parameters, number and drop-path rate of a layer, or with a leading axis of those of many.
Layer = dict[str, Any]


class Block(nnx.Module):
    """Pre-norm block: x += drop(gamma1 attention(norm1 x)); x += drop(gamma2 mlp(norm2 x)).

    The perceptron is Dense, GELU (tanh or erf form), dropout, Dense.
    """

    def __init__(self, model: schema.Model, dtype: str, *, rngs: nnx.Rngs):
        self.model = model
        heads = {"heads": model.heads, "dtype": dtype, "rngs": rngs}
        units = {"dtype": dtype, "bias_init": nnx.initializers.normal(1e-6), "rngs": rngs}
        self.norm1 = layers.LayerNorm(model.width, model.norm_eps)
        self.attention = nnx.Dict(
            qkv=layers.QueryKeyValue(model.width, bias=model.qkv_bias, **heads),
            out=layers.Output(model.width, **heads),
        )
        self.norm2 = layers.LayerNorm(model.width, model.norm_eps)
        self.mlp = nnx.Dict(
            up=layers.Dense(model.width, model.mlp, **units),
            down=layers.Dense(model.mlp, model.width, **units),
        )
        gamma, scaled = jnp.full(model.width, model.layer_scale), model.layer_scale != 0
        self.gamma1 = nnx.Param(gamma) if scaled else None
        self.gamma2 = nnx.Param(gamma) if scaled else None

    def __call__(
        self,
        x_btd: Float[Array, "b t d"],
        *,
        drop_path: Float[Array, ""] | None = None,
        length: int | None = None,
        keep_bt: Bool[Array, "b t"] | None = None,
        keys_b: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b t d"]:
        """Applies the block.

        Args:
            drop_path: probability of leaving out each of the two branches, for each example.
            length: tokens from here on are padding, which no other token sees. None: there is none.
            keep_bt: tokens that may be attended to. None: all of them.
            keys_b: one key an example for the random parts; None turns them off.
        """
        y, drop_keys = self.norm1(x_btd), fold(keys_b, 0)
        drops = {"dropout": self.model.attention_dropout, "keys_b": drop_keys}
        y = attention.attend(self.attention["qkv"](y), length=length, keep_bs=keep_bt, **drops)
        y = self.attention["out"](y)
        x_btd = x_btd + self._branch(y, self.gamma1, drop_path, fold(keys_b, 1))

        y, drop_keys = self.norm2(x_btd), fold(keys_b, 2)
        gelu = functools.partial(nnx.gelu, approximate=self.model.gelu == "tanh")
        y = layers.recomputed(gelu)(self.mlp["up"](y))
        y = self.mlp["down"](attention.drop_elements(y, self.model.dropout, drop_keys))
        return x_btd + self._branch(y, self.gamma2, drop_path, fold(keys_b, 3))

    def _branch(self, y_btd: jax.Array, gamma, drop_path, keys_b) -> jax.Array:
        """What a branch adds: dropout, layer scale, then drop path by example."""
        y_btd = attention.drop_elements(y_btd, self.model.dropout, keys_b)
        if gamma is not None:
            y_btd = y_btd * gamma[...].astype(y_btd.dtype)
        if drop_path is None or keys_b is None:
            return y_btd
        draw = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - drop_path))
        factor_b = draw(fold(keys_b, 1)).astype(jnp.float32)
        if self.model.drop_path_rescale:
            factor_b = factor_b / (1.0 - drop_path)
        return y_btd * factor_b[:, None, None].astype(y_btd.dtype)


class Encoder(nnx.Module):
    """`depth` blocks, each drawn on its own, and an optional LayerNorm.

    The blocks' parameters are stacked under `blocks`, leading axis = layer. `inner_norm` puts a
    LayerNorm before the block of that number in the whole network.

    Attributes:
        first_layer: number of the first layer in the whole network; sets the slope of drop-path
            rates and layer-wise learning rates.
    """

    def __init__(
        self,
        depth: int,
        model: schema.Model,
        compute: schema.Compute,
        *,
        norm: float | None,
        inner_norm: int | None = None,
        first_layer: int = 0,
        rngs: nnx.Rngs,
    ):
        """`norm` is the epsilon of the last LayerNorm; None: there is none."""
        self.depth, self.first_layer = depth, first_layer
        self.model, self.compute = model, compute
        make = nnx.vmap(lambda rngs: Block(model, compute.dtype, rngs=rngs), in_axes=0, out_axes=0)
        self.blocks = make(rngs.split(depth)) if depth else None
        self.norm = None if norm is None else layers.LayerNorm(model.width, norm)
        self.inner_layer, inner = inner_norm, inner_norm is not None
        self.inner_norm = layers.LayerNorm(model.width, model.norm_eps) if inner else None

    def __call__(
        self,
        x_btd: Float[Array, "b t d"],
        *,
        keep_bt: Bool[Array, "b t"] | None = None,
        keys_b: Key[Array, "b"] | None = None,
        layer: int | None = None,
    ) -> Float[Array, "b t d"]:
        """Encodes tokens; see `Block` for the arguments, and `fusion.Fusion` for `layer`."""
        if self.reaches(layer):
            apply, every = self.unstack(layer)
            length = x_btd.shape[1]
            padding = attention.padding(length)
            keep_bt = None if keep_bt is None else attention.lengthen(keep_bt, padding)
            body = lambda x_btd, layer: apply(layer, x_btd, length, keep_bt, keys_b)  # noqa: E731
            x_btd = loop(body, attention.lengthen(x_btd, padding), every, self.compute)
            x_btd = x_btd[:, :length]
        if self.norm is None or (layer is not None and layer <= self.first_layer + self.depth):
            return x_btd
        return self.norm(x_btd)

    def reaches(self, layer: int | None) -> bool:
        """Whether any block of this stack comes before the end of `layer`."""
        return self.blocks is not None and (layer is None or layer > self.first_layer)

    def unstack(self, layer: int | None = None) -> tuple[Callable[..., jax.Array], Layer]:
        """What `loop` needs: apply(layer, x_btd, length, keep_bt, keys_b), and the layers."""
        graphdef, params = nnx.split(self.blocks)
        index = np.arange(self.first_layer, self.first_layer + self.depth)
        if layer is not None:
            index = index[index < layer]
            params = jax.tree.map(lambda x: x[: len(index)], params)
        every = {"params": params, "index": index}
        if self.model.drop_path:
            rates = self.model.drop_path * index / max(self.model.depth - 1, 1)
            every["drop_path"] = rates.astype(np.float32)

        def apply(layer: Layer, x_btd: jax.Array, length, keep_bt, keys_b) -> jax.Array:
            block: Any = nnx.merge(graphdef, layer["params"])
            if self.inner_norm is not None:
                here = layer["index"] == self.inner_layer
                x_btd = jnp.where(here, self.inner_norm(x_btd), x_btd)
            keys_b = fold(keys_b, layer["index"])
            rate = layer.get("drop_path")
            return block(x_btd, drop_path=rate, length=length, keep_bt=keep_bt, keys_b=keys_b)

        return apply, every


def loop(
    body: Callable[[Any, Layer], Any], carry: Any, every: Layer, compute: schema.Compute
) -> Any:
    """Carries `carry` through the layers: scanned, or unrolled with each parameter split once.

    Unrolled layers keep only products as they are (`layers.recomputed`), so "dots" asks no more of
    them; a scan stacks everything that no policy leaves out.

    Splitting once makes the gradient of a stacked parameter one concatenation; indexing layer by
    layer would add up as many zero-padded copies of the stack.
    """
    if compute.remat == "full" or (compute.remat == "dots" and compute.scan):
        policies = jax.checkpoint_policies
        keep_products = policies.save_from_both_policies(
            policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names("attention")
        )
        policy = keep_products if compute.remat == "dots" else policies.nothing_saveable
        body = jax.checkpoint(body, policy=policy, prevent_cse=not compute.scan)
    if compute.scan:
        return jax.lax.scan(lambda c, layer: (body(c, layer), None), carry, every)[0]
    leaves, treedef = jax.tree.flatten(every)
    slices = [jax.lax.split(jnp.asarray(x), (1,) * x.shape[0]) for x in leaves]
    for leaves_of_layer in zip(*slices, strict=True):
        layer = treedef.unflatten([x.squeeze(0) for x in leaves_of_layer])
        carry = body(carry, layer)
    return carry


def fold(keys_b: jax.Array | None, number: int | jax.Array) -> jax.Array | None:
    """Per-example keys of one use, by `jax.random.fold_in`."""
    return None if keys_b is None else jax.vmap(jax.random.fold_in, (0, None))(keys_b, number)
