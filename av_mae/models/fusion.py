"""How the token sequences of several modalities pass through transformer layers together.

Each class maps {modality: tokens [b t d]} to the same, for any non-empty subset of the modalities
it was built for. `present` says which examples have a modality: tokens of an absent one are never
attended to, so they change nothing for the others. Encoders use all classes; decoders use `Joint`,
`Shared` and `Separate`.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from av_mae.config import schema
from av_mae.models import primitives, vit

Tokens = dict[str, Float[Array, "b _ d"]]
Present = Mapping[str, Bool[Array, "b"]]


@runtime_checkable
class Fusion(Protocol):
    """What the classes below have in common."""

    def __call__(
        self,
        tokens: Tokens,
        *,
        present: Present | None = None,
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
        ...


class Joint(nnx.Module):
    """One stack over the concatenation of all modalities (early fusion, joint decoder)."""

    def __init__(self, stack: vit.Encoder):
        self.joint = stack

    def __call__(self, tokens, *, present=None, keys_b=None, train=False, layer=None):
        del train
        return _jointly(self.joint, tokens, present, keys_b, layer)


class Shared(nnx.Module):
    """One stack applied to each modality on its own."""

    def __init__(self, stack: vit.Encoder):
        self.shared = stack

    def __call__(self, tokens, *, present=None, keys_b=None, train=False, layer=None):
        del present, train
        stacks = dict.fromkeys(tokens, self.shared)
        return _separately(stacks, tokens, keys_b, layer)


class Separate(nnx.Module):
    """One stack for each modality, under its name; `norm` is a final norm that all share."""

    def __init__(self, stacks: Mapping[str, vit.Encoder], norm: primitives.LayerNorm | None = None):
        for name, stack in stacks.items():
            setattr(self, name, stack)
        self.norm = norm

    def __call__(self, tokens, *, present=None, keys_b=None, train=False, layer=None):
        del present, train
        stacks = {name: getattr(self, name) for name in tokens}
        return _normed(self.norm, _separately(stacks, tokens, keys_b, layer), layer)


class Mid(nnx.Module):
    """Separate stacks, then `fusion_layers` layers over the concatenation."""

    def __init__(
        self,
        names: Sequence[str],
        model: schema.Model,
        spec: vit.Spec,
        *,
        norm: float | None,
        rngs: nnx.Rngs,
    ):
        for name in names:
            setattr(self, name, _lower(model, spec, rngs=rngs))
        self.joint = _upper(model, spec, norm=norm, rngs=rngs)

    def __call__(self, tokens, *, present=None, keys_b=None, train=False, layer=None):
        del train
        stacks = {name: getattr(self, name) for name in tokens}
        tokens = _separately(stacks, tokens, keys_b, layer)
        return _jointly(self.joint, tokens, present, keys_b, layer)


class Bottleneck(nnx.Module):
    """MBT (Nagrani et al. 2021): modalities exchange what fits through a few bottleneck tokens.

    In each fused layer every modality encodes [its tokens; the bottleneck] with its own weights;
    the next bottleneck is the mean of what the (present) modalities make of it. With no bottleneck
    tokens at all, every modality instead attends to all tokens of the others.
    """

    def __init__(
        self,
        names: Sequence[str],
        model: schema.Model,
        spec: vit.Spec,
        *,
        norm: float | None,
        rngs: nnx.Rngs,
    ):
        for name in names:
            setattr(self, name, _lower(model, spec, rngs=rngs))
        self.spec = spec
        self.at_test = model.bottlenecks_at_test
        self.alone = len(names) == 1 or model.fusion_layers == 0
        own = None if model.shared_norm else norm
        self.fused = nnx.Dict({name: _upper(model, spec, norm=own, rngs=rngs) for name in names})
        self.norm = _norm(spec, norm if model.shared_norm else None)
        shape = (model.bottlenecks, spec.width)
        exists = model.bottlenecks > 0 and not self.alone
        draw = nnx.initializers.normal(0.02)
        self.bottleneck = nnx.Param(draw(rngs.params(), shape)) if exists else None

    def __call__(self, tokens, *, present=None, keys_b=None, train=False, layer=None):
        stacks = {name: getattr(self, name) for name in tokens}
        tokens = _separately(stacks, tokens, keys_b, layer)
        fused = {name: self.fused[name] for name in tokens}
        if self.alone or not (train or self.at_test):
            tokens = _separately(fused, tokens, keys_b, layer)
        elif all(stack.reaches(layer) for stack in fused.values()):
            tokens = self._fuse(fused, tokens, present, keys_b, layer)
        return _normed(self.norm, tokens, layer)

    def _fuse(
        self,
        stacks: dict[str, vit.Encoder],
        tokens: Tokens,
        present: Present | None,
        keys_b: jax.Array | None,
        layer: int | None,
    ) -> Tokens:
        layers, apply = {}, {}
        for name, stack in stacks.items():
            apply[name], layers[name] = stack.unstack(layer)

        def body(carry: tuple[Tokens, jax.Array | None], layer: vit.Layer):
            x, bottleneck_bzd = carry
            outputs = {}
            for number, name in enumerate(x):
                context, keep_bt = _context(x, name, bottleneck_bzd, present)
                keys = vit.fold(keys_b, number)
                outputs[name] = apply[name](layer[name], context, None, keep_bt, keys)
            return _advance(x, outputs, bottleneck_bzd, present)

        batch = next(iter(tokens.values())).shape[0]
        start = None
        if self.bottleneck is not None:
            start = jnp.tile(self.bottleneck[...].astype(self.spec.dtype), (batch, 1, 1))
        tokens, _ = vit.loop(body, (tokens, start), layers, self.spec)
        return {n: _normed(stacks[n].norm, {n: x}, layer)[n] for n, x in tokens.items()}


def encoders(
    names: Sequence[str], model: schema.Model, compute: schema.Compute, *, rngs: nnx.Rngs
) -> Fusion:
    """The encoders of `model.fusion`."""
    spec = vit.encoder_spec(model, compute)
    norm = model.norm_eps if model.final_norm else None
    stack = functools.partial(vit.Encoder, model.depth, spec, rngs=rngs)
    match model.fusion:
        case "early":
            return Joint(stack(norm=norm))
        case "shared":
            return Shared(stack(norm=norm))
        case "separate":
            own, common = (None, norm) if model.shared_norm else (norm, None)
            return Separate({name: stack(norm=own) for name in names}, _norm(spec, common))
        case "mid":
            return Mid(names, model, spec, norm=norm, rngs=rngs)
        case _:
            return Bottleneck(names, model, spec, norm=norm, rngs=rngs)


def decoders(
    names: Sequence[str], model: schema.Model, compute: schema.Compute, *, rngs: nnx.Rngs
) -> Fusion:
    """The decoders of `model.decoder`; their layers are numbered after the encoder's."""
    norm = (model.outer_norm_eps or model.norm_eps) if model.decoder_norm else None
    stack = functools.partial(
        vit.Encoder,
        model.decoder_depth,
        vit.decoder_spec(model, compute),
        norm=norm,
        first_layer=model.depth,
        rngs=rngs,
    )
    match model.decoder:
        case "joint":
            return Joint(stack())
        case "shared":
            return Shared(stack())
        case _:
            return Separate({name: stack() for name in names})


