"""The masked autoencoder: encode the visible tokens, decode all of them, predict the hidden ones.

MAE (He et al. 2022), VideoMAE (Tong et al. 2022) and audio-visual MAE (Georgescu et al. 2023) are
configurations of this one model; see `config.Model`. Mask tokens and the prediction layer start
at zero, as in Scenic.
"""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.models import backbone, fusion, masking, positions, primitives, vit

Masks = Mapping[str, Bool[Array, "b n"] | masking.Mask]


@flax.struct.dataclass
class Reconstruction:
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
        self,
        modalities: Mapping[str, modality_lib.Modality],
        model: schema.Model,
        compute: schema.Compute,
        *,
        rngs: nnx.Rngs,
    ):
        super().__init__(modalities, model, compute, rngs=rngs)
        self.inpainting = model.inpainting
        self.loss_on_visible = model.loss_on_visible
        self.decoder_kind = model.decoder_positions
        self.project = nnx.Dict()
        self.mask_token = nnx.Dict()
        self.decoder_positions = nnx.Dict()
        self.decoder_modality_token = nnx.Dict()
        self.predict = nnx.Dict()
        width, dtype = model.decoder_width, compute.dtype
        for name, modality in modalities.items():
            bias = model.project_bias
            self.project[name] = primitives.Dense(
                model.width, width, dtype=dtype, bias=bias, rngs=rngs
            )
            self.mask_token[name] = nnx.Param(jnp.zeros(width))
            if model.decoder_positions == "learned":
                self.decoder_positions[name] = positions.learned(modality, width, rngs=rngs)
            if model.modality_tokens:
                self.decoder_modality_token[name] = nnx.Param(jnp.zeros(width))
            zeros = nnx.initializers.zeros
            sizes = (width, modality.patch_dim)
            self.predict[name] = primitives.Dense(*sizes, dtype=dtype, kernel_init=zeros, rngs=rngs)
        self.decoders = fusion.decoders(tuple(modalities), model, compute, rngs=rngs)
        if self.inpainting:
            _check_inpainting(self.modalities)

    def __call__(
        self,
        inputs: backbone.Inputs,
        *,
        keys_b: Key[Array, "b"] | None = None,
        masks: Masks | None = None,
        present: fusion.Present | None = None,
        train: bool = False,
    ) -> Reconstruction:
        """Predicts the hidden tokens from the visible ones.

        Args:
            inputs: `{video: [b f h w 3], audio: [b t m]}`, or one of the two.
            keys_b: one key an example, for the masks and (in training) dropout and drop path.
            masks: replaces the drawn masks; True = hidden, as many a row as the modality hides.
            present: examples that have a modality; tokens of an absent one are attended to by none.

        Raises:
            ValueError: an unknown modality, a wrong shape or mask, or neither masks nor keys.
        """
        masks = self._masks(inputs, masks, keys_b)
        decoded, targets = self._decode(inputs, masks, present, keys_b if train else None, train)
        if not self.loss_on_visible:
            decoded = {k: masking.take_hidden(x, targets[k]) for k, x in decoded.items()}
        predictions = {k: self._predict(k, x) for k, x in decoded.items()}
        return Reconstruction(predictions, targets, self._predictable(inputs, present))

    def encode(
        self,
        inputs: backbone.Inputs,
        *,
        present: fusion.Present | None = None,
        layer: int | None = None,
    ) -> dict[str, Float[Array, "b _ d"]]:
        """Encoder output `[b n d]` of every modality with all tokens visible.

        Args:
            layer: tokens after as many layers instead, before any norm that follows.
        """
        tokens = self.encode_tokens(self.tokenise(inputs), present=present, layer=layer)
        return self.without_class_token(tokens)

    def reconstruct(
        self,
        inputs: backbone.Inputs,
        masks: Masks,
        *,
        present: fusion.Present | None = None,
    ) -> dict[str, Float[Array, "b _ _"]]:
        """Predictions `[b n p]` of every token, hidden or not."""
        masks = self._masks(inputs, masks, None)
        decoded, _ = self._decode(inputs, masks, present, None, False)
        return {name: self._predict(name, x_bnd) for name, x_bnd in decoded.items()}

    def _masks(
        self, inputs: backbone.Inputs, masks: Masks | None, keys_b: jax.Array | None
    ) -> dict[str, masking.Mask]:
        modalities = self.given(inputs)
        if masks is None:
            if keys_b is None:
                raise ValueError("no tokens to hide: pass keys_b (draws masks) or masks")
            return {
                m.name: masking.draw(masking.modality_keys(keys_b, m.name), m) for m in modalities
            }
        given = {m.name: masks[m.name] for m in modalities}
        return {
            m.name: x if isinstance(x, masking.Mask) else masking.from_bool(x, m.hidden)
            for m, x in zip(modalities, given.values(), strict=True)
        }

    def _decode(
        self,
        inputs: backbone.Inputs,
        masks: dict[str, masking.Mask],
        present: fusion.Present | None,
        keys_b: jax.Array | None,
        train: bool,
    ) -> tuple[dict[str, jax.Array], dict[str, masking.Mask]]:
        """Decoder output `[b n e]` of all tokens, and which of them are to be predicted."""
        encode_keys, decode_keys = vit.fold(keys_b, 0), vit.fold(keys_b, 1)
        tokens = self.tokenise(inputs, masks)
        tokens = self.encode_tokens(tokens, present=present, keys_b=encode_keys, train=train)
        projected = {name: self.project[name](x_bvd) for name, x_bvd in tokens.items()}
        classes = {name: x[:, :1] for name, x in projected.items() if self.class_token}
        sources, masks = self._sources(self.without_class_token(projected), masks)
        full = {}
        for name, mask in masks.items():
            x_bne = self._full_sequence(name, sources[name], mask)
            full[name] = jnp.concatenate([classes[name], x_bne], 1) if classes else x_bne
        decoded = self.decoders(full, present=present, keys_b=decode_keys, train=train)
        return self.without_class_token(decoded), masks

    def _sources(
        self, projected: dict[str, jax.Array], masks: dict[str, masking.Mask]
    ) -> tuple[dict[str, jax.Array], dict[str, masking.Mask]]:
        """The tokens each decoder is given, and where it has to fill in the rest.

        With inpainting these are the other modality's visible tokens, at the front.
        """
        if not self.inpainting:
            return projected, masks
        if len(projected) < 2:
            raise ValueError("inpainting decodes one modality from the other; give both as inputs")
        sources = dict(zip(projected, reversed(projected.values()), strict=True))
        sizes = {m.name: m.tokens for m in self.modalities}
        fronts = {
            name: masking.prefix(x.shape[0], sizes[name], x.shape[1]) for name, x in sources.items()
        }
        return sources, fronts

    def _full_sequence(self, name: str, source: jax.Array, mask: masking.Mask) -> jax.Array:
        modality = next(m for m in self.modalities if m.name == name)
        x_bne = masking.merge(source, self.mask_token[name][...], mask)
        learned = self.decoder_positions.get(name)
        places = positions.table(self.decoder_kind, modality, x_bne.shape[-1], learned)
        if name in self.decoder_modality_token:
            places = places + self.decoder_modality_token[name][...]
        return x_bne + places.astype(self.dtype)

    def _predict(self, name: str, x_bne: jax.Array) -> jax.Array:
        return self.predict[name](x_bne).astype(jnp.float32)

    def _predictable(
        self, inputs: backbone.Inputs, present: fusion.Present | None
    ) -> dict[str, jax.Array] | None:
        """Inpainting needs both modalities of an example, otherwise its own is enough."""
        if not present:
            return None
        names = [m.name for m in self.given(inputs)]
        everyone = jnp.ones(inputs[names[0]].shape[0], bool)
        here = {name: present.get(name, everyone) for name in names}
        if not self.inpainting:
            return here
        both = here[names[0]] & here[names[1]]
        return dict.fromkeys(names, both)


def _check_inpainting(modalities: tuple[modality_lib.Modality, ...]) -> None:
    if len(modalities) != 2:
        raise schema.ConfigError("model.inpainting needs two modalities; add one or turn it off")
    for own, other in (modalities, modalities[::-1]):
        if other.visible >= own.tokens:
            raise schema.ConfigError(
                f"model.inpainting: {other.visible} visible {other.name} tokens leave none "
                f"of the {own.tokens} {own.name} tokens to fill in; "
                f"raise modalities.{other.name}.mask_ratio"
            )
