"""What became of every clip: a row each, whatever the batches, views and modalities."""

import csv
import json
import pathlib

import av
import jax
import numpy as np
import pytest
import tiny

from av_mae import evaluation
from av_mae.config import parse
from av_mae.experiment.run import Run
from av_mae.report import breakdown, page

BOTH = ("left", "right")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


def _evaluate(data, workdir, step=3, resume=None, multilabel=False, alone="video", **evaluator):
    """(scores, files as lists of dicts or, for confusion.csv, of rows) of an untrained model."""
    values = tiny.alone(data, "classify", alone)
    values["dataset"] |= {"multilabel": multilabel}
    evaluator = {"kind": "classification", "split": "val", "batch_size": 8} | evaluator
    values["evaluators"] = {"val": evaluator}
    run = Run.build(parse.experiment(values))
    state, draw = run.init(), np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + draw.normal(0, 0.3, x.shape).astype(np.float32), state.params
    )
    reporter = run.reporter(workdir, resume)
    scores = evaluation.score(evaluation.make(run, reporter), ["val"], step, params, state.rest)
    reporter.evaluation(step, scores)
    reporter.close()
    files = {}
    for path in (workdir / "evaluation" / "val").glob("*.csv"):
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        files[path.stem] = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    return scores, files


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    """Ten clips in batches of eight, six rows of padding, two views."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    return (*_evaluate(data, workdir, temporal_views=2), workdir)


def test_every_clip_has_one_row_in_the_order_of_the_split(found):
    scores, files, _ = found
    rows = files["predictions"]
    assert [row["clip"] for row in rows] == [f"val{i}" for i in range(10)]
    assert [row["source"] for row in rows] == [f"val{i}.mp4" for i in range(10)]
    assert [row["labels"] for row in rows] == [BOTH[i % 2] for i in range(10)]
    for row in rows:
        assert {row["predicted_1"], row["predicted_2"]} == set(BOTH)
        first, second = float(row["score_1"]), float(row["score_2"])
        assert first >= second and first + second == pytest.approx(1.0, abs=1e-5)
    right = np.mean([row["predicted_1"] == row["labels"] for row in rows])
    assert scores["val/accuracy"] == pytest.approx(right) and scores["val/clips"] == 10


def test_classes_and_confusions_are_those_of_the_rows(found):
    _, files, _ = found
    rows = [(row["labels"], row["predicted_1"]) for row in files["predictions"]]
    for cells in files["confusion"]:
        true = cells["true / predicted"]
        assert {name: int(cells[name]) for name in BOTH} == {
            name: rows.count((true, name)) for name in BOTH
        }
    for row in files["classes"]:
        hits = rows.count((row["label"],) * 2)
        assert int(row["clips"]) == 5 and float(row["recall"]) == hits / 5
        guessed = [guess for _, guess in rows].count(row["label"])
        assert row["precision"] == ("" if not guessed else str(hits / guessed))


def test_the_page_shows_pairs_with_clips_that_play(found):
    _, files, workdir = found
    ((folder, summary),) = breakdown.read(workdir)
    wrong = [r for r in files["predictions"] if r["labels"] != r["predicted_1"]]
    assert wrong and sum(pair["count"] for pair in summary["pairs"]) == len(wrong)
    pair = summary["pairs"][0]
    assert pair["clips"] == 5 and len(pair["examples"]) == min(pair["count"], 2)
    own = [r for r in wrong if r["labels"] == BOTH[pair["true"]]]
    surest = max(own, key=lambda row: float(row["score_1"]))
    assert pair["examples"][0]["title"].startswith(surest["clip"])
    with av.open(str(folder / "clips" / "0" / pair["examples"][0]["video"])) as file:
        assert len(list(file.decode(video=0))) == 20
    text = page.write(workdir).read_text()
    assert "Class by class" in text and "taken for" in text and "10 clips" in text


def test_batches_change_nothing(data, found, tmp_path):
    _, files = _evaluate(data, tmp_path, temporal_views=2, batch_size=40)
    assert files["confusion"] == found[1]["confusion"]
    for ours, theirs in zip(files["predictions"], found[1]["predictions"], strict=True):
        assert ours["clip"] == theirs["clip"] and ours["predicted_1"] == theirs["predicted_1"]
        assert float(ours["score_1"]) == pytest.approx(float(theirs["score_1"]), rel=1e-4)


def test_a_clip_without_what_is_scored_has_a_row_without_predictions(data, tmp_path):
    """Every third training clip is silent; sounds are shown as spectrograms to play."""
    scores, files = _evaluate(data, tmp_path, alone="audio", split="train")
    empty = [not row["predicted_1"] for row in files["predictions"]]
    assert empty == [i % 3 == 2 for i in range(24)] and scores["val/clips"] == 16
    assert sum(int(row["clips"]) for row in files["classes"]) == 16
    ((_, summary),) = breakdown.read(tmp_path)
    assert summary["clips"] == 16
    for example in summary["pairs"][0]["examples"]:
        assert example["video"] is None and example["sounds"] == ["original"]


def test_several_labels_have_precisions_instead_of_confusions(data, tmp_path):
    scores, files = _evaluate(data, tmp_path, multilabel=True)
    assert set(files) == {"predictions", "classes"} and not breakdown.read(tmp_path)[0][1]["pairs"]
    mean = np.mean([float(row["average_precision"]) for row in files["classes"]])
    assert scores["val/mAP"] == pytest.approx(mean)
    rows = files["predictions"]
    assert len(rows) == 10 and any(
        float(r["score_1"]) + float(r["score_2"]) != pytest.approx(1.0, abs=1e-3) for r in rows
    )
    assert "average precision" in page.write(tmp_path).read_text()


def test_during_training_only_the_last_evaluation_is_kept(data, tmp_path):
    _, files = _evaluate(data, tmp_path, step=4, resume=0)
    assert not files
    _, files = _evaluate(data, tmp_path, step=8, resume=4)
    assert len(files["predictions"]) == 10
    breakdown.restart(tmp_path, 8)
    assert breakdown.read(tmp_path)
    breakdown.restart(tmp_path, 4)
    assert not breakdown.read(tmp_path)


def test_names_are_text_whatever_they_contain(tmp_path):
    """In a table of so many classes that some are folded away and left out of the matrix."""
    names = tuple(f'<b>"{i}", é;\n' for i in range(60))
    confusion = np.eye(60, dtype=int) * 3
    confusion[np.arange(40), np.arange(40) + 1] = 1 + np.arange(40)
    by_class = {
        "clips": confusion.sum(1),
        "recall": np.where(np.arange(60) == 7, np.nan, 0.5),
    }
    one = breakdown.Prediction("a/\udcff.mp4", "x", (0,), ((1, 0.5), (0, 0.5)))
    breakdown.write(
        tmp_path,
        breakdown.Breakdown(1, "v/x", "val", names, [0] + [2] * 59, by_class, confusion, [one], []),
    )
    (tmp_path / "config.json").write_text(json.dumps({}))
    text = page.write(tmp_path).read_text(encoding="utf-8")
    assert "<b>&#34;" not in text and "<bdi>&lt;b&gt;&#34;39&#34;, é;" in text
    assert "The 24 of 60 classes that are confused most" in text and "44 more classes" in text
    assert "No clip in training" in text
    with (tmp_path / "evaluation" / "v-x" / "predictions.csv").open(newline="") as file:
        row = list(csv.reader(file))[1]
    assert row[0] == "a/\\udcff.mp4" and row[2] == names[0] and row[5:7] == [names[0], "0.5"]
