"""What cannot run stops before the first step, with a sentence that says what to do."""

import dataclasses
import json
import pathlib
import shutil

import pytest
import tiny
import warm
from input import input_clips

from av_mae.config import parse, schema
from av_mae.evaluation import batches, evaluate
from av_mae.experiment.run import Run
from av_mae.input import records
from av_mae.training import loop


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


def _refuse(values: dict, workdir: pathlib.Path, sentence: str) -> None:
    with pytest.raises(schema.ConfigError, match=sentence):
        loop.train(parse.experiment(values), workdir)
    metrics = workdir / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.is_file() else []
    assert not [line for line in lines if json.loads(line)["kind"] == "train"]


def _build(data, task="pretrain", **changes) -> Run:
    return Run.build(parse.experiment(tiny.experiment(data, task, **changes)))


def test_a_run_counts_steps_and_takes_the_data_sets_statistics(data):
    run = _build(data, total="2 epochs")
    assert run.total == 6 and run.steps_per_epoch == 3.0
    assert run.experiment.modalities["audio"].mean == -6.0
    assert run.flops_per_step > 0


def test_one_statistic_that_is_given_is_kept(data):
    values = tiny.experiment(data)
    values["modalities"]["audio"] = values["modalities"]["audio"] | {"mean": -4.2}
    audio = Run.build(parse.experiment(values)).experiment.modalities["audio"]
    assert (audio.mean, audio.std) == (-4.2, 3.0)


def test_no_data_set(tmp_path):
    with pytest.raises(ValueError, match="no data set in .* write one with"):
        _build(tmp_path / "nothing")


def test_unknown_split(data):
    changes = {"dataset": {"path": str(data), "train": "training"}}
    with pytest.raises(ValueError, match="no split 'training'; it has: train, val"):
        _build(data, **changes)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"split": "tset"}, "evaluators.val: .* has no split 'tset'; it has: train, val"),
        ({"kind": "knn", "train_split": "training"}, "evaluators.val: .* no split 'training'"),
        ({"batch_size": 10}, "evaluators.val.batch_size 10 .* 8 devices; use 8 or 16"),
        ({"modalities": ("depth",)}, "'depth'; this model knows video, audio"),
        ({"kind": "clasification"}, "expected one of"),
        ({"kind": "classification"}, "the task is"),
    ],
)
def test_evaluator_that_cannot_run(data, tmp_path, changes, sentence):
    evaluator = {"kind": "reconstruction", "split": "val", "every": "end"} | changes
    _refuse(tiny.experiment(data, evaluators={"val": evaluator}), tmp_path, sentence)


@pytest.mark.parametrize("kind", ["reconstruction", "knn"])
def test_evaluator_of_sound_that_no_clip_has(data, tmp_path, kind):
    silent = tmp_path / "records"
    shutil.copytree(data, silent)
    info = json.loads((silent / "av_mae.json").read_text())
    for shard in info["splits"]["val"]["shards"]:
        shard["with_sound"] = 0
    (silent / "av_mae.json").write_text(json.dumps(info))
    evaluator = {"kind": kind, "split": "val", "every": "end", "modalities": ("audio",)}
    values = tiny.experiment(silent, evaluators={"val": evaluator})
    _refuse(values, tmp_path / "run", "evaluators.val: .* no clip of split 'val' .* has sound")


def test_batch_that_the_devices_do_not_divide(data):
    with pytest.raises(schema.ConfigError, match="batch_size 10 .* 8 devices; use 8 or 16"):
        _build(data, batch_size=10)


def test_a_bottleneck_of_one_layer_is_not_trained(data):
    model = tiny.experiment(data, "classify")["model"] | {"fusion_layers": 1}
    with pytest.raises(schema.ConfigError, match="fusion_layers is 1: .* nothing would be exch"):
        _build(data, "classify", model=model)


def test_run_of_no_steps(data):
    with pytest.raises(schema.ConfigError, match="total is '0 steps'"):
        _build(data, total="0 steps")


def test_best_metric_of_no_evaluator(data, tmp_path):
    values = tiny.experiment(data, checkpoint={"every": "2 steps", "best": "test/accuracy"})
    _refuse(values, tmp_path, "checkpoint.best is 'test/accuracy'")


def test_init_from_nothing(data, tmp_path):
    values = tiny.experiment(data, "classify", init_from={"path": str(tmp_path / "none")})
    _refuse(values, tmp_path, "none does not exist")


