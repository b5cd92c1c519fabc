"""What cannot run stops before the first step, with a sentence that says what to do."""

import pathlib

import pytest
import tiny

from av_mae import config, evaluate, parse, run, train


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


def _build(data, task="pretrain", **changes) -> run.Run:
    return run.build(parse.experiment(tiny.experiment(data, task, **changes)))


def test_plan_counts_steps_and_takes_the_data_sets_statistics(data):
    plan = _build(data, total="2 epochs")
    assert plan.total == 6 and plan.steps_per_epoch == 3.0
    assert plan.experiment.modalities["audio"].mean == -6.0
    assert plan.flops_per_step > 0


def test_no_data_set(tmp_path):
    with pytest.raises(ValueError, match="no data set in .* write one with"):
        _build(tmp_path / "nothing")


def test_unknown_split(data):
    changes = {"dataset": {"path": str(data), "train": "training"}}
    with pytest.raises(ValueError, match="no split 'training'; it has: train, val"):
        _build(data, **changes)


def test_unknown_evaluation_split(data, tmp_path):
    changes = {"evaluators": {"test": {"kind": "reconstruction", "split": "test"}}}
    with pytest.raises(ValueError, match="no split 'test'"):
        train.train(parse.experiment(tiny.experiment(data, **changes)), tmp_path)


def test_batch_that_the_devices_do_not_divide(data):
    with pytest.raises(config.ConfigError, match="batch_size 10 .* 8 devices; use 8 or 16"):
        _build(data, batch_size=10)


def test_run_of_no_steps(data):
    with pytest.raises(config.ConfigError, match="total is '0 steps'"):
        _build(data, total="0 steps")


def test_unknown_evaluator_kind_and_task(data, tmp_path):
    for kind, sentence in (("clasification", "expected one of"), ("classification", "the task is")):
        values = tiny.experiment(data, evaluators={"val": {"kind": kind, "split": "val"}})
        with pytest.raises(config.ConfigError, match=sentence):
            train.train(parse.experiment(values), tmp_path)


def test_evaluator_of_a_modality_that_is_not_there(data, tmp_path):
    evaluator = {"kind": "reconstruction", "split": "val", "modalities": ("depth",)}
    with pytest.raises(config.ConfigError, match="'depth'; this model knows video, audio"):
        train.train(
            parse.experiment(tiny.experiment(data, evaluators={"val": evaluator})), tmp_path
        )


def test_best_metric_of_no_evaluator(data, tmp_path):
    values = tiny.experiment(data, checkpoint={"every": "2 steps", "best": "test/accuracy"})
    with pytest.raises(config.ConfigError, match="checkpoint.best is 'test/accuracy'"):
        train.train(parse.experiment(values), tmp_path)


def test_init_from_nothing(data, tmp_path):
    values = tiny.experiment(data, "classify", init_from={"path": str(tmp_path / "none")})
    with pytest.raises(config.ConfigError, match="none does not exist"):
        train.train(parse.experiment(values), tmp_path)


def test_evaluating_without_a_checkpoint(data, tmp_path):
    with pytest.raises(config.ConfigError, match="no checkpoint in"):
        evaluate.evaluate(parse.experiment(tiny.experiment(data)), tmp_path)


def test_evaluating_with_another_architecture(data, tmp_path):
    short = tiny.experiment(data, total="1 steps", evaluators={})
    assert train.train(parse.experiment(short), tmp_path) == 0
    wider = tiny.experiment(data)
    wider["model"]["mlp"] = 64
    with pytest.raises(config.ConfigError, match="does not fit the config"):
        evaluate.evaluate(parse.experiment(wider), tmp_path)
