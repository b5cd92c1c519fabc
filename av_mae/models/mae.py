"""The masked autoencoder: encode the visible tokens, decode all of them, predict the hidden ones.

MAE (He et al. 2022), VideoMAE (Tong et al. 2022) and audio-visual MAE (Georgescu et al. 2023) are
configurations of this one model; see `schema.Model`. Mask tokens and the prediction layer start
at zero, as in Scenic.
"""

import dataclasses
from collections.abc import Mapping

import flax.struct
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from av_mae.config import schema
from av_mae.config.modality import Modalities
from av_mae.models import backbone, fusion, layers, masking, positions, vit
from av_mae.models.presence import Present

Masks = Mapping[str, Bool[Array, "b n"] | masking.Mask]


@flax.struct.dataclass
class Predictions:
    """What the model fills in, by modality.

    Attributes:
        predictions: `[b h p]` of the hidden tokens, or `[b n p]` of all with `loss_on_visible`,
            float32.
        masks: the tokens that `predictions` are about. With inpainting these are not the masks of
            the encoder: there the places beyond the other modality's visible tokens are hidden.
        present: bool `[b]`, the examples whose predictions mean anything; None: all of them.
    """

    predictions: dict[str, masking.Leaf]
    masks: dict[str, masking.Leaf]
    present: dict[str, masking.Leaf] | None = None


