"""Host input speed: clips a second a core and the time of every stage; as JSON.

    python -m benchmarks.input [--records=DIR] [--split=train] [--seconds=10] [--quick] [--out=FILE]

The inputs are those of configs/audioset/pretrain.py and configs/ucf101/pretrain.py, read from
`--records`, or from clips made here of the shapes those data sets have when prepared. A stage costs
what the pipeline up to it takes more than the one before, in processor time: that is the same
whether or not other programs share the cores, and the clips a second a core are its inverse.
`clips_per_second` is by the clock, on all cores. `--quick` takes about 20 s on a quiet machine.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import io
import itertools
import json
import pathlib
import platform
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image

from av_mae import recipes
from av_mae.config import parse, schema
from av_mae.input import example, order, pipeline, record, records

_RECORDS = flags.DEFINE_string("records", None, "Prepared data set; made here if not given.")
_SPLIT = flags.DEFINE_string("split", "train", "Split of --records that is read.")
_SECONDS = flags.DEFINE_float("seconds", 10.0, "Measured time of each stage.")
_QUICK = flags.DEFINE_bool("quick", False, "0.6 seconds a stage.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")

BATCH = 8


@dataclasses.dataclass(frozen=True)
class Case:
    """A config's input, and the clips that stand in for its data set."""

    config: schema.Experiment
    seconds: float
    height: int
    width: int


def cases() -> dict[str, Case]:
    """AudioSet: 10 s, 16:9 to 4:3 pictures; UCF101: 7 s of 320x240, both at short side 256."""
    audioset = parse.experiment(recipes.load("audioset/pretrain").get_config())
    ucf101 = parse.experiment(recipes.load("ucf101/pretrain").get_config())
    return {
        "audioset_pretrain": Case(audioset, 10.0, 256, 400),
        "ucf101_pretrain": Case(ucf101, 7.0, 256, 341),
    }


def main(_: list[str]) -> None:
    seconds = 0.6 if _QUICK.value else _SECONDS.value
    result: dict[str, Any] = {"machine": machine(), "cases": {}}
    for name, case in cases().items():
        with tempfile.TemporaryDirectory() as made:
            folder, split = _RECORDS.value, _SPLIT.value
            if not folder:
                folder, split = make_records(pathlib.Path(made), case), "train"
            result["cases"][name] = measure(case.config, folder, split, seconds)
    text = json.dumps(result, indent=1)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text + "\n")
    print(text)


def measure(
    experiment: schema.Experiment, folder: str | os.PathLike[str], split: str, seconds: float
) -> dict[str, Any]:
    """Times the pipeline up to each of its stages; milliseconds are a clip's processor time."""
    info = records.Info.load(folder)
    before, stages = 0.0, {}
    clips_per_second = 0.0
    for stage, batches in _prefixes(experiment, folder, split).items():
        total, clips_per_second = _time(batches, seconds)
        stages[stage] = total - before
        before = total
    size = sum(shard.bytes for shard in info.split(split).shards) / info.split(split).clips
    return {
        "clips_per_second": round(clips_per_second, 1),
        "clips_per_second_per_core": round(1000 / before, 1),
        "cpu_ms_per_clip": {"all": round(before, 3)} | {k: round(v, 3) for k, v in stages.items()},
        "record_kib": round(size / 1024),
        "modalities": {k: dataclasses.asdict(m) for k, m in experiment.modalities.items()},
        "crop": experiment.augment.crop,
    }


