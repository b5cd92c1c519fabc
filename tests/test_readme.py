"""Every command of the README runs, shrunk; every command of the other pages names what exists."""

import ast
import importlib.util
import os
import pathlib
import re
import shlex
import shutil
import statistics
import subprocess

import numpy as np
import pytest
import test_configs
import tiny
import warm

from av_mae.config import published

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
DATA = ROOT / "docs/data.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/*/*.md")]
CONFIGS = sorted(ROOT.glob("configs/*/*.py"))
RESULTS = sorted(ROOT.glob("docs/results/*.sh"))

# Commands of the README that are checked but not run from here, and why.
NOT_RUN = {
    "make demo": "its commands are run one by one, shrunk",
    "make test": "this is it",
}

SHRUNK = [
    "--config.total=2 steps", "--config.batch_size=8", "--config.optim.warmup=1 steps",
    "--config.model.width=24", "--config.model.depth=2", "--config.model.heads=2",
    "--config.model.mlp=32", "--config.model.decoder_width=24", "--config.model.decoder_depth=1",
    "--config.model.decoder_heads=2", "--config.model.decoder_mlp=32",
    "--config.modalities.video.size=32", "--config.dataset.workers=1",
]  # fmt: skip


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language, "" for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [body for name, body in found if name == language]


def commands(page: pathlib.Path) -> list[str]:
    """Lines of a page's blocks without language, or of a config's docstring, that are commands."""
    text = page.read_text()
    if page.suffix == ".py":
        parts = [ast.get_docstring(ast.parse(text)) or ""]
    else:
        parts = blocks(text, "")
    lines = "\n".join(parts).replace("\\\n", " ").splitlines()
    found = [line for line in lines if re.match(r" *(python|make|pip) ", line)]
    return [shlex.join(shlex.split(line)) for line in found]


def written(page: pathlib.Path) -> dict[str, str]:
    """The files that a page asks its reader to write: a block after a name and a colon."""
    found = re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", page.read_text(), re.M | re.S)
    return dict(found)


