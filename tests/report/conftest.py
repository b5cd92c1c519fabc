"""An example to show, and a run with curves, scores and a gallery."""

import json
import pathlib

import numpy as np
import pytest
import report_run

from av_mae.report import pictures


@pytest.fixture(scope="session")
def example() -> pictures.Example:
    """Eight frames a fifth of a second apart, one colour a kind; a 440 Hz tone of 1.28 s."""
    colours = {"original": (200, 40, 40), "masked": (128, 128, 128), "predicted": (40, 40, 200)}
    frames = {k: np.full((8, 32, 48, 3), c, np.uint8) for k, c in colours.items()}
    time = np.arange(20_480) / 16_000
    wave = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    log_mel = np.linspace(-8, 4, 128 * 32, dtype=np.float32).reshape(128, 32)
    hidden = np.where(np.arange(128)[:, None] < 64, np.float32(np.nan), log_mel)
    return pictures.Example(
        title="clip <7> of val",
        frames=frames,
        fps=6.25,
        spectrograms={"original": log_mel, "masked": hidden, "predicted": log_mel * 0.9},
        waves=dict.fromkeys(pictures.KINDS, wave),
        seconds=1.28,
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory, example) -> pathlib.Path:
    """Workdir of a run of 1,000 steps, evaluated twice and with two galleries."""
    workdir = tmp_path_factory.mktemp("runs") / "tones_pretrain"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(report_run.EXPERIMENT.to_dict()))
    reporter = report_run.reporter(workdir)
    for step in range(100, 1001, 100):
        report_run.train(reporter, step, 100 / step)
        if step in (500, 1000):
            reporter.evaluation(step, {"val/loss": 0.1234 if step == 500 else 0.2345})
            reporter.gallery(step, "val", [example])
    reporter.note("a sentence about the run")
    reporter.close()
    return workdir
