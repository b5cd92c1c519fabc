"""Records against decoding the media of every clip, on real clips, as JSON.

    python -m benchmarks.against_media --audioset_clips=DIR --ucf101_clips=DIR [--result=FILE]

The clips of a folder are prepared into records once. Then inputs of configs/audioset/pretrain.py
(with the random resized crop) and of configs/ucf101/pretrain.py are read from the records, each
clip once or as two augmented copies, cropped here or left for the device to crop (dataset.canvas,
as large as the largest picture), and decoded from the media by PyAV and, where it is installed,
decord (`benchmarks.media`). At most 48 files of a folder are taken, evenly; of AudioSet's the first
ten seconds of those that last so long and have sound.

All costs are processor time a clip (a row of a batch), so that other programs on the machine count
little; the variants take turns, and the median of the rounds is reported. Caches are warm. `jpeg`
decodes whole frames of the records, as many as a clip has, and nothing else.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import itertools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import av
import numpy as np
import tensorflow as tf
from absl import app, flags

from av_mae.config import command_line, schema
from av_mae.input import pipeline, record, records
from av_mae.prepare import datasets
from av_mae.prepare.shards import build
from av_mae.prepare.shards.settings import Settings
from av_mae.training import host
from benchmarks import input as input_benchmark
from benchmarks import media

_AUDIOSET = flags.DEFINE_string("audioset_clips", None, "Folder of files of ten seconds, or more.")
_UCF101 = flags.DEFINE_string("ucf101_clips", None, "Folder of files as UCF101 has.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of every variant.")
_RESULT = flags.DEFINE_string("result", None, "File for the JSON, besides standard output.")

BATCH, BATCHES = 8, 6
MOST = 48
SUFFIXES = (".mp4", ".avi", ".mkv", ".webm")


def main(_: list[str]) -> None:
    host.keep_memory()
    result: dict[str, Any] = {"command": command_line.given("benchmarks.against_media")}
    result["machine"] = input_benchmark.machine()
    result["cases"] = {}
    cases = input_benchmark.cases()
    if _AUDIOSET.value:
        experiment = cases["audioset_pretrain"].config
        augment = dataclasses.replace(experiment.augment, crop="random_resized")
        experiment = dataclasses.replace(experiment, augment=augment)
        paths = long_with_sound(files(_AUDIOSET.value), 9.5)
        result["cases"]["audioset_pretrain"] = compare(experiment, paths, 10.0, _ROUNDS.value)
    if _UCF101.value:
        experiment = cases["ucf101_pretrain"].config
        paths = files(_UCF101.value)
        result["cases"]["ucf101_pretrain"] = compare(experiment, paths, 60.0, _ROUNDS.value)
    text = json.dumps(result, indent=1)
    if _RESULT.value:
        pathlib.Path(_RESULT.value).write_text(text + "\n")
    print(text)


def files(folder: str) -> list[pathlib.Path]:
    found = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix in SUFFIXES)
    return found[:: max(len(found) // MOST, 1)][:MOST]


def long_with_sound(paths: Sequence[pathlib.Path], seconds: float) -> list[pathlib.Path]:
    """Those that have sound and last at least so long."""
    kept = []
    for path in paths:
        with av.open(str(path)) as file:
            if file.streams.audio and (file.duration or 0) / av.time_base >= seconds:
                kept.append(path)
    return kept


def compare(
    experiment: schema.Experiment, paths: Sequence[pathlib.Path], seconds: float, rounds: int
) -> dict[str, Any]:
    """Processor milliseconds a clip of every variant, and what follows from them."""
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        prepare(paths, folder, seconds)
        variants = _variants(experiment, folder, paths, seconds)
        for run in variants.values():
            run()  # builds graphs, fills caches
        spent: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, run in variants.items():
                _quiet()
                spent[name].append(run())
        cost = {name: statistics.median(values) for name, values in spent.items()}
        stages = input_benchmark.measure(experiment, folder, "train", seconds=3.0)
        record_bytes, canvas = _record_bytes(folder), _largest(folder)
    ours = {name: cost[name] for name in ("records", "canvas")}
    return {
        "files": len(paths),
        "cpu_ms_per_clip": {name: round(ms, 2) for name, ms in cost.items()},
        "clips_per_second_per_core": {name: round(1000 / ms, 1) for name, ms in cost.items()},
        "faster_than": {
            kind: {name: round(cost[name] / ms, 2) for name in media.readers()}
            for kind, ms in ours.items()
        },
        "repeated_twice_against_once": {
            kind: round(ms / cost[f"{kind}, 2 copies"], 2) for kind, ms in ours.items()
        },
        "share_of_the_jpeg_limit": {kind: round(cost["jpeg"] / ms, 2) for kind, ms in ours.items()},
        "canvas": canvas,
        "bytes_per_clip": {"records": record_bytes, "media": _media_bytes(paths, seconds)},
        "stages_cpu_ms": stages["cpu_ms_per_clip"],
        "augment": {"crop": experiment.augment.crop, "crop_area": experiment.augment.crop_area},
        "spread": {name: [round(min(v), 2), round(max(v), 2)] for name, v in spent.items()},
    }


def prepare(paths: Sequence[pathlib.Path], folder: pathlib.Path, seconds: float) -> None:
    """Records of the first seconds of the files, with the default settings."""
    entries = tuple(
        datasets.Entry(str(i), str(path), path.name, "train", ("one",), 0.0, seconds)
        for i, path in enumerate(paths)
    )
    build.build(datasets.Listing(entries), folder, Settings("real"), workers=1)


def _variants(
    experiment: schema.Experiment,
    folder: pathlib.Path,
    paths: Sequence[pathlib.Path],
    seconds: float,
) -> dict[str, Callable[[], float]]:
    """Each runs for a while and returns processor milliseconds a clip."""
    video, audio = experiment.modalities["video"], experiment.modalities["audio"]
    wanted = media.Input(video, audio, experiment.augment, seconds)  # pyright: ignore[reportArgumentType]
    largest = _largest(folder)
    return {
        "records": _from_records(experiment, folder, repeat=1),
        "records, 2 copies": _from_records(experiment, folder, repeat=2),
        "canvas": _from_records(experiment, folder, repeat=1, canvas=largest),
        "canvas, 2 copies": _from_records(experiment, folder, repeat=2, canvas=largest),
        "jpeg": _jpeg(folder, wanted.video.frames),
    } | {name: _from_media(read, wanted, paths) for name, read in media.readers().items()}


def _from_records(
    experiment: schema.Experiment,
    folder: pathlib.Path,
    repeat: int,
    canvas: tuple[int, int] = (0, 0),
) -> Callable[[], float]:
    dataset = dataclasses.replace(experiment.dataset, repeat=repeat, canvas=canvas)
    split = records.Info.load(folder).split("train")
    kinds = {k: m for k, m in experiment.modalities.items() if k == "video" or split.having[k]}
    batches = pipeline.train_batches(
        folder, kinds, dataset, experiment.augment, batch_size=BATCH * repeat, seed=0
    )

    def run() -> float:
        for _ in range(4):  # what was made in advance while nobody took it
            next(batches)
        begin = time.process_time()
        for _ in range(BATCHES):
            next(batches)
        return 1000 * (time.process_time() - begin) / (BATCHES * BATCH * repeat)

    return run


def _from_media(
    read: Callable[..., media.Clip], wanted: media.Input, paths: Sequence[pathlib.Path]
) -> Callable[[], float]:
    rng = np.random.default_rng(0)

    def run() -> float:
        begin = time.process_time()
        for path in paths:
            read(path, wanted, rng)
        return 1000 * (time.process_time() - begin) / len(paths)

    return run


def _jpeg(folder: pathlib.Path, frames: int) -> Callable[[], float]:
    """Whole frames, decoded one after the other by the same decoder."""
    clips = [tf.constant(clip.frames[:frames]) for clip in _clips(folder)]

    @tf.function
    def decode(frames_f: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            lambda frame: tf.io.decode_jpeg(frame, 3, dct_method="INTEGER_FAST")[0, 0, 0],
            frames_f, fn_output_signature=tf.uint8, parallel_iterations=1,
        )  # fmt: skip

    def run() -> float:
        begin = time.process_time()
        for clip in clips:
            decode(clip)
        return 1000 * (time.process_time() - begin) / len(clips)

    return run


def _largest(folder: pathlib.Path) -> tuple[int, int]:
    """Height and width that hold every picture of the records."""
    height, width = np.max([(clip.height, clip.width) for clip in _clips(folder)], axis=0)
    return int(height), int(width)


def _clips(folder: pathlib.Path) -> Iterator[record.Clip]:
    shards = records.Info.load(folder).split("train").shards
    found = tf.data.TFRecordDataset([str(folder / shard.file) for shard in shards])
    payloads = itertools.islice(found.as_numpy_iterator(), MOST)
    return (record.decode(bytes(payload)) for payload in payloads)


def _quiet(still: float = 0.1) -> None:
    """Waits until what the variant before had begun has ended."""
    while True:
        before = time.process_time()
        time.sleep(still)
        if time.process_time() - before < still / 10:
            return


def _record_bytes(folder: pathlib.Path) -> int:
    split = records.Info.load(folder).split("train")
    return round(sum(shard.bytes for shard in split.shards) / split.clips)


def _media_bytes(paths: Sequence[pathlib.Path], seconds: float) -> int:
    """Mean size of the part that is used, as if bytes were spread evenly over a file."""
    sizes = []
    for path in paths:
        with av.open(str(path)) as file:
            length = max((file.duration or 0) / av.time_base, 1e-3)
        sizes.append(path.stat().st_size * min(seconds / length, 1.0))
    return round(statistics.mean(sizes))


if __name__ == "__main__":
    app.run(main)
