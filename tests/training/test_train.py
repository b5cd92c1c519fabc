"""The training loop in one process: numbers written, schedules kept, divergence noticed."""

import dataclasses
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterator

import jax
import numpy as np
import pytest
import tiny

from av_mae.config import parse, schema
from av_mae.evaluation import evaluate
from av_mae.experiment import checkpoint, sharding, step
from av_mae.experiment.run import Run
from av_mae.input import records
from av_mae.report import progress
from av_mae.training import loop


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("pretrained")
    assert loop.train(parse.experiment(tiny.experiment(data)), workdir) == 0
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


def test_the_time_to_the_first_step_is_split_and_kept(pretrained):
    """Every stage, in order; the first began with the process, long before this run."""
    (session,) = json.loads((pretrained / "run.json").read_text())["sessions"]
    stages = session["start_up"]
    assert list(stages) == [
        "imports", "model and data set", "parameters", "first batch", "compilation", "first step",
    ]  # fmt: skip
    assert stages["imports"] > stages["first step"] > 0
    told = progress.stages({"imports": 3.14, "first step": 0.36})
    assert told == "3.5 s: imports 3.1, first step 0.4"
    assert progress.stages(stages) in (pretrained / "report.html").read_text()


def test_a_finished_run_says_there_is_nothing_to_do(data, pretrained, caplog):
    before = checkpoint.read(pretrained).params
    caplog.set_level("WARNING", logger="absl")
    assert loop.train(parse.experiment(tiny.experiment(data)), pretrained) == 0
    assert "nothing to do: step 8 >= total 8" in caplog.text
    jax.tree.map(np.testing.assert_array_equal, checkpoint.read(pretrained).params, before)


def test_learns(data, tmp_path):
    longer = tiny.alone(data, total="80 steps", evaluators={}, lr=5e-3)
    longer |= {"checkpoint": {"every": "80 steps"}, "log_every": "4 steps"}
    loop.train(parse.experiment(longer), tmp_path)
    losses = [e["loss"] for e in _entries(tmp_path, "train")]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    # Runs without evaluators have a report, too.
    assert "finished 80 steps" in (tmp_path / "report.html").read_text()


def test_evaluate_repeats_the_numbers_of_the_end_of_training(data, pretrained):
    trained = json.loads((pretrained / "results.json").read_text())["results"]
    again = evaluate.evaluate(parse.experiment(tiny.experiment(data)), pretrained)
    assert again == pytest.approx(trained, rel=1e-5)


