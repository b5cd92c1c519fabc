"""Batches of a split for evaluators: on the devices, restricted to the asked modalities."""

import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from absl import logging

from av_mae.config import schema
from av_mae.config.modality import Modality
from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.input import pipeline
from av_mae.tasks import Batch, presence

_INPUTS = ("video", "audio")


class Split:
    """Global batches of a split, `video` `[b v f h w 3]` and `audio` `[b v s]`, each clip once.

    Every iteration starts at the first clip. Clips without any of the asked modalities are read
    too, for `present` to leave out; making the split logs how many they are.
    """

    def __init__(self, name: str, evaluator: schema.Evaluator, run: Run, split: str):
        """Opens the split without reading a clip.

        Raises:
            ConfigError: no such split, no clip in it with the asked modalities, an unknown
                modality, or a batch size that the devices do not divide.
        """
        self._mesh = run.mesh
        asked = _modalities(name, evaluator, run)
        size = _batch_size(name, evaluator, run)
        self._read = functools.partial(
            pipeline.eval_batches,
            run.experiment.dataset.path,
            split,
            asked,
            batch_size=size,
            temporal_views=evaluator.temporal_views,
            spatial_views=evaluator.spatial_views,
            dataset=run.experiment.dataset,
            rows=sharding.host_rows(run.mesh, size),
        )
        try:
            self._read()
        except schema.ConfigError as error:
            raise schema.ConfigError(f"evaluators.{name}: {error}") from error
        _log_left_out(name, run, split, asked)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._read():
            yield sharding.to_devices(batch, self._mesh)


def fold_views(batch: Batch) -> Batch:
    """Views become rows: `[b v ...] -> [b*v ...]`; per-clip values are repeated to match."""
    views = next(batch[k].shape[1] for k in _INPUTS if k in batch)
    folded = {}
    for key, x in batch.items():
        if key in _INPUTS:
            folded[key] = x.reshape(-1, *x.shape[2:])
        else:
            folded[key] = jnp.repeat(x, views, axis=0)
    return folded


def present(batch: Batch) -> dict[str, jax.Array]:
    """Which rows are clips that have a modality, `{modality: bool [b]}`; padding has none."""
    known = presence.of(batch) or {}
    valid_b = batch["valid"]
    return {k: valid_b & known[k] if k in known else valid_b for k in _INPUTS if k in batch}


def _modalities(name: str, evaluator: schema.Evaluator, run: Run) -> dict[str, Modality]:
    """The modalities an evaluator gives to the model; all of them unless it names a subset."""
    known = run.experiment.modalities
    wrong = [m for m in evaluator.modalities if m not in known]
    if wrong:
        raise schema.ConfigError(
            f"evaluators.{name}.modalities has {wrong[0]!r}; this model knows {', '.join(known)}"
        )
    return {k: v for k, v in known.items() if not evaluator.modalities or k in evaluator.modalities}


def _batch_size(name: str, evaluator: schema.Evaluator, run: Run) -> int:
    """The asked batch size, else the training one where every device gets the same rows."""
    if evaluator.batch_size:
        sharding.check_batch(evaluator.batch_size, run.mesh, f"evaluators.{name}.batch_size")
        return evaluator.batch_size
    parts = sharding.row_shards(run.mesh)
    return math.ceil(run.experiment.batch_size / parts) * parts


def _log_left_out(name: str, run: Run, split: str, asked: dict[str, Modality]) -> None:
    """Every clip has pictures or sound, so only who asks for one of them may find nothing."""
    found = run.info.split(split)
    if len(asked) > 1:
        return
    left_out = found.clips - (found.with_sound if "audio" in asked else found.with_pictures)
    if left_out:
        logging.warning(
            "evaluators.%s leaves out the %d of %d clips of %s that have no %s",
            name, left_out, found.clips, split, "sound" if "audio" in asked else "pictures",
        )  # fmt: skip
