"""How long a step takes to compile: scanned, and as plain programs have it; in one run, as JSON.

    python -m benchmarks.compiling --topology=v5p:1 [--batch_size=8] [--out=FILE]

AudioSet's pretraining step in bfloat16, for TPUs that need not be there (see
av_mae.tools.plan). `scanned` is what runs compile: one layer in a loop, attention in a kernel,
the default remat. `plain` is the step as Scenic's has it: layers one by one, attention as two
products and a softmax, no remat. Seconds depend on the machine; the ratio hardly does.
"""

import functools
import json
import pathlib
import sys
import time
from typing import Any
from unittest import mock

import jax
from absl import app, flags

from av_mae import parse, run, synthetic, topology
from av_mae.models import flash
from configs.audioset import pretrain

_TOPOLOGY = flags.DEFINE_string("topology", "v5p:1", "Devices, as plan takes them.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Clips a step.")
_VARIANT = flags.DEFINE_string("variant", "L/16x2", "Size of the encoder.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")


def main(_: list[str]) -> None:
    scanned = compiled(scan=True)
    with mock.patch.object(flash, "fits", return_value=False):
        plain = compiled(scan=False)
    result = {
        "command": " ".join(["python -m benchmarks.compiling", *sys.argv[1:]]),
        "versions": f"jax {jax.__version__}",
        "scanned": scanned,
        "plain": plain,
        "ratio": round(scanned["seconds"] / plain["seconds"], 3),
    }
    text = json.dumps(result, indent=1) + "\n"
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text)
    else:
        print(text)


def compiled(scan: bool) -> dict[str, float]:
    """Seconds that the compiler took, and what it says that the step computes (a loop once)."""
    plan = _plan(scan)
    e = plan.experiment
    rows = jax.eval_shape(functools.partial(synthetic.batch, e, 527, e.batch_size))
    lowered = plan.train_step().lower(plan.abstract, rows)
    begin = time.perf_counter()
    step = lowered.compile()
    seconds = time.perf_counter() - begin
    cost: Any = step.cost_analysis()
    return {"seconds": round(seconds, 1), "tflop": round(cost["flops"] / 1e12, 6)}


def _plan(scan: bool) -> run.Run:
    c: Any = pretrain.get_config(f"variant={_VARIANT.value}")
    c.batch_size = _BATCH_SIZE.value
    c.compute.update(dtype="bfloat16", scan=scan, remat="dots" if scan else "none")
    e = parse.experiment(c)
    info = synthetic.info(e, clips=1_900_000, labels=527)
    return run.assemble(e, info, topology.find(_TOPOLOGY.value).devices)


if __name__ == "__main__":
    app.run(main)
