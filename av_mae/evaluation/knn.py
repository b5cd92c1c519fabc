"""Nearest neighbours in feature space: how good pretrained features are, without training.

Cosine similarity of mean-pooled tokens, votes weighted by exp(similarity / 0.07), as in Wu et al.
2018 (arXiv 1805.01978). Clips vote for all their labels.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from av_mae.config import schema
from av_mae.evaluation import batches, fetch
from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.report import writer
from av_mae.tasks import Batch

TEMPERATURE = 0.07
BLOCK = 512  # asked rows at a time: similarities to 200,000 known rows and their order are 1.2 GB


@dataclasses.dataclass(frozen=True)
class Rows:
    """Features of unit length and labels of the clips that have a modality."""

    features_nd: np.ndarray
    labels_nk: np.ndarray


class NearestNeighbours:
    """Accuracy of a k-nearest-neighbour vote, for each modality and for all of them together.

    Clips that lack a modality neither vote nor count in its accuracy.
    """

    tasks = ("pretrain", "classify")

    def __init__(self, name: str, evaluator: schema.Evaluator, run: Run, _: writer.Reporter):
        self._neighbours = evaluator.neighbours
        self._known = batches.Split(name, evaluator, run, evaluator.train_split)
        self._asked = batches.Split(name, evaluator, run, evaluator.split)
        step = functools.partial(_features, run.task, run.graphdef)
        self._step = sharding.jit_replicated(run.mesh, step)

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        del step
        known, asked = (self._collect(params, rest, s) for s in (self._known, self._asked))
        for name, rows in asked.items():
            voters = known[name]
            votes = vote(rows.features_nd, voters.features_nd, voters.labels_nk, self._neighbours)
            best = votes.argmax(1)[:, None]
            right = np.take_along_axis(rows.labels_nk, best, axis=1)[:, 0] > 0
            yield f"accuracy_{name}", float(right.mean())

    def _collect(self, params: Any, rest: Any, split: batches.Split) -> dict[str, Rows]:
        found = [*fetch.one_late(self._step(params, rest, batch) for batch in split)]
        features, labels, here = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
        rows = {k: Rows(x[here[k]], labels[here[k]]) for k, x in features.items()}
        return rows | {"all": _together(features, labels, here)} if len(rows) > 1 else rows


def vote(
    asked_nd: np.ndarray, known_md: np.ndarray, labels_mk: np.ndarray, neighbours: int
) -> np.ndarray:
    """Weighted votes `[n k]` of each asked row's nearest known rows; rows have unit length."""
    blocks = [asked_nd[i : i + BLOCK] for i in range(0, len(asked_nd), BLOCK)]
    return np.concatenate([_vote(x_bd, known_md, labels_mk, neighbours) for x_bd in blocks])


def unit(x_nd: np.ndarray) -> np.ndarray:
    return x_nd / np.maximum(np.linalg.norm(x_nd, axis=1, keepdims=True), 1e-12)


def _vote(
    asked_bd: np.ndarray, known_md: np.ndarray, labels_mk: np.ndarray, neighbours: int
) -> np.ndarray:
    distance = -asked_bd @ known_md.T
    count = min(neighbours, distance.shape[1])
    nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
    weights = np.exp(-np.take_along_axis(distance, nearest, axis=1) / TEMPERATURE)
    return np.einsum("nc,nck->nk", weights, labels_mk[nearest])


def _together(
    features: dict[str, np.ndarray], labels_nk: np.ndarray, here: dict[str, np.ndarray]
) -> Rows:
    """Modalities side by side, zeros for one that a clip lacks."""
    parts = [np.where(here[k][:, None], x_nd, 0.0) for k, x_nd in features.items()]
    some_n = np.any(list(here.values()), axis=0)
    return Rows(unit(np.concatenate(parts, axis=1))[some_n], labels_nk[some_n])


def _features(
    task: Any, graphdef: Any, params: Any, rest: Any, batch: Batch
) -> tuple[dict[str, jax.Array], jax.Array, dict[str, jax.Array]]:
    """(unit features `[b d]`, labels `[b k]`, presence `[b]`), views averaged, by modality."""
    model = nnx.merge(graphdef, params, rest)
    rows = batch["valid"].shape[0]
    tokens = task.features(model, batches.fold_views(batch))
    pooled = {k: x.mean(1).reshape(rows, -1, x.shape[-1]).mean(1) for k, x in tokens.items()}
    length = {k: jnp.linalg.norm(x, axis=-1, keepdims=True) for k, x in pooled.items()}
    features = {k: x / jnp.maximum(length[k], 1e-12) for k, x in pooled.items()}
    return features, batch["label"], batches.present(batch)
