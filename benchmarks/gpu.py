"""Pretraining steps on one GPU: ours, and Hugging Face's VideoMAE by PyTorch, in one run; as JSON.

    python -m benchmarks.gpu --out=docs/results/gpu.json
    python -m benchmarks.gpu --cases=videomae-B --sides=ours,pytorch --batch_sizes=8,32,64
    python -m benchmarks.gpu --cases=videomae-B --batch_sizes=2 --steps=3 --out=cpu.json

The last is for machines without a GPU: both sides compute in float32, with glibc.malloc.hugetlb=1.

Cases: `videomae-B` and `videomae-L` (configs/kinetics400/pretrain.py; PyTorch's model is built from
the same numbers) and `av_mae-L` (configs/audioset/pretrain.py; ours alone). Either side updates
float32 parameters by AdamW (PyTorch's fused one) and computes in bfloat16 (PyTorch: autocast,
scaled_dot_product_attention, torch.compile); on a CPU both compute in float32. Ours starts from
bytes, draws masks and normalises pictures within the step; PyTorch is given normalised pictures and
masks that lie on the device.

Every measurement is a process of its own, so that no memory is counted twice, and one that does
not fit the device is noted as such. The figures to compare are `clips_per_second` and
`of_product`: the products that the model needs, by av_mae.models.flops, over the rate of one large
product of the same framework and type, measured in the same process (8192 cubed on a GPU). The
JSON is written after every measurement. `--profile` lists the kernels that took longest.
"""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from absl import app, flags

from av_mae.config import command_line

CASES = ["videomae-B", "videomae-L", "av_mae-L"]
SIDES = ["ours", "pytorch"]

# Device memory is taken as it is needed, so that it can be measured; host memory in large pages.
_ENVIRONMENT = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

_SELECTED = flags.DEFINE_list("cases", CASES, "What is measured.")
_SIDES = flags.DEFINE_list("sides", SIDES, "ours, pytorch, or both.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["8", "32", "64"], "Clips a step.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps between two readings of the clock; three times.")
_SCAN = flags.DEFINE_bool("scan", True, "Ours: one compiled layer in a loop, or all unrolled.")
_REMAT = flags.DEFINE_string("remat", "none", "Ours: compute.remat.")
_PROFILE = flags.DEFINE_bool("profile", False, "Ours: print the kernels that took longest.")
_TINY = flags.DEFINE_bool("tiny", False, "Two narrow layers and small pictures, to try it out.")
_LIMIT = flags.DEFINE_integer(
    "limit", 900, "Seconds that one measurement may take; torch.compile needs minutes."
)
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")


def main(_: list[str]) -> None:
    results: list[dict[str, Any]] = []
    found = {"command": command_line.given("benchmarks.gpu"), "results": results}
    for case in _SELECTED.value:
        for batch_size in map(int, _BATCH_SIZES.value):
            for side in _SIDES.value:
                if side == "ours" or case.startswith("videomae"):
                    results.append(_measured(case, side, batch_size))
                    _write(found)
    print(_table(results))
    if not _OUT.value:
        print(json.dumps(found, indent=1))


def _measured(case: str, side: str, batch_size: int) -> dict[str, Any]:
    """One measurement in a process of its own: what it reports, or why it reports nothing."""
    job = {
        "case": case,
        "batch_size": batch_size,
        "steps": _STEPS.value,
        "scan": _SCAN.value,
        "remat": _REMAT.value,
        "profile": _PROFILE.value,
        "tiny": _TINY.value,
    }
    module = {"ours": "benchmarks.gpu_ours", "pytorch": "benchmarks.gpu_pytorch"}[side]
    command = [sys.executable, "-m", module, json.dumps(job)]
    environment = os.environ | _ENVIRONMENT
    named = {"case": case, "side": side, "batch_size": batch_size}
    print(f"{case} {side} batch {batch_size} ...", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, timeout=_LIMIT.value
        )
    except subprocess.TimeoutExpired:
        return named | {"failed": f"not done in {_LIMIT.value} s"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return named | {"failed": f"exit code {done.returncode}, see standard error"}
    print("\n".join(lines[:-1]), flush=True)
    return named | json.loads(lines[-1])


def _write(found: dict[str, Any]) -> None:
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps(found, indent=1) + "\n")


def _table(results: list[dict[str, Any]]) -> str:
    lines = [f"{'case':12}{'side':9}{'batch':>6}{'clips/s':>10}{'of product':>12}{'peak GB':>9}"]
    for r in results:
        start = f"{r['case']:12}{r['side']:9}{r['batch_size']:6}"
        if "failed" in r:
            lines.append(f"{start}  {r['failed']}")
        else:
            peak = "" if r["peak_gb"] is None else f"{r['peak_gb']:9.2f}"
            lines.append(f"{start}{r['clips_per_second']:10.1f}{r['of_product']:12.3f}{peak}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
