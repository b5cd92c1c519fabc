"""How long a step takes to compile: scanned, and as plain programs have it; in one run, as JSON.

    python -m benchmarks.compiling --topology=v5p:1 [--batch_size=8] [--out=FILE]

AudioSet's pretraining step in bfloat16, for TPUs that need not be there (see av_mae.tools.plan).
`scanned` is what runs compile: one layer in a loop, attention in a kernel, the default remat.
`plain` is the step as Scenic has it: layers one by one, attention as two products and a softmax,
no remat; its FLOPs say that it is the same work. Seconds depend on the machine; the ratio hardly
does.
"""

import json
import pathlib
from unittest import mock

import jax
from absl import app, flags

from av_mae.config import command_line
from av_mae.models import flash
from av_mae.planning import forecast, synthetic, topology
from benchmarks import gpu_case

_TOPOLOGY = flags.DEFINE_string("topology", "v5p:1", "here, or TPUs, as plan takes them.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Clips a step.")
_TINY = flags.DEFINE_bool("tiny", False, "Two narrow layers and small pictures, to try it out.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")


def main(_: list[str]) -> None:
    place = topology.find(_TOPOLOGY.value)
    if not place.compiles:
        raise app.UsageError(
            "--topology: only for TPUs, and for what is here, a compiler is at hand"
        )
    scanned = _compiled(place, scan=True, remat="dots")
    with mock.patch.object(flash, "lacks", return_value="it is left out"):
        plain = _compiled(place, scan=False, remat="none")
    result = {
        "command": command_line.given("benchmarks.compiling"),
        "versions": f"jax {jax.__version__}",
        "scanned": _figures(scanned),
        "plain": _figures(plain) | {"tflop": float(plain.work.flops or 0.0) / 1e12},
        "ratio": round(scanned.compile_seconds / plain.compile_seconds, 3),
    }
    text = json.dumps(result, indent=1) + "\n"
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text)
    else:
        print(text)


def _compiled(place: topology.Topology, *, scan: bool, remat: str) -> forecast.Forecast:
    job = {
        "case": "av_mae-L",
        "batch_size": _BATCH_SIZE.value,
        "scan": scan,
        "remat": remat,
        "tiny": _TINY.value,
    }
    e = gpu_case.experiment(job, "bfloat16")
    info = synthetic.info(e, clips=1_900_000, labels=527)
    return forecast.make(e, info, place, costs=False)


def _figures(step: forecast.Forecast) -> dict[str, float]:
    return {"seconds": round(step.compile_seconds, 1), "loops": step.text.count(" while(")}


if __name__ == "__main__":
    app.run(main)
