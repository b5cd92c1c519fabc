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

from av_mae.config import schema
from av_mae.evaluation import batches
from av_mae.experiment.run import Run
from av_mae.report import writer
from av_mae.tasks import Batch

TEMPERATURE = 0.07
BLOCK = 512  # clips scored at once: similarities to 200,000 neighbours and their order are 1.2 GB


class Evaluator:
    """Accuracy of a k-nearest-neighbour vote, for each modality and for all of them together.

    Clips that lack a modality neither vote nor count in its accuracy.
    """

    tasks = ("pretrain", "classify")

    def __init__(self, name: str, config: schema.Evaluator, run: Run, _: writer.Reporter):
        self._neighbours = config.neighbours
        self._voters = batches.Batches(name, config, run, config.train_split)
        self._scored = batches.Batches(name, config, run, config.split)
        known = self._scored.modalities
        self.metrics = [f"accuracy_{m}" for m in (*known, *(["all"] if len(known) > 1 else []))]
        self._features = run.eval_step(functools.partial(_features, run.task))

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        del step
        voters = self._collect(params, rest, self._voters)
        for name, (features_nd, labels_nk) in self._collect(params, rest, self._scored).items():
            best_n = vote(features_nd, *voters[name], self._neighbours).argmax(1)
            yield f"clips_{name}", len(features_nd)
            right_n1 = np.take_along_axis(labels_nk, best_n[:, None], axis=1) > 0
            yield f"accuracy_{name}", float(right_n1.mean())

    def _collect(
        self, params: Any, rest: Any, clips: batches.Batches
    ) -> dict[str, tuple[Any, Any]]:
        """(unit features `[n d]`, labels `[n k]`) of the clips that have a modality, by modality.

        Where there are several, `all` has them side by side, zeros for one that a clip lacks.
        """
        found = [*batches.fetched(self._features(params, rest, batch) for batch in clips)]
        features, labels, here = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
        rows = {k: (x[here[k]], labels[here[k]]) for k, x in features.items()}
        if len(rows) > 1:
            some_n = np.any(list(here.values()), axis=0)
            parts = [np.where(here[k][:, None], x, 0.0) for k, x in features.items()]
            rows["all"] = unit(np.concatenate(parts, axis=1))[some_n], labels[some_n]
        return rows


def vote(
    scored_nd: np.ndarray, voters_md: np.ndarray, labels_mk: np.ndarray, neighbours: int
) -> np.ndarray:
    """Weighted votes `[n k]` of each clip's nearest voters; features have unit length."""
    votes, count = [], min(neighbours, len(voters_md))
    for begin in range(0, len(scored_nd), BLOCK):
        distance_bm = -scored_nd[begin : begin + BLOCK] @ voters_md.T
        nearest_bc = np.argpartition(distance_bm, count - 1, axis=1)[:, :count]
        weights_bc = np.exp(-np.take_along_axis(distance_bm, nearest_bc, axis=1) / TEMPERATURE)
        votes.append(np.einsum("bc,bck->bk", weights_bc, labels_mk[nearest_bc]))
    return np.concatenate(votes)


def unit(x_nd: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1."""
    return x_nd / np.maximum(np.linalg.norm(x_nd, axis=1, keepdims=True), 1e-12)


def _features(task: Any, model: Any, batch: Batch) -> tuple[Any, jax.Array, Any]:
    """(unit features `[b d]`, labels `[b k]`, presence `[b]`), views averaged, by modality."""
    rows = batch["valid"].shape[0]
    tokens = task.features(model, batches.fold_views(batch))
    pooled = {k: x.mean(1).reshape(rows, -1, x.shape[-1]).mean(1) for k, x in tokens.items()}
    length = {k: jnp.linalg.norm(x, axis=-1, keepdims=True) for k, x in pooled.items()}
    features = {k: x / jnp.maximum(length[k], 1e-12) for k, x in pooled.items()}
    return features, batch["label"], batches.present(batch)
