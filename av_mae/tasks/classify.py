"""Classification: finetuning, training from scratch, and linear probes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from av_mae import tasks
from av_mae.config import schema
from av_mae.models import classifier, flops, fusion, presence
from av_mae.models.flops import Flops, Passes
from av_mae.preprocess import inputs as inputs_lib
from av_mae.preprocess import mix
from av_mae.tasks import losses, metrics


class Classify(tasks.Task):
    """The classification task of an experiment."""

    title = "Classifier training"
    labelled = True

    @staticmethod
    def instead(source: str, start: str) -> str:
        return (
            "it has no classifier; use features or reconstruct, or finetune it: task classify with "
            f"init_from.path={source}"
        )

    def check_training(self) -> None:
        if not self.labels:
            dataset = self.experiment.dataset
            advice = "prepare them again from class folders, or from a csv with a label column"
            if dataset.format == "mediasequence":
                advice = "set dataset.mediasequence.labels or dataset.mediasequence.classes"
            raise schema.ConfigError(f"the clips of {dataset.path} have no labels; {advice}")
        super().check_training()

    @property
    def one_label(self) -> bool:
        return not self.experiment.dataset.multilabel

    @property
    def trainable(self) -> str:
        return "head" if self.experiment.model.linear_probe else ""

    def passes(self) -> list[Passes]:
        e = self.experiment
        return fusion.of(e.model).passes(e.model, {k: m.tokens for k, m in e.modalities.items()})

    def flops(self) -> Flops:
        model, total = self.experiment.model, flops.layers(self.passes())
        for m in self.experiment.modalities.values():
            total += flops.product(m.tokens, m.patch_dim, model.width, gradients=1)
        if model.linear_probe:
            total = Flops(total.forward, total.forward)
        for _ in self.experiment.modalities:
            total += flops.product(1, model.head_width or model.width, len(self.labels))
            if model.head_width:
                total += flops.product(1, model.width, model.head_width)
        return total

    def init(self, rngs: nnx.Rngs) -> classifier.Classifier:
        e = self.experiment
        return classifier.Classifier(e.modalities, e.model, e.compute, len(self.labels), rngs)

    def loss(
        self, model: classifier.Classifier, batch: tasks.Batch, key: jax.Array, keys_b: jax.Array
    ) -> tuple[jax.Array, tasks.Metrics]:
        """Cross entropy of the (mixed) clips, and the share of them that is recognised."""
        e, valid_b = self.experiment, batch["valid"]
        present = presence.of(batch)
        inputs = inputs_lib.prepare(batch, e.modalities, augment=e.augment, keys_b=keys_b)
        inputs, labels = mix.mix(
            inputs,
            batch["label"],
            key,
            mixup=e.augment.mixup,
            cutmix=e.augment.cutmix,
            per_modality=e.augment.mix_per_modality,
            valid_b=valid_b,
            present=present,
        )
        present = presence.drop(present, list(inputs), e.augment.drop_modality, keys_b)
        logits = model(inputs, present=present, keys_b=keys_b, train=True)
        loss, _ = losses.classification(
            logits,
            labels,
            multilabel=e.dataset.multilabel,
            smoothing=e.optim.label_smoothing,
            class_weights=self.class_weights,
            valid_b=valid_b,
            present=present,
        )
        if e.dataset.multilabel:
            return loss, {"loss": loss}

        # Rows without any modality are not counted; mixed labels are those of all modalities.
        here = [(present or {}).get(name, valid_b) for name in logits]
        counted_b = valid_b & jnp.stack(here).any(0)
        labels_bk = jnp.stack(list(labels.values())).mean(0)
        right_b = presence.mean(logits, present).argmax(1) == labels_bk.argmax(1)
        accuracy = (right_b & counted_b).sum() / jnp.maximum(counted_b.sum(), 1)
        return loss, {"loss": loss, "accuracy": accuracy}

    def predict(self, model: classifier.Classifier, batch: tasks.Batch) -> jax.Array:
        """Logits `[b k]`, averaged over the modalities that a clip has."""
        inputs = inputs_lib.prepare(batch, self.experiment.modalities)
        return model.predict(inputs, present=presence.of(batch))

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
