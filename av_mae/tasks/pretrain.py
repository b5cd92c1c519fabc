"""Masked-autoencoder pretraining: reconstruct the hidden tokens of every modality."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
from flax import nnx

from av_mae.config import schema
from av_mae.config.modality import Modality
from av_mae.models import mae, masking
from av_mae.preprocess import inputs as inputs_lib
from av_mae.tasks import losses, presence


@flax.struct.dataclass
class Pictures:
    """A reconstruction in the space of the model's inputs (normalised pixels or log-mel).

    Attributes:
        original: the input, cut to whole patches.
        masked: the same with hidden tokens not a number: drawn grey, silent.
        predicted: visible tokens as they are, hidden ones as the decoder sees them.
    """

    original: jax.Array
    masked: jax.Array
    predicted: jax.Array


@dataclasses.dataclass(frozen=True)
class Pretrain:
    """The pretraining task of an experiment."""

    experiment: schema.Experiment

    def init(self, rngs: nnx.Rngs) -> mae.MaskedAutoencoder:
        e = self.experiment
        return mae.MaskedAutoencoder(e.modalities, e.model, e.compute, rngs=rngs)

    def loss(
        self,
        model: mae.MaskedAutoencoder,
        batch: dict[str, jax.Array],
        key: jax.Array,
        keys_b: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Mean squared error of the hidden patches, and its parts by modality."""
        del key  # nothing is shared by the whole batch
        inputs = self._inputs(batch, augment=self.experiment.augment, keys_b=keys_b)
        loss, errors = self._score(model, inputs, batch, keys_b, train=True)
        return loss, {"loss": loss} | {f"loss_{name}": s.mean for name, s in errors.items()}

    def evaluate(
        self, model: mae.MaskedAutoencoder, batch: dict[str, jax.Array], keys_b: jax.Array
    ) -> dict[str, losses.Sum]:
        """The errors without augmentation or dropout; masks are drawn from `keys_b`.

        Batches hold a modality in different numbers of clips, so what a set of them scores is
        `losses.weighted` of the sum of their errors, not the mean of their losses.
        """
        return self._score(model, self._inputs(batch), batch, keys_b, train=False)[1]

    def features(
        self, model: mae.MaskedAutoencoder, batch: dict[str, jax.Array], layer: int | None = None
    ) -> dict[str, jax.Array]:
        """Encoder output of all tokens, `{modality: [b n d]}`, or what leaves layer `layer`."""
        return model.encode(self._inputs(batch), present=presence.of(batch), layer=layer)

    def reconstruct(
        self, model: mae.MaskedAutoencoder, batch: dict[str, jax.Array], keys_b: jax.Array
    ) -> dict[str, Pictures]:
        """Hides tokens as in training and fills them in again, by modality."""
        inputs = self._inputs(batch)
        specs = {name: self.experiment.modalities[name] for name in inputs}
        masks = {
            name: masking.draw(masking.modality_keys(keys_b, name), spec)
            for name, spec in specs.items()
        }
        bools = {name: mask.as_bool() for name, mask in masks.items()}
        predictions = model.reconstruct(inputs, bools, present=presence.of(batch))
        normalise = self.experiment.model.normalise_targets
        return {
            name: pictures(specs[name], inputs[name], bools[name], predictions[name], normalise)
            for name in inputs
        }

    def _inputs(self, batch: dict[str, jax.Array], **augmentation) -> dict[str, jax.Array]:
        return inputs_lib.prepare(batch, self.experiment.modalities, **augmentation)

    def _score(
        self,
        model: mae.MaskedAutoencoder,
        inputs: dict[str, jax.Array],
        batch: dict[str, jax.Array],
        keys_b: jax.Array,
        *,
        train: bool,
    ) -> tuple[jax.Array, dict[str, losses.Sum]]:
        e = self.experiment
        output = model(inputs, keys_b=keys_b, present=presence.of(batch), train=train)
        hidden = {name: mask.hidden for name, mask in output.masks.items()}
        return losses.reconstruction(
            output.predictions,
            inputs,
            None if e.model.loss_on_visible else hidden,
            e.modalities,
            normalise=e.model.normalise_targets,
            valid_b=batch["valid"],
            present=output.present,
        )


def pictures(
    spec: Modality, x: jax.Array, mask_bn: jax.Array, predicted_bnp: jax.Array, normalise: str
) -> Pictures:
    """What was given, what of it was visible, and the hidden part as predicted for all tokens."""
    patches_bnp = spec.patchify(x)
    filled = losses.denormalise(predicted_bnp, patches_bnp, spec, normalise)
    hidden = mask_bn[:, :, None]
    return Pictures(
        original=spec.unpatchify(patches_bnp),
        masked=spec.unpatchify(jnp.where(hidden, jnp.nan, patches_bnp)),
        predicted=spec.unpatchify(jnp.where(hidden, filled, patches_bnp)),
    )
