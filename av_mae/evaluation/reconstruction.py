"""Loss of a pretrained model on a split, and pictures of what it fills in."""

import functools
import operator
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
from av_mae.inference import reconstruction
from av_mae.report import writer
from av_mae.tasks import Batch, losses

GALLERY = 4  # clips shown
SEED = 0  # of the masks: a clip is masked the same way in every evaluation


class Reconstruction:
    """Mean loss over the split, masks fixed by each clip's place in it, and a small gallery."""

    tasks = ("pretrain",)

    def __init__(self, name: str, evaluator: schema.Evaluator, run: Run, reporter: writer.Reporter):
        self._name, self._split, self._reporter = name, evaluator.split, reporter
        self._modalities = run.experiment.modalities
        self._clips = batches.Split(name, evaluator, run, evaluator.split)
        bind = functools.partial(functools.partial, task=run.task, graphdef=run.graphdef)
        self._errors = sharding.jit_replicated(run.mesh, bind(_errors))
        self._pictures = sharding.jit_replicated(run.mesh, bind(_pictures))

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        total = None
        for errors in fetch.one_late(self._measured(params, rest, step)):
            part = jax.tree.map(np.float64, errors)
            total = part if total is None else jax.tree.map(operator.add, total, part)
        assert total is not None  # an empty split is refused
        yield "loss", float(losses.weighted(total, self._modalities))
        yield from ((f"loss_{name}", float(error.mean)) for name, error in total.items())

    def _measured(self, params: Any, rest: Any, step: int) -> Iterator[dict[str, losses.Sum]]:
        """The errors of every batch; the first one is shown as well."""
        for number, batch in enumerate(self._clips):
            if number == 0:
                self._show(step, params, rest, batch)
            yield self._errors(params, rest, batch)

    def _show(self, step: int, params: Any, rest: Any, batch: Batch) -> None:
        views, valid, index = jax.device_get(self._pictures(params, rest, batch))
        rows = np.flatnonzero(valid)[:GALLERY]
        examples = []
        for row in rows:
            one = {
                name: {kind: getattr(p, kind)[row] for kind in reconstruction.KINDS}
                for name, p in views.items()
            }
            title = f"clip {index[row]} of {self._split}"
            examples.append(reconstruction.example(one, self._modalities, title))
        self._reporter.gallery(step, self._name, examples)


def _errors(
    params: Any, rest: Any, batch: Batch, *, task: Any, graphdef: Any
) -> dict[str, losses.Sum]:
    """Each modality's error over the views that have it."""
    model = nnx.merge(graphdef, params, rest)
    folded = batches.fold_views(batch)
    return task.evaluate(model, folded, _keys(folded["index"]))


def _pictures(
    params: Any, rest: Any, batch: Batch, *, task: Any, graphdef: Any
) -> tuple[Any, jax.Array, jax.Array]:
    """(reconstruction by modality, valid `[b]`, index `[b]`) of the first view of every clip."""
    model = nnx.merge(graphdef, params, rest)
    first = {k: x[:, 0] if k in ("video", "audio") else x for k, x in batch.items()}
    views = task.reconstruct(model, first, _keys(batch["index"]))
    return views, batch["valid"], batch["index"]


def _keys(index_b: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), index_b.astype(jnp.uint32))
