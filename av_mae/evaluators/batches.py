"""Batches of a split for evaluators: on the devices, restricted to the asked modalities."""

import math
from collections.abc import Iterator

import jax

from av_mae import config, sharding, state
from av_mae.input import pipeline
from av_mae.modality import Modality
from av_mae.run import Run


def modalities(name: str, evaluator: config.Evaluator, plan: Run) -> dict[str, Modality]:
    """The modalities an evaluator gives to the model; all of them unless it names a subset."""
    known = plan.experiment.modalities
    wrong = [m for m in evaluator.modalities if m not in known]
    if wrong:
        raise config.ConfigError(
            f"evaluators.{name}.modalities has {wrong[0]!r}; this model knows {', '.join(known)}"
        )
    return {k: v for k, v in known.items() if not evaluator.modalities or k in evaluator.modalities}


def of_split(
    name: str, evaluator: config.Evaluator, plan: Run, split: str
) -> Iterator[state.Batch]:
    """Global batches of a split, `video` `[b v f h w 3]` and `audio` `[b v s]`, each clip once."""
    size = batch_size(name, evaluator, plan)
    host, hosts = sharding.host_share(plan.mesh, size)
    batches = pipeline.eval_batches(
        plan.experiment.dataset.path,
        split,
        modalities(name, evaluator, plan),
        batch_size=size,
        temporal_views=evaluator.temporal_views,
        spatial_views=evaluator.spatial_views,
        sampling=plan.experiment.dataset.sampling,
        host=host,
        hosts=hosts,
    )
    for batch in batches:
        yield sharding.to_devices(batch, plan.mesh)


def batch_size(name: str, evaluator: config.Evaluator, plan: Run) -> int:
    """The asked batch size, else the training one where every device gets the same rows."""
    if evaluator.batch_size:
        sharding.check_batch(evaluator.batch_size, plan.mesh, f"evaluators.{name}.batch_size")
        return evaluator.batch_size
    return math.ceil(plan.experiment.batch_size / plan.mesh.size) * plan.mesh.size


def fold_views(batch: state.Batch) -> state.Batch:
    """Views become rows: `[b v ...] -> [b*v ...]`; per-clip values are repeated to match."""
    views = next(batch[k].shape[1] for k in ("video", "audio") if k in batch)
    folded = {}
    for key, x in batch.items():
        if key in ("video", "audio"):
            folded[key] = x.reshape(-1, *x.shape[2:])
        else:
            folded[key] = jax.numpy.repeat(x, views, axis=0)
    return folded
