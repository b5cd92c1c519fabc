"""The training loop in one process: numbers written, schedules kept, divergence noticed."""

import json
import pathlib

import numpy as np
import pytest
import tiny

from av_mae import checkpoint, evaluate, parse, train


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("pretrained")
    assert train.train(parse.experiment(tiny.experiment(data)), workdir) == 0
    return workdir


def _entries(workdir: pathlib.Path, kind: str) -> list[dict]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["kind"] == kind]


def test_writes_metrics_results_checkpoints_and_report(pretrained):
    steps = [e["step"] for e in _entries(pretrained, "train")]
    assert steps == list(range(1, 9))
    assert [e["step"] for e in _entries(pretrained, "eval")] == [4, 8]
    results = json.loads((pretrained / "results.json").read_text())
    assert results["step"] == 8 and results["results"]["val/loss"] > 0
    assert (pretrained / "report.html").stat().st_size > 1000
    assert checkpoint.read(pretrained).step == 8


def test_learns(data, tmp_path):
    longer = tiny.experiment(data, total="80 steps", evaluators={}, log_every="20 steps", lr=5e-3)
    train.train(parse.experiment(longer), tmp_path)
    losses = [e["loss"] for e in _entries(tmp_path, "train")]
    assert losses[-1] < 0.85 * losses[0]


def test_evaluate_repeats_the_numbers_of_the_end_of_training(data, pretrained):
    trained = json.loads((pretrained / "results.json").read_text())["results"]
    again = evaluate.evaluate(parse.experiment(tiny.experiment(data)), pretrained)
    assert again == pytest.approx(trained, rel=1e-5)


@pytest.mark.parametrize("modalities", [("video", "audio"), ("video",), ("audio",)])
def test_finetunes_from_a_pretraining_run(data, pretrained, tmp_path, modalities):
    values = tiny.experiment(data, "classify", total="2 steps")
    values["init_from"] = {"path": str(pretrained)}
    values["modalities"] = {k: values["modalities"][k] for k in modalities}
    assert train.train(parse.experiment(values), tmp_path) == 0
    report = (tmp_path / "init_from.txt").read_text()
    assert str(pretrained) in report and "encoders" in report
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert 0.0 <= results["val/accuracy"] <= 1.0


def test_diverging_run_names_the_step_and_the_last_good_checkpoint(data, tmp_path):
    values = tiny.experiment(data, lr=1e30, checkpoint={"every": "1 steps"}, evaluators={})
    values["optim"] = {"name": "sgd", "schedule": "constant"}
    with pytest.raises(train.Diverged, match=r"step \d+: loss .*last good checkpoint is step \d+"):
        train.train(parse.experiment(values), tmp_path)
    saved = checkpoint.read(tmp_path)
    assert all(np.isfinite(x).all() for x in saved.params["mask_token"].values())


def test_best_checkpoint_is_kept_apart(data, tmp_path):
    values = tiny.experiment(data, "classify")
    values["checkpoint"] = {"every": "2 steps", "keep": 1, "best": "val/accuracy"}
    values["evaluators"]["val"]["every"] = "2 steps"
    train.train(parse.experiment(values), tmp_path)
    scores = {e["step"]: e["val/accuracy"] for e in _entries(tmp_path, "eval")}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert checkpoint.read(tmp_path).step == best
    assert [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()] == ["8"]


def test_averaged_parameters_are_what_is_evaluated_and_read(data, tmp_path):
    values = tiny.experiment(data, optim={"ema": 0.5}, evaluators={}, total="3 steps")
    train.train(parse.experiment(values), tmp_path)
    plain = tiny.experiment(data, evaluators={}, total="3 steps")
    train.train(parse.experiment(plain), tmp_path / "plain")
    averaged, last = checkpoint.read(tmp_path), checkpoint.read(tmp_path / "plain")
    kernel = lambda saved: saved.params["embed"]["video"]["kernel"]  # noqa: E731
    assert not np.array_equal(kernel(averaged), kernel(last))


def test_accumulated_steps_match_whole_ones(data, tmp_path):
    whole = tiny.experiment(data, evaluators={}, total="3 steps", batch_size=16)
    whole["modalities"] = {"video": whole["modalities"]["video"]}
    parts = whole | {"optim": {"accumulate": 2}}
    for name, values in (("whole", whole), ("parts", parts)):
        train.train(parse.experiment(values), tmp_path / name)
    losses = [[e["loss"] for e in _entries(tmp_path / n, "train")] for n in ("whole", "parts")]
    np.testing.assert_allclose(*losses, rtol=1e-4)
