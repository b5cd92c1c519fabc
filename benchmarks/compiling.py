"""How long a step takes to compile: scanned, and as plain programs have it; in one run, as JSON.

    python -m benchmarks.compiling --topology=v5p:1 [--batch_size=8] [--out=FILE]

AudioSet's pretraining step in bfloat16, for TPUs that need not be there (see av_mae.tools.plan).
`scanned` is what runs compile: one layer in a loop, attention in a kernel, the default remat.
`plain` is the step as Scenic has it: layers one by one, attention as two products and a softmax,
no remat. Seconds depend on the machine; the ratio hardly does.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Any
from unittest import mock

import jax
from absl import app, flags

from av_mae import config, forecast, parse, synthetic, topology
from av_mae.models import flash
from configs.audioset import pretrain

_TOPOLOGY = flags.DEFINE_string("topology", "v5p:1", "here, or TPUs, as plan takes them.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Clips a step.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")


def main(_: list[str]) -> None:
    c: Any = pretrain.get_config()
    c.batch_size = _BATCH_SIZE.value
    c.compute.dtype = "bfloat16"
    result = {
        "command": " ".join(["python -m benchmarks.compiling", *sys.argv[1:]]),
        "versions": f"jax {jax.__version__}",
        **compared(parse.experiment(c), topology.find(_TOPOLOGY.value)),
    }
    text = json.dumps(result, indent=1) + "\n"
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text)
    else:
        print(text)


def compared(experiment: config.Experiment, place: topology.Topology) -> dict[str, Any]:
    """Both steps' seconds, and the plain one's FLOPs, which say that it is the step meant.

    Raises:
        ConfigError: nothing is compiled for such a topology.
    """
    if not place.compiles:
        raise config.ConfigError("--topology: only TPUs and what is here are compiled for")
    scanned = _compiled(experiment, place, scan=True, remat="dots")
    with mock.patch.object(flash, "fits", return_value=False):
        plain = _compiled(experiment, place, scan=False, remat="none")
    return {
        "scanned_seconds": round(scanned.compile_seconds, 1),
        "plain_seconds": round(plain.compile_seconds, 1),
        "plain_tflop": float(plain.work.flops or 0.0) / 1e12,
        "ratio": round(scanned.compile_seconds / plain.compile_seconds, 3),
    }


def _compiled(
    experiment: config.Experiment, place: topology.Topology, *, scan: bool, remat: str
) -> forecast.Forecast:
    compute = dataclasses.replace(experiment.compute, scan=scan, remat=remat)
    e = dataclasses.replace(experiment, compute=compute)
    info = synthetic.info(e, clips=1_900_000, labels=527)
    return forecast.make(e, info, place, costs=False)


if __name__ == "__main__":
    app.run(main)
