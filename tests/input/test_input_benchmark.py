"""The input benchmark measures real batches of its own records and accounts for all their time."""

import dataclasses

import input_clips
import pytest

from av_mae.config import schema
from benchmarks import input as benchmark


def test_the_stages_add_up_to_the_whole(tmp_path):
    experiment = schema.Experiment(modalities=input_clips.both())
    case = benchmark.Case(experiment, seconds=1.0, height=24, width=32)
    folder = benchmark.make_records(tmp_path, case, clips=3)
    result = benchmark.measure(experiment, folder, "train", seconds=0.1)
    stages = dict(result["cpu_ms_per_clip"])
    whole = stages.pop("all")
    assert list(stages) == ["read", "parse", "decode, crop, resize", "sound", "batch"]
    assert sum(stages.values()) == pytest.approx(whole, abs=0.01) and whole > 0
    assert result["clips_per_second_per_core"] == pytest.approx(1000 / whole, rel=0.01)
    assert result["clips_per_second"] > 0 and result["crop"] == "random_resized"


def test_records_without_sound_are_measured_without_it(tmp_path):
    silent = {f"c{i}": {"sound": None} for i in range(2)}
    input_clips.write(tmp_path, clips=2, frames=6, shards=1, **silent)
    experiment = schema.Experiment(modalities=input_clips.both())
    result = benchmark.measure(experiment, tmp_path, "train", seconds=0.1)
    assert "sound" not in result["cpu_ms_per_clip"]


def test_the_cases_are_those_of_the_configs():
    made = {name: case.config for name, case in benchmark.cases().items()}
    audioset, ucf101 = made["audioset_pretrain"], made["ucf101_pretrain"]
    assert audioset.modalities.keys() == ucf101.modalities.keys() == {"video", "audio"}
    assert dataclasses.asdict(audioset.modalities["video"])["size"] == 224
    assert ucf101.augment.crop == "multi_scale"
