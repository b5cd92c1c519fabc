"""Nearest neighbours in feature space: how good pretrained features are, without training.

Cosine similarity of mean-pooled tokens, votes weighted by exp(similarity / 0.07), as in Wu et al.
2018 (arXiv 1805.01978). Clips vote for all their labels.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from av_mae import config, sharding, state
from av_mae.evaluators import batches
from av_mae.report import writer
from av_mae.run import Run

TEMPERATURE = 0.07


class NearestNeighbours:
    """Accuracy of a k-nearest-neighbour vote, for each modality and for all of them together."""

    tasks = ("pretrain", "classify")

    def __init__(self, name: str, evaluator: config.Evaluator, plan: Run, _: writer.Reporter):
        self._name, self._evaluator, self._plan = name, evaluator, plan
        batches.modalities(name, evaluator, plan)
        self._step = jax.jit(
            functools.partial(_features, plan.task, plan.graphdef),
            out_shardings=sharding.replicated(plan.mesh),
        )

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        del step
        known, known_labels = self._collect(params, rest, self._evaluator.train_split)
        asked, asked_labels = self._collect(params, rest, self._evaluator.split)
        for name in asked:
            votes = vote(asked[name], known[name], known_labels, self._evaluator.neighbours)
            right = np.take_along_axis(asked_labels, votes.argmax(1)[:, None], axis=1)[:, 0] > 0
            yield f"accuracy_{name}", float(right.mean())

    def _collect(
        self, params: Any, rest: Any, split: str
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        rows, labels = [], []
        for batch in batches.of_split(self._name, self._evaluator, self._plan, split):
            features, label, valid = jax.device_get(self._step(params, rest, batch))
            rows.append({k: x[valid] for k, x in features.items()})
            labels.append(label[valid])
        features = {k: np.concatenate([r[k] for r in rows]) for k in rows[0]}
        if len(features) > 1:
            features["all"] = unit(np.concatenate(list(features.values()), axis=1))
        return features, np.concatenate(labels)


def vote(
    asked_nd: np.ndarray, known_md: np.ndarray, labels_mk: np.ndarray, neighbours: int
) -> np.ndarray:
    """Weighted votes `[n k]` of each asked row's nearest known rows; rows have unit length."""
    similarity = asked_nd @ known_md.T
    count = min(neighbours, similarity.shape[1])
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    weights = np.exp(np.take_along_axis(similarity, nearest, axis=1) / TEMPERATURE)
    return np.einsum("nc,nck->nk", weights, labels_mk[nearest])


def unit(x_nd: np.ndarray) -> np.ndarray:
    return x_nd / np.maximum(np.linalg.norm(x_nd, axis=1, keepdims=True), 1e-12)


def _features(
    task: Any, graphdef: Any, params: Any, rest: Any, batch: state.Batch
) -> tuple[dict[str, jax.Array], jax.Array, jax.Array]:
    """(unit features `[b d]` by modality, labels `[b k]`, valid `[b]`), views averaged."""
    model = nnx.merge(graphdef, params, rest)
    rows = batch["valid"].shape[0]
    tokens = task.features(model, batches.fold_views(batch))
    pooled = {k: x.mean(1).reshape(rows, -1, x.shape[-1]).mean(1) for k, x in tokens.items()}
    length = {k: jnp.linalg.norm(x, axis=-1, keepdims=True) for k, x in pooled.items()}
    features = {k: x / jnp.maximum(length[k], 1e-12) for k, x in pooled.items()}
    return features, batch["label"], batch["valid"]
