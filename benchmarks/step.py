"""Training-step speed: clips/s, FLOPs against the analytic count, MFU, memory; as JSON.

    python -m benchmarks.step --config=configs/audioset/pretrain.py:variant=B/16x2 --batch_size=2 \
        --config.compute.scan=False

The rate of a 2048 x 2048 x 2048 product is measured in the same process, between the steps, because
machines differ and are shared: `of_product` is the figure to compare. Input is synthetic.
"""

import dataclasses
import json
import pathlib
import statistics
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from av_mae import host, parse, speed

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment to take a step of.")
_BATCH = flags.DEFINE_integer("batch_size", 2, "Clips a step.")
_STEPS = flags.DEFINE_integer("steps", 8, "Timed steps.")
_CLASSES = flags.DEFINE_integer("classes", 527, "Labels of a classifier.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")


def main(_: list[str]) -> None:
    host.keep_memory()
    experiment = dataclasses.replace(parse.experiment(_CONFIG.value), batch_size=_BATCH.value)
    compiled = speed.on_noise(experiment, 100 * _BATCH.value, _CLASSES.value)
    result = measure(compiled, _STEPS.value)
    text = json.dumps(result, indent=1)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text + "\n")
    print(text)


def measure(compiled: speed.Bench, steps: int) -> dict[str, Any]:
    """Steps and bare products in turns."""
    pairs = [(compiled.steps(1), speed.product_flops()) for _ in range(steps)]
    flops = compiled.plan.flops_per_step
    return compiled.report(statistics.median(seconds for seconds, _ in pairs)) | {
        "product_gflop_per_second": statistics.median(rate for _, rate in pairs) / 1e9,
        "of_product": statistics.median(flops / seconds / rate for seconds, rate in pairs),
    }


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