@pytest.mark.parametrize("modalities", [("video", "audio"), ("video",), ("audio",)])
def test_finetunes_from_a_pretraining_run(
    data, pretrained, tmp_path, modalities, caplog, capsys
):  # fmt: skip
    values = tiny.experiment(data, "classify", total="2 steps")
    values["init_from"] = {"path": str(pretrained)}
    values["modalities"] = {k: values["modalities"][k] for k in modalities}
    for name, changes in {"test": {"split": "test"}, "off": {"every": "never"}}.items():
        values["evaluators"][name] = values["evaluators"]["val"] | changes
    with caplog.at_level("INFO", "absl"):
        assert loop.train(parse.experiment(values), tmp_path) == 0
    report = (tmp_path / "init_from.txt").read_text()
    assert str(pretrained) in report and "encoders" in report
    _reads_well(caplog.text, capsys.readouterr().out, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert 0.0 <= results["val/accuracy"] <= 1.0
    # Of what the data set does not have, nothing is scored, and the page says so.
    assert not [name for name in results if not name.startswith("val/")]
    left_out = "evaluators.test is left out: there is no split test in"
    assert left_out in (tmp_path / "report.html").read_text()


def _reads_well(logged: str, printed: str, workdir: pathlib.Path) -> None:
    """What was loaded is a sentence, a score is said once, and the page's place at the end."""
    (started,) = [line for line in logged.splitlines() if "started from" in line]
    assert (
        "newly initialised: " in started
        and "head (2 arrays)" in started
        and "left over: " in started
    )
    assert f"all names are in {workdir}/init_from.txt" in started
    assert "head/kernel" not in logged and "log-mel" not in logged and "scores fit" not in logged
    assert (logged + printed).count("val/accuracy ") == 1
    assert printed.splitlines()[-2:] == [
        f"scores: {workdir}/results.json", f"report: {workdir}/report.html",
    ]  # fmt: skip


def test_diverging_run_names_the_step_and_the_last_good_checkpoint(data, tmp_path):
    values = tiny.alone(data, lr=1e30, checkpoint={"every": "1 steps"}, evaluators={})
    values["optim"] = {"name": "sgd", "schedule": "constant"}
    with pytest.raises(loop.Diverged, match=r"step \d+: loss .*last good checkpoint is step \d+"):
        loop.train(parse.experiment(values), tmp_path)
    saved = checkpoint.read(tmp_path)
    assert all(np.isfinite(x).all() for x in saved.params["mask_token"].values())


def test_what_a_diverged_run_is_advised_to_change_can_be_changed(data, tmp_path):
    values = tiny.alone(data, evaluators={}, total="2 steps")
    assert loop.train(parse.experiment(values), tmp_path) == 0
    values |= {"total": "4 steps", "lr": 1e-4, "optim": {"clip": 1.0, "warmup": "3 steps"}}
    assert loop.train(parse.experiment(values), tmp_path) == 0
    assert [e["step"] for e in _entries(tmp_path, "train")] == [1, 2, 3, 4]


def test_best_checkpoint_is_kept_apart(data, tmp_path):
    values = tiny.alone(data, "classify")
    values["checkpoint"] = {"every": "2 steps", "keep": 1, "best": "val/accuracy"}
    values["evaluators"]["val"]["every"] = "2 steps"
    loop.train(parse.experiment(values), tmp_path)
    scores = {e["step"]: e["val/accuracy"] for e in _entries(tmp_path, "eval")}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert checkpoint.read(tmp_path).step == best
    assert [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()] == ["8"]


@pytest.mark.parametrize(
    "best, meant",
    [
        ("val/acuracy", "which no evaluator measures; did you mean 'val/accuracy'"),
        ("vall/accuracy", "did you mean 'val/accuracy'"),
        ("zzz", "they measure: val/loss, val/accuracy, val/mean_class_accuracy"),
    ],
)
def test_a_best_metric_that_nothing_measures_is_refused_at_once(data, tmp_path, best, meant):
    values = tiny.alone(data, "classify", checkpoint={"best": best})
    with pytest.raises(schema.ConfigError, match=meant):
        loop.train(parse.experiment(values), tmp_path)
    assert not _entries(tmp_path, "train")


def test_the_best_loss_is_the_lowest(data, tmp_path):
    values = tiny.alone(data, checkpoint={"every": "2 steps", "best": "val/loss"})
    values["evaluators"]["val"]["every"] = "2 steps"
    loop.train(parse.experiment(values), tmp_path)
    losses = {e["step"]: e["val/loss"] for e in _entries(tmp_path, "eval")}
    assert checkpoint.read(tmp_path).step == min(losses, key=losses.__getitem__)


def test_scores_that_a_stop_left_out_are_made_up_for(data, tmp_path, monkeypatch):
    """Told to stop at step 4, where an evaluation is due, and at the last one."""
    monkeypatch.setattr(loop.StopSignal, "now", lambda _, step: step in (4, 8))
    experiment = parse.experiment(tiny.alone(data))
    assert loop.train(experiment, tmp_path) == loop.PREEMPTED
    assert not _entries(tmp_path, "eval")
    assert loop.train(experiment, tmp_path) == 0
    assert [e["step"] for e in _entries(tmp_path, "eval")] == [4, 8]


def test_scores_with_fewer_modalities_stand_beside_those_of_the_whole(data, pretrained, tmp_path):
    workdir = pathlib.Path(shutil.copytree(pretrained, tmp_path / "copy"))
    whole = json.loads((workdir / "results.json").read_text())["results"]
    digest = json.loads((workdir / "run.json").read_text())["digest"]
    values = tiny.experiment(data)
    values["evaluators"]["val"]["modalities"] = ("audio",)
    evaluate.evaluate(parse.experiment(values), workdir)
    results = json.loads((workdir / "results.json").read_text())["results"]
    assert whole.items() <= results.items()
    assert results["val[audio]/loss"] != pytest.approx(results["val/loss"], rel=1e-3)
    assert json.loads((workdir / "run.json").read_text())["digest"] == digest


def test_a_classifier_is_not_scored_on_other_labels(data, tmp_path):
    """As many of them in another order would be scored without a word."""
    experiment = parse.experiment(tiny.alone(data, "classify", total="2 steps"))
    loop.train(experiment, tmp_path / "run")
    other = pathlib.Path(shutil.copytree(data, tmp_path / "records"))
    info = records.Info.load(other)
    dataclasses.replace(info, labels=info.labels[::-1]).save(other)
    moved = dataclasses.replace(experiment.dataset, path=str(other))
    with pytest.raises(schema.ConfigError, match="other labels, or in another order .label 0"):
        evaluate.evaluate(dataclasses.replace(experiment, dataset=moved), tmp_path / "run")


def _steps(values: dict, count: int) -> Iterator[tuple[Run, step.TrainState, float]]:
    """(run, state, loss) after each of the first steps, without the loop around them."""
    run = Run.build(parse.experiment(values))
    rows, current, advance = loop.batches(run, 0), run.init(), run.train_step()
    for batch in itertools.islice(rows, count):
        current, metrics = advance(current, sharding.to_devices(batch, run.mesh))
        yield run, current, float(metrics["loss"])


def test_averaged_parameters_are_what_is_read(data, tmp_path):
    """Half of each step's parameters and half of the average before, from the initial ones on."""
    optim = {"schedule": "constant", "ema": 0.5}
    values = tiny.alone(data, evaluators={}, optim=optim)
    average = Run.build(parse.experiment(values)).init().params
    for run, current, _ in _steps(values, 3):
        average = jax.tree.map(lambda a, x: 0.5 * a + 0.5 * x, average, current.params)
        saved = checkpoint.Checkpoints(
            tmp_path / "checkpoints", run.experiment, run.info.labels, keep=1
        )
        saved.save(int(current.step), current)
        saved.close()
    found = checkpoint.read(tmp_path).params
    jax.tree.map(lambda a, x: np.testing.assert_allclose(a, x, atol=1e-6), average, found)


def test_accumulated_steps_match_whole_ones(data):
    whole = tiny.alone(data, modality="video", evaluators={}, batch_size=16)
    parts = whole | {"optim": {"accumulate": 2}}
    losses = [[loss for *_, loss in _steps(values, 3)] for values in (whole, parts)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
