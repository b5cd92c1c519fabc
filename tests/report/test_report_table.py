"""Runs side by side, as text, Markdown and page, from the command line too."""

import json
import subprocess
import sys

import pytest

from av_mae.report import history, table


def make_run(folder, modalities, init, evaluations):
    folder.mkdir(parents=True)
    config = {"modalities": {name: {} for name in modalities}, "init_from": {"path": init}}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [{"step": step, "kind": "eval", **values} for step, values in evaluations]
    (folder / history.METRICS).write_text("".join(map(history.encode, lines)))
    return folder


@pytest.fixture
def runs(tmp_path):
    both = [(10, {"test/accuracy": 0.5, "test/loss": 2.0}), (20, {"test/accuracy": 0.8125})]
    return [
        make_run(tmp_path / "av", ["video", "audio"], "runs/pre", both),
        make_run(tmp_path / "scratch", ["video"], "", [(20, {"test/accuracy": 0.25})]),
    ]


def test_the_text_is_aligned_and_holds_the_last_values(runs):
    assert table.text(table.read(runs)).splitlines() == [
        "run      modalities   start            test/accuracy  test/loss",
        "-------  -----------  ---------------  -------------  ---------",
        "av       audio+video  pretrained: pre         0.8125       2.00",
        "scratch  video        from scratch            0.2500          -",
    ]


def test_markdown_marks_the_best_where_there_is_a_choice(runs):
    lines = table.markdown(table.read(runs)).splitlines()
    assert lines[2] == "| av | audio+video | pretrained: pre | **0.8125** | 2.00 |"
    assert lines[3] == "| scratch | video | from scratch | 0.2500 | - |"


def test_the_lowest_loss_is_the_best(tmp_path):
    a = make_run(tmp_path / "a", ["audio"], "", [(1, {"val/loss": 1.0})])
    b = make_run(tmp_path / "b", ["audio"], "", [(1, {"val/loss": 0.5})])
    assert "| **0.5000** |" in table.markdown(table.read([a, b])).splitlines()[3]


def test_same_names_get_their_parents(tmp_path):
    a = make_run(tmp_path / "grid" / "final", ["audio"], "", [])
    b = make_run(tmp_path / "ucf" / "final", ["audio"], "", [])
    assert [row.name for row in table.read([a, b]).rows] == ["grid/final", "ucf/final"]


def test_errors_say_what_there_is(runs, tmp_path):
    with pytest.raises(ValueError, match="there are: test/accuracy, test/loss"):
        table.read(runs, ["test/acuracy"])
    with pytest.raises(ValueError, match="holds no run"):
        table.read([tmp_path])
    with pytest.raises(ValueError, match="--workdirs"):
        table.read([])


def test_command_line(runs, tmp_path):
    command = [
        sys.executable, "-m", "av_mae.report", f"--workdirs={runs[0]},{runs[1]}",
        "--metric=test/accuracy", f"--out={tmp_path}/docs/table.md", f"--html={tmp_path}/all.html",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0.8125" in done.stdout
    assert "test/loss" not in done.stdout
    assert "**0.8125**" in (tmp_path / "docs" / "table.md").read_text()
    text = (tmp_path / "all.html").read_text()
    assert "0.8125" in text
    assert "data-chart" in text
    assert "http" not in text.replace("http-equiv", "")


def test_command_line_error_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "av_mae.report", f"--workdirs={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
