"""Loss of a pretrained model on a split, and pictures of what it fills in."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from av_mae import config, reconstruction, sharding, state
from av_mae.evaluators import batches
from av_mae.report import writer
from av_mae.run import Run

GALLERY = 4  # clips shown
SEED = 0  # of the masks: a clip is masked the same way in every evaluation


class Reconstruction:
    """Mean loss over the split, masks fixed by each clip's place in it, and a small gallery."""

    tasks = ("pretrain",)

    def __init__(
        self, name: str, evaluator: config.Evaluator, plan: Run, reporter: writer.Reporter
    ):
        self._name, self._evaluator, self._plan = name, evaluator, plan
        self._reporter = reporter
        batches.modalities(name, evaluator, plan)
        everywhere = sharding.replicated(plan.mesh)
        bind = functools.partial(functools.partial, task=plan.task, graphdef=plan.graphdef)
        self._losses = jax.jit(bind(_losses), out_shardings=everywhere)
        self._pictures = jax.jit(bind(_pictures), out_shardings=everywhere)

    def run(self, params: Any, rest: Any, step: int) -> Iterator[tuple[str, float]]:
        totals: dict[str, float] = {}
        clips = 0.0
        every = batches.of_split(self._name, self._evaluator, self._plan, self._evaluator.split)
        for number, batch in enumerate(every):
            if number == 0:
                self._show(step, params, rest, batch)
            means, rows = jax.device_get(self._losses(params, rest, batch))
            clips += float(rows)
            for key, mean in means.items():
                totals[key] = totals.get(key, 0.0) + float(mean) * float(rows)
        yield from ((key, total / clips) for key, total in totals.items())

    def _show(self, step: int, params: Any, rest: Any, batch: state.Batch) -> None:
        views, valid, index = jax.device_get(self._pictures(params, rest, batch))
        rows = np.flatnonzero(valid)[:GALLERY]
        examples = []
        for row in rows:
            one = {
                name: {kind: getattr(p, kind)[row] for kind in reconstruction.KINDS}
                for name, p in views.items()
            }
            title = f"clip {index[row]} of {self._evaluator.split}"
            examples.append(reconstruction.example(one, self._plan.experiment.modalities, title))
        self._reporter.gallery(step, self._name, examples)


def _losses(
    params: Any, rest: Any, batch: state.Batch, *, task: Any, graphdef: Any
) -> tuple[dict[str, jax.Array], jax.Array]:
    """(mean loss and its parts, number of real rows) of a batch with views."""
    model = nnx.merge(graphdef, params, rest)
    folded = batches.fold_views(batch)
    _, metrics = task.evaluate(model, folded, _keys(folded["index"]))
    return metrics, folded["valid"].sum()


def _pictures(
    params: Any, rest: Any, batch: state.Batch, *, task: Any, graphdef: Any
) -> tuple[Any, jax.Array, jax.Array]:
    """(reconstruction by modality, valid `[b]`, index `[b]`) of the first view of every clip."""
    model = nnx.merge(graphdef, params, rest)
    first = {k: x[:, 0] if k in ("video", "audio") else x for k, x in batch.items()}
    views = task.reconstruct(model, first, _keys(batch["index"]))
    return views, batch["valid"], batch["index"]


def _keys(index_b: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), index_b.astype(jnp.uint32))
