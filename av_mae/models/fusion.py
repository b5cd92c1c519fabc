"""How the token sequences of several modalities pass through transformer layers together.

A way of fusing is a class here, and its name in `FUSIONS` is the value of `model.fusion`. It says
which stacks of layers there are (`stacks`), from which they are built, counted and inherited.
Called, it maps {modality: tokens [b t d]} to the same, for any non-empty subset of the modalities
it was built for, by one stack after another unless it has a `__call__` of its own. `present` says
which examples have a modality: tokens of an absent one are never attended to, so they change
nothing for the others. Decoders are `Joint`, `Shared` or `Separate`.
"""

import abc
import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from av_mae.config import schema
from av_mae.models import flops, layers, presence, vit

Tokens = dict[str, Float[Array, "b _ d"]]


@dataclasses.dataclass(frozen=True)
class Stack:
    """Some layers of the network, and whose tokens pass through them.

    Attributes:
        path: of its parameters, below the encoders'; it has at most one "/".
        names: modalities that it encodes.
        first, last: its layers, `last` exclusive; there may be none.
        norm: whether a LayerNorm follows.
        inner_norm: the layer before which it has another one; None: it has none.
        joint: whether the modalities' tokens are one sequence, not one each.
    """

    path: str
    names: tuple[str, ...]
    first: int
    last: int
    norm: bool = False
    inner_norm: int | None = None
    joint: bool = False


class Fusion(nnx.Module):
    """What the classes below have in common: encoders at the paths of their stacks, a last norm."""

    shares_norm: ClassVar[bool] = False  # whether `model.shared_norm` makes one of the last norms

    def __init__(
        self,
        names: Sequence[str],
        model: schema.Model,
        compute: schema.Compute,
        *,
        eps: float,
        first_layer: int = 0,
        rngs: nnx.Rngs,
    ):
        """`eps` is that of the norms after stacks; `first_layer` is the first one's number."""
        self.names, self.model, self.compute = tuple(names), model, compute
        for stack in self.stacks(model, self.names):
            *group, name = stack.path.split("/")
            if group and not hasattr(self, group[0]):
                setattr(self, group[0], nnx.Dict())
            encoder = vit.Encoder(
                stack.last - stack.first,
                model,
                compute,
                norm=eps if stack.norm else None,
                inner_norm=stack.inner_norm,
                first_layer=first_layer + stack.first,
                rngs=rngs,
            )
            setattr(getattr(self, group[0]) if group else self, name, encoder)
        shared = model.final_norm and not self.own_norms(model)
        self.norm = layers.LayerNorm(model.width, eps) if shared else None

    @classmethod
    @abc.abstractmethod
    def stacks(cls, model: schema.Model, names: tuple[str, ...]) -> list[Stack]:
        """All stacks, from the bottom; they do not depend on one another's modalities.

        Raises:
            ConfigError: the model has fewer layers than are to be fused.
        """

    @classmethod
    def own_norms(cls, model: schema.Model) -> bool:
        """Whether the last stacks end with a norm each, as far as `final_norm` says so."""
        return model.final_norm and not (cls.shares_norm and model.shared_norm)

    @classmethod
    def passes(cls, model: schema.Model, tokens: Mapping[str, int]) -> list[flops.Passes]:
        """The sequences of an example, given the number of patches of each modality."""
        found, extra = [], int(model.pool == "token")
        for stack in cls.stacks(model, tuple(tokens)):
            groups = [stack.names] if stack.joint else [(name,) for name in stack.names]
            for group in groups:
                count = sum(tokens[name] for name in group)
                length = count + extra * len(group)
                depth = stack.last - stack.first
                found.append(flops.Passes(depth, count, length, model.width, model.mlp))
        return found

    @classmethod
    def check_training(cls, model: schema.Model, names: Collection[str]) -> None:
        """Raises ConfigError where a model can be read and run, but it is a mistake to train it."""

    def __call__(
        self,
        tokens: Tokens,
        *,
        present: presence.Present | None = None,
        keys_b: Key[Array, "b"] | None = None,
        train: bool = False,
        layer: int | None = None,
    ) -> Tokens:
        """Encodes the tokens of each modality.

        Args:
            present: examples that have a modality (missing keys: all do). None or empty: nothing
                is masked.
            keys_b: one key an example for dropout and drop path; None turns them off.
            train: whether this is a training step (`bottlenecks_at_test` acts only outside one).
            layer: stop after as many layers, before the norm that may follow; None: after all
                layers and norms.
        """
        del train
        for stack in self.stacks(self.model, self.names):
            tokens = self.encode(stack, tokens, present, keys_b, layer)
        return self.last_norm(tokens, layer)

    def encode(self, stack: Stack, tokens: Tokens, present, keys_b, layer) -> Tokens:
        """Passes the tokens of the stack's modalities through it; the others' stay as they are."""
        encoder: Any = functools.reduce(getattr, stack.path.split("/"), self)
        if stack.joint:
            joined_btd = encoder(
                jnp.concatenate(list(tokens.values()), axis=1),
                keep_bt=presence.of_tokens(tokens, present),
                keys_b=vit.fold(keys_b, len(tokens)),
                layer=layer,
            )
            lengths = [x_btd.shape[1] for x_btd in tokens.values()]
            return dict(zip(tokens, jax.lax.split(joined_btd, lengths, axis=1), strict=True))
        return tokens | {
            name: encoder(x_btd, keys_b=vit.fold(keys_b, number), layer=layer)
            for number, (name, x_btd) in enumerate(tokens.items())
            if name in stack.names
        }

    def last_norm(self, tokens: Tokens, layer: int | None) -> Tokens:
        """The norm that all modalities share, if there is one and no layer to stop after."""
        norm = self.norm if layer is None else None
        return tokens if norm is None else {name: norm(x_btd) for name, x_btd in tokens.items()}


