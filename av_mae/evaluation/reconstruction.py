"""Loss of a pretrained model on a split, and pictures of what it fills in."""

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from av_mae.config import schema
from av_mae.evaluation import batches
from av_mae.experiment.run import Run
from av_mae.inference import shown
from av_mae.input import skim
from av_mae.report import writer
from av_mae.tasks import Batch, losses

GALLERY = 4  # clips shown
SEED = 0  # of the masks: a clip is masked the same way in every evaluation


class Evaluator:
    """Mean loss over the split, masks fixed by each clip's place in it, and a small gallery."""

    tasks = ("pretrain",)

    def __init__(self, name: str, config: schema.Evaluator, run: Run, reporter: writer.Reporter):
        self._name, self._reporter = name, reporter
        self._modalities, self._labels = run.experiment.modalities, run.info.labels
        self._clips = batches.Batches(name, config, run, config.split)
        split = run.info.split(config.split)
        self._facts_of = run.experiment.dataset, split, len(self._labels)
        self.metrics = ["loss", *(f"loss_{name}" for name in self._clips.modalities)]
        self._errors = run.eval_step(functools.partial(_errors, run.task))
        self._filled = run.eval_step(functools.partial(_filled, run.task))

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        sums = None
        for found in batches.fetched(self._measured(params, rest, step)):
            part = jax.tree.map(np.float64, found)
            sums = part if sums is None else jax.tree.map(operator.add, sums, part)
        assert sums is not None  # an empty split is refused
        total, clips, every = sums
        yield "clips", float(every)
        yield "loss", float(losses.weighted(total, self._modalities))
        for name, error in total.items():
            yield f"loss_{name}", float(error.mean)
            yield f"clips_{name}", float(clips[name])

    def _measured(self, params: Any, rest: Any, step: int) -> Iterator[tuple[Any, ...]]:
        """What `_errors` gives for every batch; some clips of the first one go to the gallery."""
        for number, batch in enumerate(self._clips):
            if number == 0:
                filled, valid, index = jax.device_get(self._filled(params, rest, batch))
                rows = np.flatnonzero(valid)[:GALLERY]
                titles = self._titles(index[rows].tolist())
                examples = [
                    shown.example(filled, row, self._modalities, title)
                    for row, title in zip(rows, titles, strict=True)
                ]
                self._reporter.gallery(step, self._name, examples)
            yield self._errors(params, rest, batch)

    def _titles(self, places: Sequence[int]) -> list[str]:
        """Names of the clips at places of the split, with their labels where they have some."""
        facts = skim.first(*self._facts_of, max(places, default=-1) + 1)
        return [
            " · ".join([facts[i].name, *(self._labels[k] for k in facts[i].labels)]) for i in places
        ]


def _errors(task: Any, model: Any, batch: Batch) -> tuple[dict[str, losses.Sum], Any, jax.Array]:
    """Each modality's error over the views that have it, how many clips have it, and all clips."""
    folded = batches.fold_views(batch)
    clips = {name: here_b.sum() for name, here_b in batches.present(batch).items()}
    return task.evaluate(model, folded, _keys(folded["index"])), clips, batch["valid"].sum()


def _filled(task: Any, model: Any, batch: Batch) -> tuple[Any, jax.Array, jax.Array]:
    """(reconstruction by modality, valid `[b]`, index `[b]`) of the first view of every clip."""
    first = {k: x[:, 0] if k in batches.INPUTS else x for k, x in batch.items()}
    filled = task.reconstruct(model, first, _keys(batch["index"]))
    return filled, batch["valid"], batch["index"]


def _keys(index_b: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), index_b.astype(jnp.uint32))