def test_evaluating_without_a_checkpoint(data, tmp_path):
    with pytest.raises(schema.ConfigError, match="no checkpoint in"):
        evaluate.evaluate(parse.experiment(tiny.experiment(data)), tmp_path)


def test_evaluating_with_another_architecture(data, tmp_path):
    short = tiny.experiment(data, total="1 steps", evaluators={})
    assert loop.train(parse.experiment(short), tmp_path) == 0
    wider = tiny.experiment(data)
    wider["model"]["mlp"] = 64
    with pytest.raises(schema.ConfigError, match="does not fit the config"):
        evaluate.evaluate(parse.experiment(wider), tmp_path)


def _labelled(data, folder: pathlib.Path, most: int | None) -> pathlib.Path:
    """The records again, whose info says how many labels a clip of `val` has at most."""
    shutil.copytree(data, folder)
    info = records.Info.load(folder)
    counts = {} if most is None else {"labels": {"val": {"most": most, "clips": [5, 5]}}}
    dataclasses.replace(info, counts=counts).save(folder)
    return folder


FLAG = r"2 labels, but dataset.multilabel is False.* set --config.dataset.multilabel=True"


def test_several_labels_a_clip_name_the_flag_before_the_first_step(data, tmp_path, caplog):
    folder = _labelled(data, tmp_path / "records", 2)
    values = tiny.alone(folder, "classify")
    _refuse(values, tmp_path / "run", "clips of split 'val' of .* have up to " + FLAG)
    values["dataset"] |= {"multilabel": True}
    assert Run.build(parse.experiment(values)).task.one_label is False
    assert not _build(folder).task.one_label  # pretraining takes no labels


def test_one_label_a_clip_and_the_flag_is_said(data, tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    folder = _labelled(data, tmp_path / "records", 1)
    info = records.Info.load(folder)
    both = {"labels": dict.fromkeys(("train", "val"), info.counts["labels"]["val"])}
    dataclasses.replace(info, counts=both).save(folder)
    values = tiny.alone(folder, "classify")
    values["dataset"] |= {"multilabel": True}
    Run.build(parse.experiment(values))
    assert "no clip has more than one label; dataset.multilabel=False" in caplog.text


def test_several_labels_that_nobody_counted_stop_at_the_batch_that_has_them(tmp_path):
    """Records of earlier versions: in training, and in an evaluation of another split."""
    kinds = {f"c{i}": {"label": (0, 2) if i == 5 else (i % 3,)} for i in range(8)}
    input_clips.write(tmp_path / "records", clips=8, frames=4, **kinds)
    values = tiny.alone(tmp_path / "records", "classify", evaluators={}, total="1 steps")
    _refuse(values, tmp_path / "run", "a clip of .* has " + FLAG)
    values["evaluators"] = {"val": {"kind": "classification", "split": "train"}}
    run = Run.build(parse.experiment(values))
    with pytest.raises(schema.ConfigError, match=FLAG):
        list(batches.Batches("val", run.experiment.evaluators["val"], run, "train"))


def test_class_weights_reach_the_loss(data):
    """Left and right are 12 clips each: only a file says otherwise."""
    weighted = _build(data, "classify", optim={"class_weights": "balanced"})
    assert weighted.task.class_weights == (1.0, 1.0)
    assert _build(data, "classify").task.class_weights == ()
    with pytest.raises(schema.ConfigError, match="class_weights is sqrt, which only task"):
        _build(data, "pretrain", optim={"class_weights": "sqrt"})


def test_a_list_of_several_labels_as_people_write_it(shared, tmp_path):
    """The whole way: prepared, then refused with the flag's name."""
    source = shared / "data" / "people" / "lists" / "multi.csv"
    done = warm.run(["-m", "av_mae.prepare", "--dataset=csv", f"--source={source}",
                     f"--out={tmp_path / 'records'}", "--workers=1"])  # fmt: skip
    assert done.returncode == 0 and "3 labels, up to 2 a clip" in done.stdout, done.stdout
    info = records.Info.load(tmp_path / "records")
    assert info.most_labels("train") == 2 and info.clips_by_label("train") == [4, 9, 5]
    values = tiny.alone(tmp_path / "records", "classify")
    _refuse(values, tmp_path / "run", "have up to " + FLAG)