def check(model: schema.Model) -> None:
    """Raises ConfigError if layers are to be fused that the model does not have."""
    if model.fusion in ("mid", "bottleneck") and not 0 <= model.fusion_layers <= model.depth:
        raise schema.ConfigError(
            f"model.fusion_layers is {model.fusion_layers}, expected 0 to model.depth "
            f"({model.depth})"
        )


def check_training(model: schema.Model, names: Collection[str]) -> None:
    """A model with one fused layer can be read and run; to train one is a mistake."""
    if model.fusion == "bottleneck" and model.fusion_layers == 1 and len(names) > 1:
        raise schema.ConfigError(
            "model.fusion_layers is 1: the bottleneck carries from one fused layer to the next, so "
            "nothing would be exchanged; use 2 or more, or 0 for none"
        )


def keep_tokens(tokens: Tokens, present: Present | None) -> jax.Array | None:
    """Bool `[b t]` over the concatenated tokens: False for those of absent modalities."""
    if not present or len(tokens) == 1:
        return None
    parts = []
    for name, x_btd in tokens.items():
        here_b = present.get(name, jnp.ones(x_btd.shape[0], bool))
        parts.append(jnp.broadcast_to(here_b[:, None], x_btd.shape[:2]))
    return jnp.concatenate(parts, axis=1)