def _prefixes(
    experiment: schema.Experiment, folder: str | os.PathLike[str], split_name: str
) -> dict[str, Iterable[Any]]:
    """The pipeline cut after each stage, as iterables over batches of BATCH clips."""
    info = records.Info.load(folder)
    split = info.split(split_name)
    kinds = {k: m for k, m in experiment.modalities.items() if k == "video" or split.having[k]}
    dataset = dataclasses.replace(experiment.dataset, train=split_name, repeat=1)
    table = order.Table.load(folder, split)
    pictures = {k: m for k, m in kinds.items() if k == "video"}
    made = [example.Maker(m, dataset, len(info.labels)) for m in (pictures, kinds)]

    def read(counter: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        position = order.shuffled(counter, table.clips, seed=0)
        return table.read(position), position, counter

    def parse(payload: tf.Tensor, *_: tf.Tensor) -> example.Tensors:
        return made[0].parse(payload)

    def examples(maker: example.Maker) -> Any:
        augment = experiment.augment
        return lambda *element: maker.training(*element, augment=augment, seed=0)

    found = _each(order.counters(BATCH, np.arange(BATCH), start=0), read)
    prefixes: dict[str, Iterable[Any]] = {
        "read": _Grouped(found),
        "parse": _Grouped(_each(found, parse)),
        "decode, crop, resize": _Grouped(_each(found, examples(made[0]))),
    }
    if "audio" in kinds:
        prefixes["sound"] = _Grouped(_each(found, examples(made[1])))
    prefixes["batch"] = pipeline.train_batches(
        folder, kinds, dataset, experiment.augment, batch_size=BATCH, seed=0
    )
    return prefixes


class _Grouped:
    """BATCH elements of a dataset at a time, not copied together."""

    def __init__(self, dataset: tf.data.Dataset):
        self._dataset = dataset

    def __iter__(self) -> Any:
        elements = iter(self._dataset.prefetch(2 * BATCH).with_options(pipeline.options()))
        while True:
            yield list(itertools.islice(elements, BATCH))


def _each(dataset: tf.data.Dataset, function: Any) -> tf.data.Dataset:
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=os.cpu_count(), deterministic=True)


def _time(batches: Iterable[Any], seconds: float) -> tuple[float, float]:
    """(processor milliseconds a clip, clips a second by the clock): the best of three rounds."""
    running = iter(batches)
    for _ in range(3):  # fills the buffers
        next(running)
    rounds = [_round(running, seconds / 3) for _ in range(3)]
    return min(cpu for cpu, _ in rounds), max(rate for _, rate in rounds)


def _round(running: Iterator[Any], seconds: float) -> tuple[float, float]:
    clips, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        next(running)
        clips += BATCH
    spent = time.process_time() - cpu
    return 1000 * spent / clips, clips / (time.perf_counter() - wall)


def make_records(folder: pathlib.Path, case: Case, clips: int = 16) -> pathlib.Path:
    """A data set of moving patterns with a little noise, about 20 KiB a picture, and noise."""
    rng = np.random.default_rng(0)
    pictures = [_picture(case, t, rng) for t in range(16)]
    count = round(case.seconds * 12.5)
    made = []
    for number in range(clips):
        frames = tuple(pictures[(number + t) % len(pictures)] for t in range(count))
        audio = rng.integers(-8000, 8000, round(case.seconds * 16_000)).astype(np.int16)
        clip = record.Clip(
            id=str(number), source="made", frames=frames, fps=12.5, height=case.height,
            width=case.width, audio=audio, start=0.0, duration=case.seconds, labels=(0,),
        )  # fmt: skip
        made.append(clip)
    shard = records.write_shard(folder / "made-train.tfrecord-00000-of-00001", made)
    records.Info(
        name="made", version="1.0.0", fps=12.5, short_side=case.height, labels=("one",),
        splits={"train": records.Split("train", (shard,))}, preprocessing={}, counts={},
        audio_mean=None, audio_std=None,
    ).save(folder)  # fmt: skip
    return folder


def _picture(case: Case, t: int, rng: np.random.Generator) -> bytes:
    y, x = np.mgrid[: case.height, : case.width]
    waves = np.sin(y / 17 + t / 5) * np.cos(x / 23), np.sin((x + y) / 31 - t / 9)
    squares = (x // 20 + y // 20 + t // 3) % 2 - 0.5
    planes = 127 + 90 * np.stack([*waves, squares], -1)
    planes += rng.normal(0, 3, planes.shape)
    stream = io.BytesIO()
    Image.fromarray(planes.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = {
        line.split(":")[1].strip()
        for line in _lines(pathlib.Path("/proc/cpuinfo"))
        if line.startswith("model name")
    }
    return {
        "processor": ", ".join(sorted(names)) or platform.processor(),
        "cores": os.cpu_count(),
        "tensorflow": tf.__version__,
        "load": round(os.getloadavg()[0], 1),
    }


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    app.run(main)
