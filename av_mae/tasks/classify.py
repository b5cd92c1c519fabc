"""Classification: finetuning, training from scratch, and linear probes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from av_mae.config import schema
from av_mae.models import classifier, fusion
from av_mae.preprocess import inputs as inputs_lib
from av_mae.preprocess import mix
from av_mae.tasks import losses, metrics, presence


@dataclasses.dataclass(frozen=True)
class Classify:
    """The classification task of an experiment with `classes` labels."""

    experiment: schema.Experiment
    classes: int

    def init(self, rngs: nnx.Rngs) -> classifier.Classifier:
        e = self.experiment
        return classifier.Classifier(
            e.modalities, e.model, e.compute, classes=self.classes, rngs=rngs
        )

    def loss(
        self,
        model: classifier.Classifier,
        batch: dict[str, jax.Array],
        key: jax.Array,
        keys_b: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Cross entropy of the (mixed) clips, and the share of them that is recognised."""
        e = self.experiment
        present = presence.of(batch)
        inputs = inputs_lib.prepare(batch, e.modalities, augment=e.augment, keys_b=keys_b)
        inputs, labels = mix.mix(
            inputs,
            batch["label"],
            key,
            mixup=e.augment.mixup,
            cutmix=e.augment.cutmix,
            per_modality=e.augment.mix_per_modality,
            valid_b=batch["valid"],
            present=present,
        )
        present = presence.drop(present, list(inputs), e.augment.drop_modality, keys_b)
        logits = model(inputs, present=present, keys_b=keys_b, train=True)
        loss, _ = losses.classification(
            logits,
            labels,
            multilabel=e.dataset.multilabel,
            smoothing=e.optim.label_smoothing,
            valid_b=batch["valid"],
            present=present,
        )
        if e.dataset.multilabel:
            return loss, {"loss": loss}
        return loss, {"loss": loss, "accuracy": _accuracy(logits, labels, batch["valid"], present)}

    def predict(self, model: classifier.Classifier, batch: dict[str, jax.Array]) -> jax.Array:
        """Logits `[b k]`, averaged over the modalities that a clip has."""
        inputs = inputs_lib.prepare(batch, self.experiment.modalities)
        return model.predict(inputs, present=presence.of(batch))

    def features(
        self, model: classifier.Classifier, batch: dict[str, jax.Array], layer: int | None = None
    ) -> dict[str, jax.Array]:
        """Encoder output of all tokens, `{modality: [b n d]}`, or what leaves layer `layer`."""
        inputs = inputs_lib.prepare(batch, self.experiment.modalities)
        return model.features(inputs, present=presence.of(batch), layer=layer)

    def measure(
        self, scores_bk: np.ndarray, labels_bk: np.ndarray, valid_b: np.ndarray
    ) -> dict[str, Any]:
        """Mergeable metrics of a batch of scores (logits or log-probabilities)."""
        multilabel = self.experiment.dataset.multilabel
        cross_entropy = losses.sigmoid_cross_entropy if multilabel else losses.softmax_cross_entropy
        error_b = cross_entropy(jnp.asarray(scores_bk), jnp.asarray(labels_bk))
        measured: dict[str, Any] = {"loss": metrics.Mean.of("loss", error_b, jnp.asarray(valid_b))}
        kinds = (metrics.Accuracy, metrics.MeanClassAccuracy)
        for kind in (metrics.MeanAveragePrecision,) if multilabel else kinds:
            measured[kind.__name__] = kind.of(scores_bk, labels_bk, valid_b)
        return measured


def _accuracy(
    logits: dict[str, jax.Array],
    labels: dict[str, jax.Array],
    valid_b: jax.Array,
    present: fusion.Present | None,
) -> jax.Array:
    """Share recognised of the rows that have a modality, merged over those that each one has."""
    here = [(present or {}).get(name, valid_b) for name in logits]
    counted_b = valid_b & jnp.stack(here).any(0)
    labels_bk = jnp.stack(list(labels.values())).mean(0)
    right_b = fusion.mean_over(logits, present).argmax(1) == labels_bk.argmax(1)
    return (right_b & counted_b).sum() / jnp.maximum(counted_b.sum(), 1)
