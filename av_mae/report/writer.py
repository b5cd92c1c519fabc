"""Writes what a run logs: progress lines, metrics.jsonl, TensorBoard and galleries."""

import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from av_mae.config import schema
from av_mae.report import board, history, media, pictures, progress, session
from av_mae.report import gallery as gallery_lib


class Reporter:
    """The one place where a run's numbers and pictures leave it; other hosts' reporters are mute.

    Args:
        workdir: gets metrics.jsonl, run.json, `tensorboard/` and `media/`.
        total_steps: length of the whole training, for the line and the time left.
        flops_per_step: of one training step, all devices together.
        peak_flops: FLOP/s of all devices together; None leaves the MFU out.
        primary: whether this process writes; exactly one of a run does.
        resume_step: step of the restored checkpoint, 0 for a fresh start: what an earlier session
            wrote about later steps is dropped, so that no step is logged twice. None (an
            evaluation of a finished run) keeps everything.
    """

    def __init__(
        self,
        workdir: pathlib.Path | str,
        experiment: schema.Experiment,
        *,
        total_steps: int,
        flops_per_step: float,
        peak_flops: float | None,
        primary: bool,
        resume_step: int | None = None,
    ):
        self._workdir, self._experiment, self._primary = pathlib.Path(workdir), experiment, primary
        self._total, self._flops, self._peak = total_steps, flops_per_step, peak_flops
        self._eta = progress.Eta(total_steps)
        self._step = resume_step or 0
        if not primary:
            return
        self._workdir.mkdir(parents=True, exist_ok=True)
        metrics = self._workdir / history.METRICS
        history.restart(metrics, resume_step)
        gallery_lib.restart(self._workdir, resume_step)
        training = {
            "digest": experiment.digest(),
            "total_steps": total_steps,
            "flops_per_step": flops_per_step,
            "peak_flops": peak_flops,
        }
        session.record(self._workdir, training, resume_step)
        self._metrics = metrics.open("a", encoding="utf-8")
        self._board = board.Board(self._workdir / "tensorboard", experiment.to_dict(), resume_step)
        if not media.encoders():
            self.note("PyAV is not installed: galleries hold WebP animations instead of mp4")

    def started(self, seconds: Mapping[str, float]) -> None:
        """Logs what the time from the command to the end of the first step was spent on.

        Args:
            seconds: of each stage, in their order.
        """
        if not self._primary:
            return
        print(f"started in {progress.stages(seconds)}", flush=True)
        rounded = {name: round(value, 3) for name, value in seconds.items()}
        session.amend(self._workdir, {"start_up": rounded})

    def train(
        self,
        step: int,
        metrics: Mapping[str, float],
        *,
        step_seconds: float,
        input_wait: float,
        steps_since: int,
    ) -> None:
        """Logs a step of training.

        Args:
            metrics: of this step.
            step_seconds: mean wall seconds of a step since the last report.
            input_wait: share (0..1) of that time in which devices waited for data.
            steps_since: number of steps since the last report.
        """
        if not self._primary:
            return
        plain = _plain(metrics)
        speed = {
            "speed/step_seconds": step_seconds,
            "speed/steps": steps_since,
            "speed/clips_per_second": self._experiment.batch_size / step_seconds,
            "speed/input_wait": input_wait,
        }
        if self._peak:
            speed["speed/mfu"] = self._flops / step_seconds / self._peak
        line = progress.line(
            step,
            self._total,
            plain,
            steps_per_second=1 / step_seconds,
            clips_per_second=speed["speed/clips_per_second"],
            mfu=speed.get("speed/mfu"),
            input_wait=input_wait,
            eta=self._eta.update(step, time.monotonic(), step_seconds),
        )
        print(line, flush=True)
        self._append(step, "train", plain | speed)
        self._board.scalars(step, {f"train/{k}": v for k, v in plain.items()} | speed)

    def evaluation(self, step: int, results: Mapping[str, float]) -> None:
        """Logs the results of evaluators, named `<evaluator>/<metric>`."""
        if not self._primary:
            return
        print(progress.evaluation_line(step, self._total, results), flush=True)
        self._append(step, "eval", _plain(results))
        self._board.scalars(step, _plain(results))

    def gallery(self, step: int, name: str, examples: Sequence[pictures.Example]) -> None:
        """Keeps reconstructions for the page, and shows them in TensorBoard.

        TensorBoard gets still pictures and sound; the moving pictures lie in `media/`.
        """
        if not self._primary:
            return
        gallery_lib.write(self._workdir, step, name, examples)
        for number, example in enumerate(examples):
            self._board.example(step, f"{name}/{number}", example)
        self._board.flush()

    def note(self, text: str) -> None:
        """Keeps a sentence about the run (a fallback, a restart) for the page and TensorBoard."""
        if not self._primary:
            return
        logging.info("%s", text)
        self._append(self._step, "note", {"text": text})
        self._board.text(self._step, text)

    def close(self) -> None:
        """Finishes all files; the page is written by `page.write`."""
        if self._primary:
            self._board.close()
            self._metrics.close()

    def _append(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        self._step = step
        line = {"step": step, "kind": kind, "time": round(time.time(), 3), **values}
        self._metrics.write(history.encode(line))
        self._metrics.flush()


def _plain(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Python floats, whatever array type they came as."""
    return {name: float(np.asarray(value)) for name, value in metrics.items()}