def norm_layer(model: schema.Model) -> int | None:
    """After how many layers mid and bottleneck fusion have a LayerNorm; None: they have none."""
    if not model.fusion_norm:
        return None
    return model.fusion_norm_layer or model.depth - model.fusion_layers


def _lower(model: schema.Model, spec: vit.Spec, *, rngs: nnx.Rngs) -> vit.Encoder:
    """The layers of one modality below the fused ones."""
    layers, place = model.depth - model.fusion_layers, norm_layer(model)
    norm = model.norm_eps if place == layers else None
    inner = place if place is not None and place < layers else None
    return vit.Encoder(layers, spec, norm=norm, inner_norm=inner, rngs=rngs)


def _upper(
    model: schema.Model, spec: vit.Spec, *, norm: float | None, rngs: nnx.Rngs
) -> vit.Encoder:
    """The fused layers."""
    lower, place = model.depth - model.fusion_layers, norm_layer(model)
    inner = place if place is not None and place > lower else None
    return vit.Encoder(
        model.fusion_layers, spec, norm=norm, inner_norm=inner, first_layer=lower, rngs=rngs
    )


def _jointly(
    encoder: vit.Encoder,
    tokens: Tokens,
    present: Present | None,
    keys_b: jax.Array | None,
    layer: int | None,
) -> Tokens:
    joined_btd = jnp.concatenate(list(tokens.values()), axis=1)
    keys_b = vit.fold(keys_b, len(tokens))
    keep_bt = keep_tokens(tokens, present)
    joined_btd = encoder(joined_btd, keep_bt=keep_bt, keys_b=keys_b, layer=layer)
    lengths = [x_btd.shape[1] for x_btd in tokens.values()]
    return dict(zip(tokens, jax.lax.split(joined_btd, lengths, axis=1), strict=True))


def _separately(
    stacks: Mapping[str, vit.Encoder],
    tokens: Tokens,
    keys_b: jax.Array | None,
    layer: int | None,
) -> Tokens:
    return {
        name: stacks[name](x_btd, keys_b=vit.fold(keys_b, number), layer=layer)
        for number, (name, x_btd) in enumerate(tokens.items())
    }


def _context(
    tokens: Tokens, name: str, bottleneck_bzd: jax.Array | None, present: Present | None
) -> tuple[jax.Array, jax.Array | None]:
    """What modality `name` encodes in a fused layer, and which of it may be attended to."""
    if bottleneck_bzd is not None:
        return jnp.concatenate([tokens[name], bottleneck_bzd], axis=1), None
    ordered = {other: x for other, x in tokens.items() if other != name} | {name: tokens[name]}
    return jnp.concatenate(list(ordered.values()), axis=1), keep_tokens(ordered, present)


def _advance(
    tokens: Tokens,
    outputs: Tokens,
    bottleneck_bzd: jax.Array | None,
    present: Present | None,
) -> tuple[Tokens, jax.Array | None]:
    """The tokens and the bottleneck that the next fused layer sees."""
    lengths = {name: x_btd.shape[1] for name, x_btd in tokens.items()}
    if bottleneck_bzd is None:
        return {name: y[:, -lengths[name] :] for name, y in outputs.items()}, None
    new = {name: y[:, : lengths[name]] for name, y in outputs.items()}
    messages = {name: y[:, lengths[name] :] for name, y in outputs.items()}
    return new, mean_over(messages, present)


def mean_over(values: Mapping[str, jax.Array], present: Present | None) -> jax.Array:
    """Mean `[b ...]` over the modalities that are present in each example."""
    stacked = jnp.stack(list(values.values()))
    if not present:
        return stacked.mean(0)
    everyone = jnp.ones(stacked.shape[1], bool)
    here = jnp.stack([present.get(name, everyone) for name in values])
    here = here.reshape(*here.shape, *(1,) * (stacked.ndim - 2)).astype(stacked.dtype)
    return (stacked * here).sum(0) / jnp.maximum(here.sum(0), 1)


def _norm(spec: vit.Spec, eps: float | None) -> primitives.LayerNorm | None:
    return None if eps is None else primitives.LayerNorm(spec.width, eps)


def _normed(norm: primitives.LayerNorm | None, tokens: Tokens, layer: int | None) -> Tokens:
    """The last norm of all, unless it stops at a layer before."""
    if norm is None or layer is not None:
        return tokens
    return {name: norm(x_btd) for name, x_btd in tokens.items()}