class Joint(Fusion):
    """One stack over the concatenation of all modalities (early fusion, joint decoder)."""

    @classmethod
    def stacks(cls, model, names):
        return [Stack("joint", names, 0, model.depth, norm=cls.own_norms(model), joint=True)]


class Shared(Fusion):
    """One stack applied to each modality on its own."""

    @classmethod
    def stacks(cls, model, names):
        return [Stack("shared", names, 0, model.depth, norm=cls.own_norms(model))]


class Separate(Fusion):
    """One stack for each modality, under its name."""

    shares_norm = True

    @classmethod
    def stacks(cls, model, names):
        norm = cls.own_norms(model)
        return [Stack(name, (name,), 0, model.depth, norm=norm) for name in names]


class Mid(Fusion):
    """Separate stacks, then `fusion_layers` layers over the concatenation."""

    @classmethod
    def stacks(cls, model, names):
        norm = cls.own_norms(model)
        lower, inner = _lower(model, names)
        upper = Stack("joint", names, lower[0].last, model.depth, norm, inner, joint=True)
        return [*lower, upper]


class Bottleneck(Fusion):
    """MBT (Nagrani et al. 2021): modalities exchange what fits through a few bottleneck tokens.

    In each fused layer every modality encodes [its tokens; the bottleneck] with its own weights;
    the next bottleneck is the mean of what the (present) modalities make of it. With no bottleneck
    tokens at all, every modality instead attends to all tokens of the others.
    """

    shares_norm = True
    fused: nnx.Dict  # by the paths of the stacks

    def __init__(self, names, model, compute, *, eps, first_layer=0, rngs):
        super().__init__(names, model, compute, eps=eps, first_layer=first_layer, rngs=rngs)
        self.alone = len(names) == 1 or model.fusion_layers == 0
        shape, draw = (model.bottlenecks, model.width), nnx.initializers.normal(0.02)
        exists = model.bottlenecks > 0 and not self.alone
        self.bottleneck = nnx.Param(draw(rngs.params(), shape)) if exists else None

    @classmethod
    def stacks(cls, model, names):
        norm = cls.own_norms(model)
        lower, inner = _lower(model, names)
        return lower + [
            Stack(f"fused/{name}", (name,), lower[0].last, model.depth, norm, inner)
            for name in names
        ]

    @classmethod
    def passes(cls, model, tokens):
        found, count = super().passes(model, tokens), len(tokens)
        lower, fused = found[:count], found[count:]
        if count > 1:
            together = sum(p.length for p in fused)
            wide = [p.length + model.bottlenecks if model.bottlenecks else together for p in fused]
            fused = [dataclasses.replace(p, length=n) for p, n in zip(fused, wide, strict=True)]
        return lower + fused

    @classmethod
    def check_training(cls, model, names):
        if model.fusion_layers == 1 and len(names) > 1:
            raise schema.ConfigError(
                "model.fusion_layers is 1: the bottleneck carries from one fused layer to the "
                "next, so nothing would be exchanged; use 2 or more, or 0 for none"
            )

    def __call__(self, tokens, *, present=None, keys_b=None, train=False, layer=None):
        if self.alone or not (train or self.model.bottlenecks_at_test):
            return super().__call__(tokens, present=present, keys_b=keys_b, layer=layer)
        for stack in self.stacks(self.model, self.names)[: len(self.names)]:
            tokens = self.encode(stack, tokens, present, keys_b, layer)
        if not all(self.fused[name].reaches(layer) for name in tokens):
            return tokens
        unstacked = {name: self.fused[name].unstack(layer) for name in tokens}
        apply, every = ({name: pair[i] for name, pair in unstacked.items()} for i in (0, 1))

        def body(carry: tuple[Tokens, jax.Array | None], layer: vit.Layer):
            tokens, bottleneck_bzd = carry
            outputs = {}
            for number, (name, x_btd) in enumerate(tokens.items()):
                if bottleneck_bzd is None:  # the others' tokens, then its own
                    seen = {n: x for n, x in tokens.items() if n != name} | {name: x_btd}
                    keep_bt = presence.of_tokens(seen, present)
                else:
                    seen, keep_bt = {name: x_btd, "": bottleneck_bzd}, None
                joined_btd = jnp.concatenate(list(seen.values()), axis=1)
                keys = vit.fold(keys_b, number)
                outputs[name] = apply[name](layer[name], joined_btd, None, keep_bt, keys)
            lengths = {name: x_btd.shape[1] for name, x_btd in tokens.items()}
            if bottleneck_bzd is None:
                return {name: y[:, -lengths[name] :] for name, y in outputs.items()}, None
            following = {name: y[:, : lengths[name]] for name, y in outputs.items()}
            messages = {name: y[:, lengths[name] :] for name, y in outputs.items()}
            return following, presence.mean(messages, present)

        start = None
        if self.bottleneck is not None:
            batch = next(iter(tokens.values())).shape[0]
            start = jnp.tile(self.bottleneck[...].astype(self.compute.dtype), (batch, 1, 1))
        tokens, _ = vit.loop(body, (tokens, start), every, self.compute)
        for name in unstacked:
            if layer is None and self.fused[name].norm is not None:
                tokens[name] = self.fused[name].norm(tokens[name])
        return self.last_norm(tokens, layer)


FUSIONS: dict[str, type[Fusion]] = {
    "early": Joint,
    "separate": Separate,
    "shared": Shared,
    "mid": Mid,
    "bottleneck": Bottleneck,
}


def of(model: schema.Model) -> type[Fusion]:
    """The class of `model.fusion`."""
    return FUSIONS[model.fusion]


def _lower(model: schema.Model, names: tuple[str, ...]) -> tuple[list[Stack], int | None]:
    """Stacks below the fused layers, one each modality, and `inner_norm` of the stacks above.

    Where they end, or after `fusion_norm_layer` layers, `fusion_norm` puts a LayerNorm.
    """
    depth = model.depth - model.fusion_layers
    if not 0 <= depth <= model.depth:
        raise schema.ConfigError(
            f"model.fusion_layers is {model.fusion_layers}, expected 0 to model.depth "
            f"({model.depth})"
        )
    place = (model.fusion_norm_layer or depth) if model.fusion_norm else None
    below = place if place is not None and place < depth else None
    above = place if place is not None and place > depth else None
    return [Stack(name, (name,), 0, depth, place == depth, below) for name in names], above
