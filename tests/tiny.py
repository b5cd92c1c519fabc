"""A tiny data set of real records and a tiny experiment on it, for tests of whole runs."""

import contextlib
import io
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
import numpy as np
import warm
from PIL import Image

from av_mae.config import parse

ROOT = pathlib.Path(__file__).parents[1]
LABELS = ("left", "right")


def write_records(folder: pathlib.Path, train: int = 24, val: int = 10) -> pathlib.Path:
    """Clips of 20 frames of 40x48 with one second of sound; every third training clip is silent."""
    from av_mae.input import records

    splits = {
        name: records.Split(name, _write_split(folder, name, count))
        for name, count in (("train", train), ("val", val))
    }
    records.Info(
        name="tiny",
        version="1.0.0",
        fps=12.5,
        short_side=40,
        labels=LABELS,
        splits=splits,
        preprocessing={},
        counts={},
        audio_mean=-6.0,
        audio_std=3.0,
    ).save(folder)
    return folder


def experiment(records_folder: pathlib.Path | str, task: str = "pretrain", **changes: Any) -> dict:
    """Config of a three-layer model with both modalities, eight rows a step."""
    values = {
        "task": task,
        "total": "8 steps",
        "batch_size": 8,
        "lr": 1e-3,
        "log_every": "1 steps",
        "dataset": {"path": str(records_folder)},
        "modalities": {
            "video": {"frames": 4, "stride": 2, "size": 32, "mask_ratio": 0.5},
            "audio": {"seconds": 0.64, "mels": 32, "mask_ratio": 0.5},
        },
        "model": {
            "width": 16, "depth": 3, "heads": 2, "mlp": 32, "fusion": "mid", "fusion_layers": 2,
            "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "decoder_mlp": 32,
        },
        "compute": {"remat": "none"},  # compiles a quarter faster
        "checkpoint": {"every": "2 steps"},
        "evaluators": {"val": evaluator(task)},
    }  # fmt: skip
    if task == "classify":
        values["model"] |= {"fusion": "bottleneck", "drop_path": 0.1}
        values["augment"] = {"mixup": 0.5, "freq_masks": 1, "freq_mask_bins": 4}
    return values | changes


def alone(
    records_folder: pathlib.Path | str, task: str = "pretrain", modality: str = "audio",
    **changes: Any,
) -> dict:  # fmt: skip
    """The experiment on one modality through one layer: it compiles in a third of the time."""
    values = experiment(records_folder, task)
    values["modalities"] = {modality: values["modalities"][modality]}
    values["model"] |= {"depth": 1, "fusion": "early"}
    return values | changes


def evaluator(task: str) -> dict:
    kind = "reconstruction" if task == "pretrain" else "classification"
    return {"kind": kind, "split": "val", "every": "4 steps"}


def config_dict(values: dict) -> ml_collections.ConfigDict:
    """All keys of the experiment, so that any of them can be overridden by a flag."""
    return ml_collections.ConfigDict(parse.experiment(values).to_dict())


def start(
    workdir: pathlib.Path, records_folder: pathlib.Path, *flags: str, task: str = "pretrain",
    devices: int = 1, program: str = "av_mae.main",
) -> warm.Process:  # fmt: skip
    """Starts a real training process on the tiny experiment."""
    command = [
        "-m", program,
        f"--config={ROOT}/tests/tiny_config.py:{task}", f"--workdir={workdir}",
        f"--config.dataset.path={records_folder}", *flags,
    ]  # fmt: skip
    paths = {"XLA_FLAGS": xla_flags(devices), "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
    return warm.Process(command, env=os.environ | paths)


def xla_flags(devices: int) -> str:
    """The compiler's settings of the tests, for another number of simulated devices."""
    return f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"


def run(workdir: pathlib.Path, records_folder: pathlib.Path, *flags: str, **kwargs: Any) -> str:
    """Runs the tiny experiment to its end and returns what it printed."""
    process = start(workdir, records_folder, *flags, **kwargs)
    with killed_at_last(process):
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@contextlib.contextmanager
def killed_at_last(*processes: warm.Process) -> Iterator[None]:
    """However the block is left, the processes have ended then."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], bool], process: warm.Process, seconds: float = 240.0) -> None:
    """Waits until the condition holds, at most until the process ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return
        time.sleep(0.01)
    assert condition(), process.communicate()[0]


def _write_split(folder: pathlib.Path, split: str, count: int):
    from av_mae.input import record, records

    made = [_clip(record, f"{split}{i}", i) for i in range(count)]
    half = count // 2
    return tuple(
        records.write_shard(folder / f"tiny-{split}.tfrecord-{n:05d}-of-00002", part)
        for n, part in enumerate((made[:half], made[half:]))
    )


def _clip(record: Any, name: str, number: int) -> Any:
    rng = np.random.default_rng(number)
    label = number % 2
    frames = [_jpeg(rng, shift=i * (1 if label else -1)) for i in range(20)]
    pitch = 300 if label else 900
    sound = np.sin(2 * np.pi * pitch * np.arange(25_600) / 16_000) * 8000
    silent = number % 3 == 2 and name.startswith("train")
    return record.Clip(
        id=name, source=f"{name}.mp4", frames=tuple(frames), fps=12.5, height=40, width=48,
        audio=None if silent else sound.astype(np.int16), start=0.0, duration=1.6, labels=(label,),
    )  # fmt: skip


def _jpeg(rng: np.random.Generator, shift: int) -> bytes:
    picture = rng.integers(0, 60, (40, 48, 3), np.uint8)
    picture[10:30, (20 + shift) % 40 :][:, :8] = 220
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=90)
    return stream.getvalue()
