"""A wheel in an environment of its own, with no repository near, does what the repository does."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

from av_mae.config import published

ROOT = pathlib.Path(__file__).parents[1]
OWN_CONFIG = """
from av_mae import recipes


def get_config(arg=""):
    chosen = recipes.options(arg, variant="Ti/16x2")
    c = recipes.pretrain(chosen, records="sample", audio={"seconds": 0.64, "mels": 32})
    c.model.update(width=16, depth=1, heads=2, mlp=32)
    c.model.update(decoder_width=16, decoder_depth=1, decoder_heads=2, decoder_mlp=32)
    c.total, c.batch_size, c.dataset.workers = "2 steps", 4, 1
    val = {"kind": "reconstruction", "split": "val", "every": "end"}
    c.evaluators = recipes.evaluators(val=val)
    return c
"""

# The commands in turn, each in a process forked from one that has imported what takes long.
SCRIPT = """
import json, os, runpy, sys
import av_mae
assert os.path.realpath(av_mae.__file__).startswith(os.path.realpath(sys.prefix)), av_mae.__file__
import av_mae.api, av_mae.training.loop, av_mae.evaluation.evaluate
from av_mae import recipes
from av_mae.config import parse, published
from av_mae.prepare.datasets import sample
for name in published.names():
    for arg in ("", "variant=B/16x2,modalities=video"):
        parse.experiment(recipes.load(name).get_config(arg))
print(*published.names(), flush=True)
sample.CLIPS.update(train=1, val=1, test=1)
for command in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        sys.argv = command
        try:
            runpy.run_module(command[0], run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as left:
            code = left.code or 0
        sys.stdout.flush()
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, command
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> pathlib.Path:
    """Python of a fresh environment with the wheel; dependencies come from the present one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        ROOT / "av_mae", source / "av_mae", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "configs", source / "configs")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", source]
    subprocess.run(build, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*pip, f"--python={python}", "install", "--no-deps", "--no-index", wheel], check=True
    )
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_a_wheel_runs_with_no_repository_near(python, tmp_path):
    (tmp_path / "mine.py").write_text(OWN_CONFIG)
    commands = [
        ["av_mae.prepare", "--dataset=sample", "--out=records/sample", "--workers=1"],
        ["av_mae.main", "--config=mine.py", "--workdir=runs/mine"],
        ["av_mae.report", "--workdirs=runs/mine", "--html=comparison.html"],
        ["av_mae.tools.bench", "--config=sample/pretrain:modalities=audio", "--clips=8",
         "--labels=2", "--steps=1", "--what=step", "--config.batch_size=2",
         "--config.model.depth=1", "--config.model.fusion=early"],
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(
        [python, "-c", SCRIPT, json.dumps(commands)],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " ".join(published.names()) in done.stdout
    assert (tmp_path / "runs/mine/report.html").exists()
    assert (tmp_path / "comparison.html").exists()
