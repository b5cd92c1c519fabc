"""Batches of a split for evaluators, on the devices, and results of them back on the host."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
from absl import logging

from av_mae.config import schema
from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.input import pipeline
from av_mae.models import presence
from av_mae.tasks import Batch

Result = TypeVar("Result")

INPUTS = ("video", "audio")  # entries of a batch that have views


class Batches:
    """Global batches of a split, `video` `[b v f h w 3]` and `audio` `[b v s]`, each clip once.

    Every iteration starts at the first clip. Clips without any of the modalities that the evaluator
    gives to the model are read too, for `present` to leave out; opening logs how many they are.

    Attributes:
        modalities: those that the evaluator gives to the model.
    """

    def __init__(self, name: str, config: schema.Evaluator, run: Run, split: str):
        """Opens the split without reading a clip.

        Raises:
            ConfigError: no such split, no clip in it with these modalities, an unknown modality,
                or a batch size that the devices do not divide.
        """
        known = run.experiment.modalities
        wrong = [m for m in config.modalities if m not in known]
        if wrong:
            raise schema.ConfigError(
                f"evaluators.{name}.modalities has {wrong[0]!r}; this model knows "
                f"{', '.join(known)}"
            )
        used = {k: v for k, v in known.items() if not config.modalities or k in config.modalities}

        size, parts = config.batch_size, sharding.row_shards(run.mesh)
        if size:
            sharding.check_batch(size, run.mesh, f"evaluators.{name}.batch_size")
        else:  # the training one, rounded up to give every device as many rows
            size = math.ceil(run.experiment.batch_size / parts) * parts

        self.modalities = tuple(used)
        self._mesh, self._check = run.mesh, run.check_batch
        self._read = functools.partial(
            pipeline.eval_batches,
            run.experiment.dataset.path,
            split,
            used,
            batch_size=size,
            temporal_views=config.temporal_views,
            spatial_views=config.spatial_views,
            dataset=run.experiment.dataset,
            rows=sharding.host_rows(run.mesh, size),
        )
        try:
            self._read()
        except schema.ConfigError as error:
            raise schema.ConfigError(f"evaluators.{name}: {error}") from error

        # Every clip has pictures or sound: only an evaluator of one of them may leave clips out.
        found = run.info.split(split)
        left_out = found.lacking("audio" if "audio" in used else "video")
        if len(used) == 1 and left_out:
            logging.warning(
                "evaluators.%s leaves out the %d of %d clips of %s that have no %s",
                name,
                left_out,
                found.clips,
                split,
                "sound" if "audio" in used else "pictures",
            )

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._read():
            self._check(batch)
            yield sharding.to_devices(batch, self._mesh)


def fetched(results: Iterable[Result]) -> Iterator[Result]:
    """Every result as numpy arrays, fetched once the devices have begun with the next one."""
    for result, _ in itertools.pairwise(itertools.chain(results, [None])):
        yield jax.device_get(result)


def fold_views(batch: Batch) -> Batch:
    """Views become rows: `[b v ...] -> [b*v ...]`; per-clip values are repeated to match."""
    views = next(batch[k].shape[1] for k in INPUTS if k in batch)
    return {
        key: x.reshape(-1, *x.shape[2:]) if key in INPUTS else jnp.repeat(x, views, axis=0)
        for key, x in batch.items()
    }


def present(batch: Batch) -> dict[str, jax.Array]:
    """Which rows are clips that have a modality, `{modality: bool [b]}`; padding has none."""
    known = presence.of(batch) or {}
    valid_b = batch["valid"]
    return {k: valid_b & known[k] if k in known else valid_b for k in INPUTS if k in batch}
