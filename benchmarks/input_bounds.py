"""Memory of the input over many batches, and the time to the first batch from any step; as JSON.

    python -m benchmarks.input_bounds [--batches=20000] [--result=FILE]

Small clips are made here (24 x 32 pixels, two seconds with sound) and read in batches of 8 as
pretraining reads them, so that what could grow grows by the number of batches, not by their size.
The restore is timed by the processor, from the call to the first batch, in turns.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import pathlib
import statistics
import tempfile
import time
from typing import Any

from absl import app, flags

from av_mae.config import command_line, modality, schema
from av_mae.input import pipeline
from av_mae.training import host
from benchmarks import input as input_benchmark

_BATCHES = flags.DEFINE_integer("batches", 20_000, "Batches read in one go.")
_RESULT = flags.DEFINE_string("result", None, "File for the JSON, besides standard output.")

BATCH = 8
STEPS = (0, 10_000_000)


def main(_: list[str]) -> None:
    host.keep_memory()
    kinds = {
        "video": modality.Video(frames=4, size=16, patch=(2, 8, 8)),
        "audio": modality.Audio(seconds=0.4, mels=16),
    }
    case = input_benchmark.Case(schema.Experiment(modalities=kinds), 2.0, 24, 32)
    with tempfile.TemporaryDirectory() as made:
        folder = input_benchmark.make_records(pathlib.Path(made), case, clips=64)
        result = {
            "command": command_line.given("benchmarks.input_bounds"),
            "machine": input_benchmark.machine(),
            "first_batch": first_batch(folder, kinds),
            "memory": memory(folder, kinds, _BATCHES.value),
        }
    text = json.dumps(result, indent=1)
    if _RESULT.value:
        pathlib.Path(_RESULT.value).write_text(text + "\n")
    print(text)


def first_batch(
    folder: pathlib.Path, kinds: dict[str, modality.Modality], rounds: int = 7
) -> dict[str, Any]:
    """Processor seconds to the first batch, from the beginning and from far on."""
    spent: dict[int, list[float]] = {step: [] for step in STEPS}
    for number in range(rounds + 1):
        for step, seconds in spent.items():
            begin = time.process_time()
            next(_batches(folder, kinds, start=step))
            if number:  # the first builds what all others use
                seconds.append(time.process_time() - begin)
    return {
        f"cpu_seconds_at_step_{step}": round(statistics.median(seconds), 4)
        for step, seconds in spent.items()
    }


def memory(
    folder: pathlib.Path, kinds: dict[str, modality.Modality], batches: int
) -> dict[str, Any]:
    """Resident memory in MB after each twentieth of the batches."""
    running, resident = _batches(folder, kinds, start=0), []
    for number in range(batches):
        next(running)
        if (number + 1) % (batches // 20) == 0:
            resident.append(round(_resident() / 2**20, 1))
    middle = resident[len(resident) // 4]
    return {
        "batches": batches,
        "resident_mb": resident,
        "growth_after_the_first_quarter_mb": round(resident[-1] - middle, 1),
    }


def _batches(folder: pathlib.Path, kinds: dict[str, modality.Modality], start: int) -> Any:
    return pipeline.train_batches(
        folder, kinds, schema.Dataset(), schema.Augment(), batch_size=BATCH, seed=0, start=start
    )


def _resident() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    app.run(main)
