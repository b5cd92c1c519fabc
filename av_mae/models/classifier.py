"""The classifier: encoded tokens pooled for each modality, one linear head, logits averaged.

With bottleneck fusion this is MBT (Nagrani et al. 2021) as Scenic finetunes it; with one modality
it is the ViT classifier of VideoMAE and Audio-MAE.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from av_mae.config import schema
from av_mae.config.modality import Modalities
from av_mae.models import attention, backbone, layers, presence, vit
from av_mae.models.presence import Present


def largest(x_btd: Float[Array, "b t d"]) -> Float[Array, "b d"]:
    """Maximum over the tokens, by its place.

    The derivative of `max` itself looks for the values that equal the maximum, finds none where a
    compiler computes them a second time with other rounding, and divides by their number.
    """
    place_b1d = jax.lax.stop_gradient(x_btd).argmax(1, keepdims=True)
    return jnp.take_along_axis(x_btd, place_b1d, axis=1)[:, 0]


_POOLS = {
    "mean": lambda x_btd: x_btd.mean(1),
    "max": largest,
    "token": lambda x_btd: x_btd[:, 0],
    "first": lambda x_btd: x_btd[:, 0],
}


class Classifier(backbone.Backbone):
    """Logits of every modality, from any non-empty subset of the modalities."""

    def __init__(
        self,
        modalities: Modalities,
        model: schema.Model,
        compute: schema.Compute,
        classes: int,
        rngs: nnx.Rngs,
    ):
        super().__init__(modalities, model, compute, rngs)
        self.pool = model.pool
        self.dropout = model.head_dropout
        self.linear_probe = model.linear_probe
        eps = model.outer_norm_eps or model.norm_eps
        self.head_norm = layers.LayerNorm(model.width, eps) if model.head_norm else None
        probed = modalities if model.linear_probe else ()
        self.standardise = nnx.Dict({name: Standardise(model.width) for name in probed})
        if model.shared_head:
            self.head = Head(model, classes, rngs=rngs)
        else:
            self.head = nnx.Dict({name: Head(model, classes, rngs=rngs) for name in modalities})

    def __call__(
        self,
        inputs: backbone.Inputs,
        *,
        present: Present | None = None,
        keys_b: Key[Array, "b"] | None = None,
        train: bool = False,
    ) -> dict[str, Float[Array, "b k"]]:
        """Logits by modality, float32.

        Args:
            inputs: `{video: [b f h w 3], audio: [b t m]}`, or one of the two.
            present: examples that have a modality; an absent one changes nothing for the others,
                and its own logits mean nothing.
            keys_b: one key an example for dropout and drop path; needed only in training.
            train: whether to drop, and (linear probe) to standardise by this batch's statistics.
        """
        keys_b = keys_b if train else None
        pooled = self.pooled(inputs, present=present, keys_b=keys_b, train=train)
        logits = {}
        for number, (name, x_bd) in enumerate(pooled.items()):
            if name in self.standardise:
                here_b = present.get(name) if present else None
                x_bd = self.standardise[name](jax.lax.stop_gradient(x_bd), here_b, train)
            x_bd = attention.drop_elements(x_bd, self.dropout, vit.fold(keys_b, number + 1))
            head = self.head if isinstance(self.head, Head) else self.head[name]
            logits[name] = head(x_bd)
        return logits

    def predict(
        self, inputs: backbone.Inputs, present: Present | None = None
    ) -> Float[Array, "b k"]:
        """Mean of the logits over the modalities that each example has."""
        return presence.mean(self(inputs, present=present), present)

    def pooled(
        self,
        inputs: backbone.Inputs,
        *,
        present: Present | None = None,
        keys_b: Key[Array, "b"] | None = None,
        train: bool = False,
    ) -> dict[str, Float[Array, "b d"]]:
        """What the head sees of every modality (before standardisation), float32."""
        tokens = self.encoders(
            self.tokenise(inputs), present=present, keys_b=vit.fold(keys_b, 0), train=train
        )
        pooled = {name: _POOLS[self.pool](x.astype(jnp.float32)) for name, x in tokens.items()}
        if self.head_norm is None:
            return pooled
        return {name: self.head_norm(x_bd) for name, x_bd in pooled.items()}


class Head(nnx.Module):
    """An optional tanh layer (`head_width`), then the linear classifier, in float32.

    Initial weights: zeros (Scenic), or normal(0.02) times `head_scale` (VideoMAE).
    """

    def __init__(self, model: schema.Model, classes: int, *, rngs: nnx.Rngs):
        init = nnx.initializers.normal(0.02 * model.head_scale)
        sizes, width = (model.width, model.head_width), model.head_width or model.width
        wide = model.head_width > 0
        self.hidden = layers.Dense(*sizes, dtype="float32", rngs=rngs) if wide else None
        self.kernel = nnx.Param(init(rngs.params(), (width, classes)))
        self.bias = nnx.Param(jnp.zeros(classes))

    def __call__(self, x_bd: Float[Array, "b d"]) -> Float[Array, "b k"]:
        if self.hidden is not None:
            x_bd = jnp.tanh(self.hidden(x_bd))
        return x_bd @ self.kernel[...] + self.bias[...]


class Standardise(nnx.Module):
    """(x - mean) / sqrt(var + 1e-6) for each feature, without scale or bias.

    Training steps use the statistics of the batch and move the running ones a tenth of the way
    towards them; everything else uses the running ones. So a probe sees features of unit size
    whatever the encoder, as Scenic's and MAE's batch-normalised probes do.
    """

    def __init__(self, width: int):
        self.mean = nnx.BatchStat(jnp.zeros(width))
        self.var = nnx.BatchStat(jnp.ones(width))

    def __call__(
        self, x_bd: Float[Array, "b d"], here_b: Bool[Array, "b"] | None, train: bool
    ) -> Float[Array, "b d"]:
        """Standardises features; rows outside `here_b` do not enter the batch's statistics."""
        if not train:
            mean, var = self.mean[...], self.var[...]
        elif here_b is None:
            mean, var = x_bd.mean(0), x_bd.var(0)
        else:  # the running ones if the batch has no row to count
            weight_b1 = here_b[:, None].astype(x_bd.dtype)
            count = weight_b1.sum()
            mean = (weight_b1 * x_bd).sum(0) / jnp.maximum(count, 1)
            var = (weight_b1 * jnp.square(x_bd - mean)).sum(0) / jnp.maximum(count, 1)
            mean = jnp.where(count > 0, mean, self.mean[...])
            var = jnp.where(count > 0, var, self.var[...])
        if train:
            self.mean[...] = 0.9 * self.mean[...] + 0.1 * mean
            self.var[...] = 0.9 * self.var[...] + 0.1 * var
        return (x_bd - mean) * jax.lax.rsqrt(var + 1e-6)
