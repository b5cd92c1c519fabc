"""What docs/quickstart.md, project.md and recipes.md tell a newcomer to write works as written."""

import os
import re
import shlex
import subprocess

import numpy as np
import pytest
import test_configs
import test_readme
import tiny
import tiny_models
import warm

from av_mae import evaluation, tasks
from av_mae.config import parse

QUICKSTART, PROJECT, RECIPES = (
    test_readme.ROOT / "docs" / name for name in ("quickstart.md", "project.md", "recipes.md")
)
NOT_RUN = "pip install"  # tests/test_wheel.py installs the package


def run(command, place) -> str:
    """Runs a command of the page in `place`, where nothing of the repository lies."""
    words = shlex.split(command)[1:]
    if "av_mae.main" in words:
        words += test_readme.SHRUNK
    surroundings = {"PYTHONPATH": str(test_readme.ROOT), "XLA_FLAGS": tiny.xla_flags(devices=1)}
    done = warm.run(words, cwd=place, env=os.environ | surroundings)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for label in ("dog", "rain"):
        (folder / "clips" / label).mkdir(parents=True)
        for number in range(6):
            tiny_models.media_file(
                folder / "clips" / label / f"{number}.mp4",
                sound=number > 0,
                seconds=1.0,
                seed=number + 10 * (label == "dog"),
            )
    tiny_models.media_file(folder / "new.mp4", seconds=1.0, seed=99)
    return folder


def test_the_quickstart_leads_from_a_folder_of_clips_to_predictions(place, monkeypatch, capsys):
    commands = [c for c in test_readme.commands(QUICKSTART) if not c.startswith(NOT_RUN)]
    prepared, checked, _, finetuned, evaluated, predicted, _, _ = [run(c, place) for c in commands]
    assert re.search(r"^test +2 ", prepared, re.M) and "next: " in prepared
    assert "nothing is wrong" in checked and (place / "records/mine/check.html").exists()
    assert "test/accuracy" in finetuned and "test/accuracy" in evaluated
    assert predicted.startswith("new.mp4") and "dog" in predicted and "rain" in predicted
    for written in (
        "runs/pretrain/report.html",
        "runs/finetune/report.html",
        "runs/finetune/results.json",
        "runs/finetune/init_from.txt",
        "runs/finetune/evaluation/test/predictions.csv",
        "features.npz",
        "shown/index.html",
    ):
        assert (place / written).exists(), written

    monkeypatch.chdir(place)
    for code in test_readme.blocks(QUICKSTART.read_text(), "python"):
        exec(compile(code, QUICKSTART.name, "exec"), {})
    assert "dog" in capsys.readouterr().out


@pytest.mark.parametrize("arg", ["pretrain", "finetune", "finetune,modalities=audio"])
def test_the_config_of_the_project_page_is_whole(tmp_path, arg):
    ((name, text),) = test_readme.written(PROJECT).items()
    (tmp_path / name).write_text(text)
    e = parse.experiment(test_configs.load(tmp_path / name, arg))
    tasks.check(e)
    evaluation.check(e)
    assert sorted(e.modalities) == (["audio"] if "modalities" in arg else ["audio", "video"])
    assert e.task == ("pretrain" if arg == "pretrain" else "classify")


def test_the_loops_of_the_recipes_name_what_exists(tmp_path):
    for script in test_readme.blocks(RECIPES.read_text(), "bash"):
        stub = (
            'python() { printf "%q " python "$@"; echo; }; tensorboard() { :; }; wandb() { :; }\n'
        )
        printed = subprocess.run(
            ["bash", "-c", stub + script], capture_output=True, text=True, check=True
        ).stdout
        for line in printed.splitlines():
            test_readme.check(shlex.split(line), tmp_path)
        if "fold" in script:
            assert printed.count("--config.dataset.train=") == 5
            assert r"train\[:40%\]+train\[60%:\]" in printed


def test_the_features_of_the_recipes_train_a_classifier_of_scikit_learn(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    draw = np.random.default_rng(0)
    files = [f"clips/{label}/{i}.mp4" for label in ("dog", "rain") for i in range(8)]
    pooled = draw.normal(size=(16, 4)) + np.repeat([[-3.0], [3.0]], 8, axis=0)
    np.savez(tmp_path / "features.npz", files=files, pooled=pooled)
    monkeypatch.chdir(tmp_path)
    (code,) = test_readme.blocks(RECIPES.read_text(), "python")
    names: dict = {}
    exec(compile(code, RECIPES.name, "exec"), names)
    assert names["classifier"].predict(pooled).tolist() == ["dog"] * 8 + ["rain"] * 8
