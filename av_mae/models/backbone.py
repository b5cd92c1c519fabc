"""What pretraining and finetuning share: inputs to tokens, and tokens through the encoders."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from av_mae.config import schema
from av_mae.config.modality import Modalities, Modality
from av_mae.models import fusion, layers, masking, positions
from av_mae.models.presence import Present

Inputs = Mapping[str, Float[Array, "b ..."]]


class Backbone(nnx.Module):
    """Patch embeddings, what is added to them, and the encoders.

    A patch embedding is one matrix product over flattened patches (Scenic and VideoMAE write it as
    a convolution whose stride is its kernel). Class tokens (`pool == "token"`, one a modality)
    carry no position and come first.
    """

    def __init__(
        self, modalities: Modalities, model: schema.Model, compute: schema.Compute, rngs: nnx.Rngs
    ):
        self.modalities = tuple(modalities.values())
        self.kind = model.positions
        self.dtype = compute.dtype
        self.embed = nnx.Dict()
        self.positions = nnx.Dict()
        self.modality_token = nnx.Dict()
        self.class_token = nnx.Dict()
        lecun = nnx.initializers.lecun_normal()
        for name, m in modalities.items():
            self.embed[name] = layers.Dense(
                m.patch_dim, model.width, dtype=compute.dtype, kernel_init=lecun, rngs=rngs
            )
            if model.positions == "learned":
                self.positions[name] = positions.learned(m, model.width, rngs=rngs)
            if model.modality_tokens:
                self.modality_token[name] = nnx.Param(jnp.zeros(model.width))
            if model.pool == "token":
                self.class_token[name] = nnx.Param(jnp.zeros(model.width))
        self.encoders = fusion.of(model)(
            tuple(modalities), model, compute, eps=model.norm_eps, rngs=rngs
        )

    def tokenise(
        self, inputs: Inputs, masks: Mapping[str, masking.Mask] | None = None
    ) -> fusion.Tokens:
        """Encoder input of every modality: all tokens, or the visible ones of `masks`.

        Hidden patches are left out before the embedding's product.
        """
        tokens = {}
        for modality in self.given(inputs):
            name = modality.name
            patches_bnp = modality.patchify(inputs[name])
            width = self.embed[name].kernel.shape[1]
            places = positions.table(self.kind, modality, width, self.positions.get(name))
            if masks is not None:
                patches_bnp = masking.take(patches_bnp, masks[name].visible)
                places = jnp.take(places, masks[name].visible, axis=0)
            x_btd = self.embed[name](patches_bnp) + places.astype(self.dtype)
            if name in self.modality_token:
                x_btd = x_btd + self.modality_token[name][...].astype(self.dtype)
            if name in self.class_token:
                class_d = self.class_token[name][...].astype(self.dtype)
                class_b1d = jnp.broadcast_to(class_d, (x_btd.shape[0], 1, width))
                x_btd = jnp.concatenate([class_b1d, x_btd], axis=1)
            tokens[name] = x_btd
        return tokens

    def features(
        self, inputs: Inputs, *, present: Present | None = None, layer: int | None = None
    ) -> dict[str, Float[Array, "b _ d"]]:
        """Encoder output `[b n d]` of every modality, all tokens visible, without class tokens.

        Args:
            layer: tokens after as many layers instead, before any norm that follows.
        """
        tokens = self.encoders(self.tokenise(inputs), present=present, layer=layer)
        return self.without_class_token(tokens)

    def given(self, inputs: Mapping[str, object]) -> tuple[Modality, ...]:
        """The modalities among `inputs`, in the model's order.

        Raises:
            ValueError: none, or one that the model was not built for.
        """
        known = [m.name for m in self.modalities]
        if not inputs or set(inputs) - set(known):
            raise ValueError(
                f"inputs hold {sorted(inputs) or 'nothing'}; this model takes {', '.join(known)} "
                "or any non-empty part of them"
            )
        return tuple(m for m in self.modalities if m.name in inputs)

    def without_class_token(self, tokens: fusion.Tokens) -> fusion.Tokens:
        return {name: x[:, 1:] for name, x in tokens.items()} if self.class_token else tokens