class MaskedAutoencoder(backbone.Backbone):
    """Encoders on visible tokens, light decoders on all, one prediction layer a modality."""

    def __init__(
        self, modalities: Modalities, model: schema.Model, compute: schema.Compute, rngs: nnx.Rngs
    ):
        super().__init__(modalities, model, compute, rngs)
        self.inpainting = model.inpainting
        if self.inpainting and len(modalities) != 2:
            raise schema.ConfigError(
                "model.inpainting needs two modalities; add one or turn it off"
            )
        for own, other in zip(self.modalities, self.modalities[::-1], strict=True):
            if self.inpainting and other.visible >= own.tokens:
                raise schema.ConfigError(
                    f"model.inpainting: {other.visible} visible {other.name} tokens leave none "
                    f"of the {own.tokens} {own.name} tokens to fill in; "
                    f"raise modalities.{other.name}.mask_ratio"
                )

        self.loss_on_visible = model.loss_on_visible
        self.decoder_kind = model.decoder_positions
        self.project = nnx.Dict()
        self.mask_token = nnx.Dict()
        self.decoder_positions = nnx.Dict()
        self.decoder_modality_token = nnx.Dict()
        self.predict = nnx.Dict()
        width, dtype, zeros = model.decoder_width, compute.dtype, nnx.initializers.zeros
        for name, m in modalities.items():
            self.project[name] = layers.Dense(
                model.width, width, dtype=dtype, bias=model.project_bias, rngs=rngs
            )
            self.mask_token[name] = nnx.Param(jnp.zeros(width))
            if model.decoder_positions == "learned":
                self.decoder_positions[name] = positions.learned(m, width, rngs=rngs)
            if model.modality_tokens:
                self.decoder_modality_token[name] = nnx.Param(jnp.zeros(width))
            self.predict[name] = layers.Dense(
                width, m.patch_dim, dtype=dtype, kernel_init=zeros, rngs=rngs
            )
        self.decoders = fusion.of(decoder(model))(
            tuple(modalities),
            decoder(model),
            compute,
            eps=model.outer_norm_eps or model.norm_eps,
            first_layer=model.depth,
            rngs=rngs,
        )

    def __call__(
        self,
        inputs: backbone.Inputs,
        *,
        keys_b: Key[Array, "b"] | None = None,
        masks: Masks | None = None,
        present: Present | None = None,
        train: bool = False,
    ) -> Predictions:
        """Predicts the hidden tokens from the visible ones.

        Args:
            inputs: `{video: [b f h w 3], audio: [b t m]}`, or one of the two.
            keys_b: one key an example, for the masks and (in training) dropout and drop path.
            masks: replaces the drawn masks; True = hidden, as many a row as the modality hides.
            present: examples that have a modality; nothing attends to tokens of an absent one.

        Raises:
            ValueError: an unknown modality, a wrong shape or mask, or neither masks nor keys.
        """
        decoded, targets = self._decode(inputs, masks, present, keys_b, train)
        if not self.loss_on_visible:
            decoded = {k: masking.take_hidden(x, targets[k]) for k, x in decoded.items()}
        predicted = {k: self.predict[k](x).astype(jnp.float32) for k, x in decoded.items()}
        if not present:
            return Predictions(predicted, targets)
        names = list(targets)
        everyone = jnp.ones(inputs[names[0]].shape[0], bool)
        here = {name: present.get(name, everyone) for name in names}
        if self.inpainting:  # which takes both modalities of an example
            here = dict.fromkeys(names, here[names[0]] & here[names[1]])
        return Predictions(predicted, targets, here)

    def reconstruct(
        self, inputs: backbone.Inputs, masks: Masks, *, present: Present | None = None
    ) -> dict[str, Float[Array, "b _ _"]]:
        """Predictions `[b n p]` of every token, hidden or not."""
        decoded, _ = self._decode(inputs, masks, present, None, False)
        return {k: self.predict[k](x).astype(jnp.float32) for k, x in decoded.items()}

    def _decode(self, inputs: backbone.Inputs, masks: Masks | None, present, keys_b, train: bool):
        """(decoder output `[b n e]` of all tokens, masks of those to be predicted) by modality."""
        modalities, hidden = self.given(inputs), {}
        for m in modalities:
            if masks is not None:
                mask = masks[m.name]
                known = isinstance(mask, masking.Mask)
                hidden[m.name] = mask if known else masking.from_bool(mask, m.hidden)
            elif keys_b is not None:
                hidden[m.name] = masking.draw(keys_b, m)
            else:
                raise ValueError("no tokens to hide: pass keys_b (draws masks) or masks")

        keys_b = keys_b if train else None
        encode_keys, decode_keys = vit.fold(keys_b, 0), vit.fold(keys_b, 1)
        tokens = self.tokenise(inputs, hidden)
        tokens = self.encoders(tokens, present=present, keys_b=encode_keys, train=train)
        projected = {name: self.project[name](x_bvd) for name, x_bvd in tokens.items()}
        classes = {name: x[:, :1] for name, x in projected.items() if self.class_token}
        sources = self.without_class_token(projected)
        if self.inpainting:  # decodes the other modality's visible tokens, put at the front
            if len(sources) < 2:
                raise ValueError(
                    "inpainting decodes one modality from the other; give both as inputs"
                )
            sources = dict(zip(sources, reversed(sources.values()), strict=True))
            for m in modalities:
                batch, count = sources[m.name].shape[:2]
                places = jnp.tile(jnp.arange(m.tokens, dtype=jnp.int32), (batch, 1))
                hidden[m.name] = masking.Mask(places[:, :count], places[:, count:], places)

        full = {}
        for m in modalities:
            x_bne = masking.merge(sources[m.name], self.mask_token[m.name][...], hidden[m.name])
            learned = self.decoder_positions.get(m.name)
            places = positions.table(self.decoder_kind, m, x_bne.shape[-1], learned)
            if m.name in self.decoder_modality_token:
                places = places + self.decoder_modality_token[m.name][...]
            x_bne = x_bne + places.astype(self.dtype)
            full[m.name] = jnp.concatenate([classes[m.name], x_bne], 1) if classes else x_bne
        decoded = self.decoders(full, present=present, keys_b=decode_keys, train=train)
        return self.without_class_token(decoded), hidden


def decoder(model: schema.Model) -> schema.Model:
    """The decoder as a model of its own: its sizes, no stochastic depth, a norm of its own."""
    return dataclasses.replace(
        model,
        fusion="early" if model.decoder == "joint" else model.decoder,
        width=model.decoder_width,
        depth=model.decoder_depth,
        heads=model.decoder_heads,
        mlp=model.decoder_mlp,
        final_norm=model.decoder_norm,
        shared_norm=False,
        drop_path=0.0,
    )
