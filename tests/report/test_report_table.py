"""Runs side by side, as text, Markdown and page, from the command line too."""

import json
import pathlib
import re

import pytest
import warm

from av_mae.report import history, page, table

ROOT = pathlib.Path(__file__).parents[2]


def make_run(folder, modalities, init, evaluations, **config):
    folder.mkdir(parents=True)
    config |= {"modalities": {name: {} for name in modalities}, "init_from": {"path": init}}
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
        "",
        "differs           av        scratch",
        "----------------  --------  -------",
        "modalities.audio  yes       -",
        "init_from.path    runs/pre  -",
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


@pytest.fixture
def tuned(tmp_path):
    """Three runs with a training loss, one of them of another task; two of a classifier."""
    folder, last = tmp_path / "tuned", [(20, {"val/accuracy": 0.5, "test/accuracy": 0.25})]
    evaluators = {"val": {"split": "val"}, "test": {"split": "test"}}
    changes = {
        "a": {"lr": 1e-3, "optim": {"layer_decay": 0.75, "clip": None}, "task": "classify"},
        "b,c": {"lr": 5e-4, "optim": {"layer_decay": 0.75, "clip": 1.0}, "task": "classify"},
        "p": {"lr": 1e-3, "optim": {"layer_decay": 1.0}, "task": "pretrain"},
    }
    for name, config in changes.items():
        run = make_run(folder / name, ["video"], "", last, evaluators=evaluators, **config)
        losses = [{"step": step, "kind": "train", "loss": 1.0 / step} for step in (10, 20)]
        with (run / history.METRICS).open("a") as file:
            file.write("".join(map(history.encode, losses)))
    (folder / "logs").mkdir()
    (folder / "notes.txt").touch()
    return folder


def test_wildcards_find_runs_and_name_what_is_none(tuned):
    found, others = table.find([f"{tuned}/p", f"{tuned}/*"])
    assert [path.name for path in found] == ["p", "a", "b,c"]
    assert others == [tuned / "logs"]
    assert [path.name for path in table.find([f"{tuned.parent}/**"])[0]] == ["a", "b,c", "p"]
    for patterns, said in (
        ([f"{tuned}/x*"], "no folder that .*/x\\* matches holds a run"),
        ([f"{tuned}/logs*"], "matches holds a run"),
        ([f"{tuned}/x"], "there is no folder .*/x$"),
        ([f"{tuned}/b", "c"], "name with a comma is written in quotes or with a wildcard"),
    ):
        with pytest.raises(ValueError, match=said):
            table.find(patterns)


def test_what_differs_is_a_table_without_what_only_a_newer_config_has(tuned):
    found = table.read([tuned / "a", tuned / "b,c", tuned / "p"])
    assert found.differences == {
        "lr": ["0.001", "0.0005", "0.001"],
        "optim.layer_decay": ["0.75", "0.75", "1"],
        "optim.clip": ["None", "1", "-"],
        "task": ["classify", "classify", "pretrain"],
    }
    assert "| `optim.clip` | None | 1 | - |" in table.markdown(found)
    assert not table.read([tuned / "a", tuned / "a"]).differences


def test_any_key_of_the_config_can_be_a_column(tuned):
    found = table.read([tuned / "a", tuned / "p"], columns=["lr", "optim.clip"])
    header, _, first, second, *_ = table.text(found).splitlines()
    assert header.split()[:5] == ["run", "modalities", "start", "lr", "optim.clip"]
    assert first.split()[4:6] == ["0.001", "None"] and second.split()[4:6] == ["0.001", "-"]
    for key, said in (
        ("optim.lr", "no run has config key 'optim.lr'; did you mean 'lr'"),
        ("optim", "'optim' is a section, give one of its keys: optim has layer_decay, clip"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            table.read([tuned / "a"], columns=[key])


def test_the_test_split_comes_first(tuned):
    assert table.read([tuned / "a"]).metrics == ["test/accuracy", "val/accuracy"]
    config = json.loads((tuned / "a" / "config.json").read_text())
    # As by a split of another name, an evaluator of one modality, and losses and the best metric.
    config["evaluators"]["held out"] = {"split": "test[:50%]"}
    config |= {"checkpoint": {"best": "val/f1"}, "modalities": {}}
    (tuned / "a" / "config.json").write_text(json.dumps(config))
    names = ["test[audio]/f1", "val/f1", "held out/loss", "held out/f1", "held out/accuracy"]
    line = {"step": 20, "kind": "eval"} | dict.fromkeys(names, 0.5)
    (tuned / "a" / history.METRICS).write_text(history.encode(line))
    tiles = re.findall(r'class="name"><bdi>(.*?)</bdi>', page.write(tuned / "a").read_text())
    assert tiles == ["held out/f1", "held out/accuracy", "held out/loss"]
    assert table.read([tuned / "a"]).metrics == [*tiles, "val/f1", "test[audio]/f1"]


def test_the_page_has_the_training_loss_of_each_task_and_what_differs(tuned):
    found = table.read([tuned / "a", tuned / "b,c", tuned / "p"], columns=["lr"])
    text = table.write_page(found, tuned / "all.html").read_text()
    for task, labels in (("classify", ["a", "b,c"]), ("pretrain", ["p"])):
        (figure,) = re.findall(rf"training loss, {task}</bdi>.*?</figure>", text, re.S)
        (drawn,) = re.findall(r"data-chart='(.*?)'", figure)
        assert [series["label"] for series in json.loads(drawn)] == labels
    differs = text.partition("What differs")[2]
    assert "optim.layer_decay" in differs and "modalities" not in differs.partition("<h2>")[0]


def test_command_line(runs, tmp_path):
    (tmp_path / "other").mkdir()
    command = [
        "-m", "av_mae.report", f"--workdirs={tmp_path}/*", "--columns=init_from.path",
        "--metric=test/accuracy", f"--out={tmp_path}/docs/table.md", f"--html={tmp_path}/all.html",
    ]  # fmt: skip
    done = warm.run(command, cwd=ROOT, apart=True)
    assert done.returncode == 0, done.stderr
    assert f"skipped {tmp_path}/other: it holds no run\n" in done.stderr
    assert "init_from.path" in done.stdout.splitlines()[0]
    assert "0.8125" in done.stdout
    assert "test/loss" not in done.stdout
    assert "**0.8125**" in (tmp_path / "docs" / "table.md").read_text()
    text = (tmp_path / "all.html").read_text()
    assert "0.8125" in text
    assert "data-chart" in text
    assert "http" not in text.replace("http-equiv", "")


def test_command_line_error_is_one_sentence(tmp_path):
    done = warm.run(["-m", "av_mae.report", f"--workdirs={tmp_path}"], cwd=ROOT, apart=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
