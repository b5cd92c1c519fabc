"""Writes what a run logs: progress lines, metrics.jsonl, run.json, TensorBoard and galleries."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import logging
from flax import traverse_util

from av_mae import version
from av_mae.config import schema
from av_mae.report import board, history, media, pictures, progress
from av_mae.report import breakdown as breakdown_lib
from av_mae.report import gallery as gallery_lib

_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "clu", "numpy", "tensorflow-cpu",
    "tensorflow", "av",
)  # fmt: skip


class Reporter:
    """The one place where a run's numbers and pictures leave it; on other hosts it writes nothing.

    Args:
        workdir: gets metrics.jsonl, run.json, `tensorboard/`, `media/` and `evaluation/`.
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
        self._alone = resume_step is None
        self._eta = progress.Eta(total_steps)
        self._step = resume_step or 0
        if not primary:
            return
        self._workdir.mkdir(parents=True, exist_ok=True)
        metrics = self._workdir / history.METRICS
        history.restart(metrics, resume_step)
        gallery_lib.restart(self._workdir, resume_step)
        breakdown_lib.restart(self._workdir, resume_step)

        training = {
            "digest": experiment.digest(),
            "total_steps": total_steps,
            "flops_per_step": flops_per_step,
            "peak_flops": peak_flops,
        }
        found = None if resume_step == 0 else history.read_json(self._workdir / history.RUN)
        before: dict[str, Any] = found if isinstance(found, dict) else {}
        if resume_step is None:  # what describes the training stays as it is
            training |= {key: before[key] for key in training if key in before}
        sessions = [*before.get("sessions", []), _session(resume_step)]
        self._info = {**training, "sessions": sessions}
        self._write_info()

        self._metrics = metrics.open("a", encoding="utf-8")
        hparams = traverse_util.flatten_dict(experiment.to_dict(), sep=".")
        self._board = board.open_writer(self._workdir / "tensorboard", hparams, resume_step)
        if not media.encoders():
            self.note("PyAV is not installed: galleries hold WebP animations instead of mp4")

    def started(self, seconds: progress.Numbers) -> None:
        """Logs what the time from the command to the end of the first step was spent on.

        Args:
            seconds: of each stage, in their order.
        """
        if self._primary:
            print(f"started in {progress.stages(seconds)}", flush=True)
            rounded = {name: round(value, 3) for name, value in seconds.items()}
            self._info["sessions"][-1]["start_up"] = rounded
            self._write_info()

    def train(
        self,
        step: int,
        metrics: progress.Numbers,
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
        speed = {
            "speed/step_seconds": step_seconds,
            "speed/steps": steps_since,
            "speed/clips_per_second": self._experiment.batch_size / step_seconds,
            "speed/input_wait": input_wait,
        }
        if self._peak:
            speed["speed/mfu"] = self._flops / step_seconds / self._peak
        eta = self._eta.update(step, time.monotonic(), step_seconds)
        line = progress.line(step, self._total, metrics, speed, eta)
        curves = {f"train/{k}": v for k, v in metrics.items()} | speed
        self._log(step, "train", {**metrics, **speed}, line, curves)

    def evaluation(self, step: int, results: progress.Numbers) -> None:
        """Logs the results of evaluators, named `<evaluator>/<metric>`, with a line for
        each such as `step 1200/50000  eval  val/loss 0.398  val/accuracy 0.712`."""
        lines: dict[str, list[str]] = {}
        for name, value in filter(lambda result: history.is_score(result[0]), results.items()):
            start = [f"step {step}/{self._total}", "eval"]
            own = lines.setdefault(name.rpartition("/")[0], start)
            own.append(f"{name} {progress.short(value)}")
        self._log(step, "eval", results, "\n".join(map("  ".join, lines.values())), results)

    def gallery(self, step: int, name: str, examples: Sequence[pictures.Example]) -> None:
        """Keeps reconstructions for the page, and shows them in TensorBoard.

        TensorBoard gets film strips, spectrograms (original, masked, predicted from top to bottom)
        and sound; the moving pictures lie in `media/`.
        """
        if not self._primary:
            return
        gallery_lib.write(self._workdir, step, name, examples)
        for number, example in enumerate(examples):
            tag, images = f"{name}/{number}", {}
            if example.frames:
                images[f"{tag}/frames"] = pictures.films(example.frames)
            if example.spectrograms:
                images[f"{tag}/spectrogram"] = pictures.spectrograms(example.spectrograms)
            self._board.write_images(step, images)
            sounds = {
                f"{tag}/{kind}": example.waves[kind][None, :, None]
                for kind in ("original", "predicted")
                if kind in example.waves
            }
            self._board.write_audios(step, sounds, sample_rate=media.SAMPLE_RATE)
        self._board.flush()

    def wants_clips(self, step: int) -> bool:
        """Whether this process is to write what became of every clip (`breakdown`).

        After the last step, and in an evaluation of a finished run.
        """
        return self._primary and (self._alone or step >= self._total)

    def breakdown(self, found: breakdown_lib.Breakdown) -> None:
        """Keeps what became of every clip, for the page and for other programs."""
        folder = breakdown_lib.write(self._workdir, found)
        logging.info("what became of every clip of %s: %s", found.split, folder / "predictions.csv")

    def note(self, text: str) -> None:
        """Keeps a sentence about the run (a fallback, a restart) for the page and TensorBoard."""
        if self._primary:
            logging.info("%s", text)
            self._log(self._step, "note", {"text": text})
            self._board.write_texts(self._step, {"notes": text})

    def close(self) -> None:
        """Finishes all files; the page is written by `page.write`."""
        if self._primary:
            self._board.close()
            self._metrics.close()

    def _log(
        self, step: int, kind: str, values: Mapping[str, Any], line: str = "", curves: Any = ()
    ) -> None:
        """Writes a line of metrics.jsonl, prints `line`, and adds points to TensorBoard."""
        if not self._primary:
            return
        if line:
            print(line, flush=True)
        self._step, now = step, round(time.time(), 3)
        self._metrics.write(history.encode({"step": step, "kind": kind, "time": now, **values}))
        self._metrics.flush()
        if curves:
            self._board.write_scalars(step, dict(curves))

    def _write_info(self) -> None:
        text = json.dumps(self._info, indent=1) + "\n"
        history.write_whole(self._workdir / history.RUN, text)


def _session(resume_step: int | None) -> dict[str, Any]:
    """What runs: on which machine, with which versions, since when and by which command."""
    now = datetime.datetime.now(datetime.UTC)
    versions = {"av_mae": version.__version__}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional one
    return {
        "start": now.isoformat(timespec="seconds"),
        "time": now.timestamp(),
        "resume_step": resume_step,
        # As typed: `python -m av_mae.main ...`, whatever folder the interpreter lies in.
        "command": shlex.join([pathlib.Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device_kind": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "packages": versions,
    }
