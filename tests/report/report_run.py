"""A reporter on a small experiment, for the tests of the report."""

import pathlib
from typing import Any

from av_mae.config import parse
from av_mae.report import writer

EXPERIMENT = parse.experiment(
    {
        "task": "pretrain",
        "batch_size": 64,
        "dataset": {"path": "records/tones"},
        "modalities": {"video": {}, "audio": {"seconds": 1.28}},
        "init_from": {"path": "runs/earlier"},
    }
)


def reporter(workdir: pathlib.Path, resume_step: int | None = 0, **changes: Any) -> writer.Reporter:
    arguments = {"total_steps": 1000, "flops_per_step": 4e12, "peak_flops": 2e13, "primary": True}
    return writer.Reporter(workdir, EXPERIMENT, resume_step=resume_step, **(arguments | changes))


def train(reporter: writer.Reporter, step: int, loss: float) -> None:
    metrics = {"loss": loss, "lr": 1e-3}
    reporter.train(step, metrics, step_seconds=0.5, input_wait=0.03, steps_since=100)
