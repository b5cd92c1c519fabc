"""Masked-autoencoder pretraining: reconstruct the hidden tokens of every modality."""

import flax.struct
import jax
import jax.numpy as jnp
from flax import nnx

from av_mae import tasks
from av_mae.config import schema
from av_mae.config.modality import Modality
from av_mae.models import flops, fusion, mae, masking, positions, presence
from av_mae.models.flops import Flops, Passes
from av_mae.preprocess import inputs as inputs_lib
from av_mae.tasks import losses

# Keys that only a classifier's training has a use for; here they stay as they are by default.
UNUSED = (
    "augment.rand_augment",
    "augment.erase",
    "augment.mixup",
    "augment.cutmix",
    "augment.drop_modality",
    "optim.class_weights",
)


@flax.struct.dataclass
class Filled:
    """What the model fills in, in the space of its inputs (normalised pixels or log-mel).

    Attributes:
        original: the input, cut to whole patches.
        masked: the same with hidden tokens not a number: drawn grey, silent.
        predicted: visible tokens as they are, hidden ones as the decoder sees them.
    """

    original: jax.Array
    masked: jax.Array
    predicted: jax.Array


class Pretrain(tasks.Task):
    """The pretraining task of an experiment."""

    title = "Masked autoencoder pretraining"
    gallery = True
    input_copies = 4

    @classmethod
    def check(cls, e: schema.Experiment) -> None:
        for key in UNUSED:
            group, name = key.split(".")
            value, default = (getattr(getattr(x, group), name) for x in (e, schema.Experiment()))
            if value != default:
                raise schema.ConfigError(
                    f"{key} is {value}, which only task 'classify' has a use for; leave it at "
                    f"{default}"
                )
        sizes = {"decoder_heads": e.model.decoder_heads, "decoder_mlp": e.model.decoder_mlp}
        for key, size in sizes.items():
            if size % e.compute.tensor:
                raise schema.ConfigError(
                    f"model.{key} is {size}, which compute.tensor {e.compute.tensor} does not "
                    "divide"
                )
        if e.model.fusion == "bottleneck":
            raise schema.ConfigError(
                "model.fusion bottleneck is for finetuning; pretrain with mid or early"
            )
        super().check(e)
        for modality in e.modalities.values():
            positions.check(
                e.model.decoder_positions, modality, e.model.decoder_width, "model.decoder_width"
            )
        if not e.model.loss_on_visible and not any(m.hidden for m in e.modalities.values()):
            raise schema.ConfigError(
                "nothing is hidden, so there is nothing to reconstruct: raise mask_ratio of "
                + " or ".join(
                    f"modalities.{n} ({m.tokens} tokens)" for n, m in e.modalities.items()
                )
            )

    @staticmethod
    def instead(source: str, start: str) -> str:
        return "it has no decoder; load the pretraining run that it was started from" + (
            f": {start}" if start else ""
        )

    def passes(self) -> list[Passes]:
        """Visible tokens through the encoders, then all of them through the decoders."""
        model, modalities = self.experiment.model, self.experiment.modalities
        visible = {name: m.visible for name, m in modalities.items()}
        tokens = {name: m.tokens for name, m in modalities.items()}
        light = mae.decoder(model)
        return fusion.of(model).passes(model, visible) + fusion.of(light).passes(light, tokens)

    def flops(self) -> Flops:
        """Visible tokens in, hidden tokens predicted."""
        model, total = self.experiment.model, flops.layers(self.passes())
        for name, m in self.experiment.modalities.items():
            predicted = m.tokens if model.loss_on_visible else m.hidden
            if model.inpainting and not model.loss_on_visible:
                others = (o for k, o in self.experiment.modalities.items() if k != name)
                predicted = m.tokens - next(others).visible
            projected = m.visible + (model.pool == "token")
            total += flops.product(m.visible, m.patch_dim, model.width, gradients=1)
            total += flops.product(projected, model.width, model.decoder_width)
            total += flops.product(predicted, model.decoder_width, m.patch_dim)
        return total

    def init(self, rngs: nnx.Rngs) -> mae.MaskedAutoencoder:
        e = self.experiment
        return mae.MaskedAutoencoder(e.modalities, e.model, e.compute, rngs)

    def loss(
        self, model: mae.MaskedAutoencoder, batch: tasks.Batch, key: jax.Array, keys_b: jax.Array
    ) -> tuple[jax.Array, tasks.Metrics]:
        """Mean squared error of the hidden patches, and its parts by modality."""
        del key  # nothing is shared by the whole batch
        loss, errors = self._score(model, batch, keys_b, train=True)
        return loss, {"loss": loss} | {f"loss_{name}": s.mean for name, s in errors.items()}

    def evaluate(
        self, model: mae.MaskedAutoencoder, batch: tasks.Batch, keys_b: jax.Array
    ) -> dict[str, losses.Sum]:
        """The errors without augmentation or dropout; masks are drawn from `keys_b`.

        Batches hold a modality in different numbers of clips, so what a set of them scores is
        `losses.weighted` of the sum of their errors, not the mean of their losses.
        """
        return self._score(model, batch, keys_b, train=False)[1]

    def reconstruct(
        self, model: mae.MaskedAutoencoder, batch: tasks.Batch, keys_b: jax.Array
    ) -> dict[str, Filled]:
        """Hides tokens as in training and fills them in again, by modality."""
        inputs = inputs_lib.prepare(batch, self.experiment.modalities)
        known, normalise = self.experiment.modalities, self.experiment.model.normalise_targets
        masks = {name: masking.draw(keys_b, known[name]) for name in inputs}
        predictions = model.reconstruct(inputs, masks, present=presence.of(batch))
        return {
            name: fill(known[name], x, masks[name].as_bool(), predictions[name], normalise)
            for name, x in inputs.items()
        }

    def _score(
        self, model: mae.MaskedAutoencoder, batch: tasks.Batch, keys_b: jax.Array, *, train: bool
    ) -> tuple[jax.Array, dict[str, losses.Sum]]:
        e = self.experiment
        augment, drawn = (e.augment, keys_b) if train else (None, None)
        inputs = inputs_lib.prepare(batch, e.modalities, augment=augment, keys_b=drawn)
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


def fill(
    spec: Modality, x: jax.Array, mask_bn: jax.Array, predicted_bnp: jax.Array, normalise: str
) -> Filled:
    """What was given, what of it was visible, and the hidden part as predicted for all tokens."""
    patches_bnp = spec.patchify(x)
    filled = losses.denormalise(predicted_bnp, patches_bnp, spec, normalise)
    hidden = mask_bn[:, :, None]
    return Filled(
        original=spec.unpatchify(patches_bnp),
        masked=spec.unpatchify(jnp.where(hidden, jnp.nan, patches_bnp)),
        predicted=spec.unpatchify(jnp.where(hidden, filled, patches_bnp)),
    )
