"""metrics.jsonl survives kills, and reading gives one entry a step."""

import json
import math

import pytest

from av_mae.report import history

LINES = [
    {"step": 10, "kind": "train", "time": 1.0, "loss": 2.0},
    {"step": 20, "kind": "train", "time": 2.0, "loss": 1.0},
    {"step": 20, "kind": "eval", "time": 3.0, "val/loss": 0.5},
    {"step": 30, "kind": "train", "time": 4.0, "loss": 0.5},
]


def write(path, lines, tail=b""):
    path.write_bytes("".join(map(history.encode, lines)).encode() + tail)


def test_a_line_cut_at_any_place_is_dropped_on_restart(tmp_path):
    path = tmp_path / history.METRICS
    last = history.encode({"step": 40, "kind": "train", "loss": 0.25, "name": "é"}).encode()
    for cut in range(1, len(last) - 1):
        write(path, LINES, last[:cut])
        history.restart(path, None)
        assert history.read_lines(path) == (LINES, 0), last[:cut]
        assert path.read_bytes().endswith(b"\n")


def test_a_whole_last_line_without_its_newline_is_kept_and_ended(tmp_path):
    path = tmp_path / history.METRICS
    write(path, LINES)
    path.write_bytes(path.read_bytes()[:-1])
    history.restart(path, None)
    assert history.read_lines(path) == (LINES, 0)
    assert path.read_bytes().endswith(b"}\n")


def test_restart_drops_the_steps_after_the_restored_one(tmp_path):
    path = tmp_path / history.METRICS
    for step, kept in ((25, 3), (20, 3), (10, 1), (0, 0), (None, 4)):
        write(path, LINES)
        history.restart(path, step)
        assert history.read_lines(path) == (LINES[:kept], 0)
    assert not list(tmp_path.glob("*.tmp"))


def test_restart_without_a_file_makes_none(tmp_path):
    history.restart(tmp_path / history.METRICS, 0)
    assert not list(tmp_path.iterdir())


def test_lines_are_strict_json_and_nan_comes_back_as_nan(tmp_path):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    values = {"loss": math.nan, "norm": math.inf, "lr": 0.1}
    text = history.encode({"step": 1, "kind": "train", **values})
    assert json.loads(text, parse_constant=refuse)["loss"] is None
    (tmp_path / history.METRICS).write_text(text)
    point = history.read(tmp_path).train[0]
    assert math.isnan(point.values["loss"])
    assert point.values["lr"] == 0.1


def test_a_broken_line_is_left_out_and_told(tmp_path):
    write(tmp_path / history.METRICS, LINES, b'{"step": 40, "ki')
    log = history.read(tmp_path)
    assert [p.step for p in log.train] == [10, 20, 30]
    assert log.problems == ["1 unreadable line of metrics.jsonl left out"]


def test_the_last_word_on_a_step_counts(tmp_path):
    again = [{"step": 20, "kind": "eval", "val/loss": 0.4}, {"step": 20, "kind": "eval", "knn": 1}]
    write(tmp_path / history.METRICS, [*LINES, *again])
    evaluations = history.read(tmp_path).evaluations
    assert [(p.step, p.values) for p in evaluations] == [(20, {"val/loss": 0.4, "knn": 1.0})]


@pytest.mark.parametrize("many", [False, True])
def test_results_json_is_one_more_evaluation(tmp_path, many):
    write(tmp_path / history.METRICS, LINES)
    found = {"step": 30, "results": {"test/accuracy": 0.75}}
    (tmp_path / history.RESULTS).write_text(json.dumps([found] if many else found))
    assert history.read(tmp_path).evaluations[-1].values == {"test/accuracy": 0.75}


def test_half_written_results_are_left_out_and_told(tmp_path):
    write(tmp_path / history.METRICS, LINES)
    (tmp_path / history.RESULTS).write_text('{"step": 30, "resul')
    log = history.read(tmp_path)
    assert len(log.evaluations) == 1
    assert "results.json" in log.problems[0]


def test_best_is_the_lowest_loss_and_the_highest_accuracy(tmp_path):
    rows = [(1, 3.0, 0.2), (2, 1.0, 0.9), (3, 2.0, 0.8), (4, math.nan, 0.1)]
    lines = [
        {"step": s, "kind": "eval", "val/loss": loss, "val/accuracy": a} for s, loss, a in rows
    ]
    write(tmp_path / history.METRICS, lines)
    scores = history.read(tmp_path).scores
    assert (scores["val/loss"].best.step, scores["val/loss"].best_value) == (2, 1.0)
    assert (scores["val/accuracy"].best.step, scores["val/accuracy"].value) == (2, 0.1)
    assert math.isnan(scores["val/loss"].value)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        history.read(tmp_path)


def test_a_score_knows_on_how_many_clips_it_is(tmp_path):
    """Counts are no scores; those of a modality are behind the scores of that modality."""
    values = {
        "val/clips": 10, "val/loss": 0.5, "val/loss_audio": 0.4, "val/clips_audio": 7,
        "old/accuracy": 1.0,
    }  # fmt: skip
    line = {"step": 3, "kind": "eval", "time": 1.0, **values}
    (tmp_path / "metrics.jsonl").write_text(history.encode(line))
    found = history.read(tmp_path).scores
    assert {name: score.clips for name, score in found.items()} == {
        "val/loss": 10, "val/loss_audio": 7, "old/accuracy": None,
    }  # fmt: skip
