"""What the training loop adds to its steps: logs and checkpoints included, with instant input.

    python -m benchmarks.loop --out=loop.json

Bare steps (one after another on one batch, waited for at the end) and the real loop (fed the same
batch, logging every 50 steps and saving every 200) run in turns. A loop's time is that between its
first and its last line of metrics.jsonl. On a CPU the steps get half of the cores, so that the loop
has some of its own, as beside an accelerator; the default then takes about 50 ms a step on two.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import statistics
import tempfile

import jax
from absl import app, flags

from av_mae.config import command_line, parse, schema
from av_mae.experiment import checkpoint
from av_mae.experiment.run import Run
from av_mae.input import cores
from av_mae.planning import speed, synthetic
from av_mae.report import history
from av_mae.training import clock, host, loop

_CONFIG = command_line.define_config("sample/pretrain")
_BATCH = flags.DEFINE_integer("batch_size", 9, "Clips a step.")
_STEPS = flags.DEFINE_integer("steps", 450, "Steps of a turn.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each kind.")
_SAVE = flags.DEFINE_integer("save_every", 200, "Steps between two checkpoints.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")

LOG_EVERY = 50
_LABELS = 2


def main(_: list[str]) -> None:
    os.environ.setdefault("NPROC", str(max(cores.count() // 2, 1)))  # read by XLA's CPU backend
    host.keep_memory()
    experiment = changed(parse.experiment(_CONFIG.value))
    bare = speed.on_noise(experiment, 1000, _LABELS)
    turns = [(bare.steps(_STEPS.value), looped(bare.run)) for _ in range(_ROUNDS.value)]
    result = {
        "command": command_line.given("benchmarks.loop"),
        "device": jax.devices()[0].device_kind,
        "batch_size": experiment.batch_size,
        "log_every": LOG_EVERY,
        "save_every": _SAVE.value,
        "bare_ms": [1e3 * seconds for seconds, _ in turns],
        "loop_ms": [1e3 * seconds for _, seconds in turns],
        "overhead": statistics.median(loop / step - 1 for step, loop in turns),
    }
    text = json.dumps(result, indent=1)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text + "\n")
    print(text)


def changed(e: schema.Experiment) -> schema.Experiment:
    """The experiment with a schedule of lines and checkpoints, and no evaluations."""
    return dataclasses.replace(
        e,
        batch_size=_BATCH.value,
        total=f"{_STEPS.value} steps",
        log_every=f"{LOG_EVERY} steps",
        checkpoint=schema.Checkpoint(every=f"{_SAVE.value} steps"),
        optim=dataclasses.replace(e.optim, warmup="10 steps"),
        evaluators={},
    )


def looped(run: Run) -> float:
    """Seconds a step of the real training loop, from its first line to its last."""
    e = run.experiment
    noise = itertools.repeat(synthetic.batch(e, run.info, e.batch_size))
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder)
        saved = checkpoint.Checkpoints(workdir / "checkpoints", e, run.info.labels, keep=2)
        current = run.init()
        with contextlib.closing(loop.Loop(run, saved, workdir, 0, clock.Stages())) as running:
            running.run(current, noise)
        lines = map(json.loads, (workdir / history.METRICS).read_text().splitlines())
        told = [(line["step"], line["time"]) for line in lines if line["kind"] == "train"]
    (first, begin), (last, end) = told[0], told[-1]
    return (end - begin) / (last - first)


if __name__ == "__main__":
    app.run(main)