def demo() -> list[str]:
    """The commands of `make demo`, without making an environment."""
    made = subprocess.run(
        ["make", "-n", "demo", "-o", ".venv/installed", "PY=python"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = made.stdout.splitlines()
    return [shlex.join(shlex.split(line)) for line in lines if line.startswith("python ")]


def module_file(name: str) -> pathlib.Path:
    base = ROOT / name.replace(".", "/")
    return base / "__main__.py" if base.is_dir() else base.with_suffix(".py")


@pytest.mark.parametrize("page", [*PAGES, *CONFIGS], ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_name_what_exists(page, tmp_path):
    for name, text in written(page).items():
        (tmp_path / name).write_text(text)
    for command in commands(page):
        check(shlex.split(command), tmp_path)


@pytest.mark.parametrize("script", RESULTS, ids=lambda p: p.name)
def test_scripts_of_the_results_name_what_exists(script, tmp_path):
    printed = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, env=os.environ | {"PYTHON": "echo"},
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(printed) >= 8  # one pretraining, six finetunings or more, the table
    for line in printed:
        check(["python", *line.split()], tmp_path)


def check(words: list[str], place: pathlib.Path) -> None:
    """Whether all that a command names exists, in the repository or among the files of `place`."""
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
        assert next(w for w in words[1:] if "=" not in w) in targets, words
    elif words[0] == "python":
        file = module_file(words[2]) if words[1] == "-m" else ROOT / words[1]
        assert file.is_file(), words
        flags = [w.removeprefix("--").partition("=") for w in words if w.startswith("--")]
        config = next((value for name, _, value in flags if name == "config"), "")
        names = [name for name, _, _ in flags if not name.startswith("config")]
        if "runner" in names:  # what follows it are Beam's own options
            names = names[: names.index("runner") + 1]
        check_flags(file, names)
        if config:
            keys = [name for name, _, _ in flags if name.startswith("config.")]
            check_keys(config, keys, place)


def check_flags(file: pathlib.Path, names: list[str]) -> None:
    source = file.read_text()
    if file.parent.name == "tools":
        source += (file.parent / "files.py").read_text()
        source += (file.parent / "experiments.py").read_text()
    for name in names:
        known = (f'"{name}"', f'"--{name}"', "--help" if name == "help" else f'"{name}",')
        assert name == "help" or any(k in source for k in known), f"{file.name} has no --{name}"


def check_keys(config: str, names: list[str], place: pathlib.Path) -> None:
    path, _, arg = config.partition(":")
    written_here = place / path
    file = written_here if written_here.exists() else ROOT / path
    node = test_configs.load(file if file.exists() else published.file(path), arg)
    for name in names:
        value = node
        for key in name.split(".")[1:]:
            assert key in value, f"{path} has no key {name}"
            value = value[key]


def test_our_own_numbers_in_the_readme_are_those_of_the_results():
    """The mean of the seeds of each run, and their range where there are several."""
    table = (ROOT / "docs/results/grid.md").read_text()
    rows = re.findall(r"^\| (\w+_(?:scratch|pretrained))(?:_\d)? .*?\| \**(0\.\d+)", table, re.M)
    seeds: dict[str, list[float]] = {}
    for name, score in rows:
        seeds.setdefault(name, []).append(100 * float(score))
    measured = [statistics.mean(scores) for scores in seeds.values()]
    measured += [f(scores) for scores in seeds.values() if len(scores) > 1 for f in (min, max)]
    row = next(line for line in README.read_text().splitlines() if "`configs/grid`" in line)
    told = [float(number) for number in re.findall(r"\d+\.\d", row)]
    assert sorted(told) == pytest.approx(sorted(measured), abs=0.051) and len(told) == 10


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        assert not link or (page.parent / link).exists(), link


def test_every_page_is_reached_from_the_readme():
    seen, todo = set(), [README]
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            links = re.findall(r"\]\((?!https?:)([^)#]+\.md)", page.read_text())
            todo += [(page.parent / link).resolve() for link in links]
    assert not [p for p in ROOT.glob("docs/*.md") if p not in seen]


def test_the_configuration_page_is_that_of_the_schema():
    spec = importlib.util.spec_from_file_location("configuration", ROOT / "docs/configuration.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run python docs/configuration.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> pathlib.Path:
    """A folder in which the README's paths mean what they mean in a clone."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("av_mae", "configs", "data"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(command: str, place: pathlib.Path) -> str:
    words = shlex.split(command)
    assert words[0] == "python"
    words = words[1:]
    if "av_mae.main" in words:
        config = next(w for w in words if w.startswith("--config="))
        words += [flag for flag in SHRUNK if applies(flag, config)]
        if any(word.startswith("--config.dataset.source=") for word in words):
            words.append("--config.dataset.cache=cache")
    elif words[:2] == ["-m", "av_mae.prepare"]:
        words = [str(ROOT / "tests" / "small_sample.py"), *words[2:]]
    paths = {"XLA_FLAGS": tiny.xla_flags(devices=1), "PYTHONPATH": str(place)}
    done = warm.run(words, cwd=place, env=os.environ | paths)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def applies(flag: str, config: str) -> bool:
    """Whether the config has the modality that a flag is about."""
    chosen = config.partition("modalities=")[2]
    return not chosen or "video" in chosen or ".video." not in flag


@pytest.fixture(scope="module")
def demonstrated(place) -> str:
    """What the last command of the demo printed, all of them run on a tiny model."""
    for command in demo():
        printed = run(command, place)
    return printed


def test_the_demo_ends_with_a_table_of_its_runs(demonstrated, place):
    lines = demonstrated.splitlines()
    assert "test/accuracy" in lines[0]
    assert [line.split()[0] for line in lines[2:6]] == [
        "finetune_audio_video", "finetune_audio", "finetune_video", "scratch_audio_video",
    ]  # fmt: skip
    assert "from scratch" in lines[5]
    assert lines[6] == "test/accuracy: of 9 clips; guessing gets 0.1111"
    assert (place / "runs/demo/pretrain/report.html").stat().st_size > 10_000
    assert (place / "runs/demo/comparison.html").exists()


def test_the_demo_is_what_the_readme_says():
    stages = [c for c in commands(README) if "av_mae.prepare" in c or "--workdir" in c]
    assert [c for c in stages if "--mode" not in c] == demo()[: len(stages) - 1]


def test_the_other_commands_of_the_readme_run(demonstrated, place):
    clip = next((place / "records/sample/media/test").rglob("*.mp4"))
    shutil.copy(clip, place / "clip.mp4")
    others = [c for c in commands(README) if c not in NOT_RUN and c not in demo()]
    assert len(others) == 4
    for command in others:
        run(command, place)
    assert (place / "features.npz").exists()
    assert (place / "shown" / "index.html").exists()


def test_the_python_of_the_readme_runs(demonstrated, place, monkeypatch, capsys):
    clip = next((place / "records/sample/media/test").rglob("*.mp4"))
    shutil.copy(clip, place / "clip.mp4")
    monkeypatch.chdir(place)
    for code in blocks(README.read_text(), "python"):
        exec(compile(code, "README.md", "exec"), {})
    assert "+" in capsys.readouterr().out  # the sample's labels are pairs


def test_the_examples_of_the_api_page_run(demonstrated, place, monkeypatch, capsys):
    clip = next((place / "records/sample/media/test").rglob("*.mp4"))
    shutil.copy(clip, place / "clip.mp4")
    monkeypatch.chdir(place)
    names: dict = {}
    for code in blocks((ROOT / "docs/api.md").read_text(), "python"):
        exec(compile(code, "docs/api.md", "exec"), names)
    assert (
        "Clip(clip: 50 frames of 64x64 at 25 a second, 2.00 s of sound)" in capsys.readouterr().out
    )
    expected = names["predict"](names["params"], names["classifier"].batch([names["clip"]]))
    np.testing.assert_allclose(names["logits"], expected, rtol=1e-4, atol=1e-5)


def test_the_new_data_set_of_the_data_page_is_prepared_trained_and_scored(
    demonstrated, place, monkeypatch
):
    """From its csv to its scores; the sample's videos are those of the demo."""
    monkeypatch.chdir(place)
    page = DATA.read_text()
    section = page[page.index("## A new data set") :].partition("\n## ")[0]
    listing, config = blocks(section, "python")
    exec(compile(listing, DATA.name, "exec"), {})
    assert written(DATA) == {"motions.py": config}
    assert len(config.splitlines()) in range(25, 36)
    (place / "motions.py").write_text(config)
    lines = blocks(section, "")
    first, *others = "".join(lines).splitlines()
    assert first in demo() and len(others) == 6
    printed = [run(command, place) for command in others]
    assert "nothing is wrong" in printed[1] and "labels of train" in printed[1]
    assert "test/accuracy" in printed[4]
    assert "preparing motions.csv" in printed[5]
    assert (place / "runs/motions_straight/report.html").exists()


def test_what_is_not_run_is_in_the_readme():
    assert set(NOT_RUN) <= set(commands(README))
    assert len(commands(README)) == 9
