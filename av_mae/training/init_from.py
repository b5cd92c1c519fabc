"""Starting a run from the weights of another one (`config.init_from`)."""

import dataclasses
import pathlib
from typing import Any

import jax
from absl import logging
from flax import traverse_util

from av_mae.convert import read
from av_mae.experiment.run import Run
from av_mae.experiment.step import TrainState
from av_mae.models import inherit


def apply(fresh: TrainState, run: Run, workdir: pathlib.Path) -> TrainState:
    """Replaces fresh parameters by those of `init_from.path` wherever they correspond.

    How much was loaded, resized, left fresh and left over is logged; the names are written to
    `<workdir>/init_from.txt`.

    Raises:
        ConfigError: no checkpoint there, or one whose architecture cannot start this model.
    """
    target, m = run.experiment, run.experiment.model
    # How a foreign model's learned positions are read depends on the target's inputs.
    keys: Any = traverse_util.flatten_dict(target.to_dict(), sep=".")
    inputs = {k: v for k, v in keys.items() if k.startswith("modalities.")}
    # What a foreign file may not show, and inheriting does not depend on: early and shared encoders
    # have the same layers, and all layers of MBT are each modality's own.
    answers = {
        "modalities.audio.seconds": 10.0,
        "model.heads": m.heads,
        "model.decoder_heads": 1,
        "model.fusion": "shared" if m.fusion == "shared" else "early",
        "model.fusion_layers": m.fusion_layers if m.fusion == "bottleneck" else 2,
    }
    saved = read.read(target.init_from.path, inputs, answers=answers)

    ours: Any = traverse_util.flatten_dict(fresh.params)
    theirs: Any = traverse_util.flatten_dict(saved.params)
    params, report = inherit.inherit(ours, theirs, saved.experiment, target)
    report.unused += saved.left
    names = workdir / "init_from.txt"
    logging.info(
        "started from %s, step %d: %s; all names are in %s",
        target.init_from.path, saved.step, report.counts(), names,
    )  # fmt: skip
    if report.inputs:
        logging.warning(
            "inputs are prepared otherwise than the checkpoint's were: %s; with few clips, "
            "give these keys the values that they had", "; ".join(report.inputs),
        )  # fmt: skip
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        names.write_text(f"{target.init_from.path}\n{report}\n")

    placed = jax.tree.map(
        lambda new, old: jax.device_put(new.astype(old.dtype), old.sharding),
        traverse_util.unflatten_dict(params),
        fresh.params,
    )
    averaged = jax.tree.map(lambda x: x.copy(), placed) if fresh.ema else {}
    return dataclasses.replace(fresh, params=placed, ema=averaged)
