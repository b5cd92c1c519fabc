"""Pretraining losses in float32 and in bfloat16, step by step, on the same real clips.

    python -m av_mae.prepare --dataset=sample --out=records/sample
    python -m benchmarks.numerics --config=configs/sample/pretrain.py --out=numerics.json

Both runs see the same clips, crops and masks, and start from the same parameters.
"""

import dataclasses
import json
import pathlib

import jax
import numpy as np
from absl import app, flags

from av_mae.config import command_line, parse, schema
from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.training import loop

_CONFIG = command_line.define_config("sample/pretrain")
_STEPS = flags.DEFINE_integer("steps", 200, "Steps of each run.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")

_MEAN_OVER = 20  # the last steps, whose mean is compared as well


def main(_: list[str]) -> None:
    experiment = parse.experiment(_CONFIG.value)
    full, half = (np.array(losses(experiment, dtype)) for dtype in ("float32", "bfloat16"))
    apart = np.abs(half / full - 1)
    result = {
        "command": command_line.given("benchmarks.numerics"),
        "device": jax.devices()[0].device_kind,
        "batch_size": experiment.batch_size,
        "largest_difference": float(apart.max()),
        "at_step": int(apart.argmax()) + 1,
        "difference_of_the_last": float(
            abs(half[-_MEAN_OVER:].mean() / full[-_MEAN_OVER:].mean() - 1)
        ),
        "float32": full.round(6).tolist(),
        "bfloat16": half.round(6).tolist(),
    }
    text = json.dumps(result, indent=1)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text + "\n")
    print(text)


def losses(e: schema.Experiment, dtype: str) -> list[float]:
    """Loss of every step of a fresh run in this precision."""
    compute = dataclasses.replace(e.compute, dtype=dtype)
    run = Run.build(dataclasses.replace(e, compute=compute))
    step, current = run.train_step(), run.init()
    rows, found = loop.batches(run, 0), []
    for _ in range(_STEPS.value):
        current, metrics = step(current, sharding.to_devices(next(rows), run.mesh))
        found.append(metrics["loss"])
    return [float(loss) for loss in found]


if __name__ == "__main__":
    app.run(main)
