"""What cannot work is answered by one sentence: exit status 78 for a config, 65 for records."""

import pathlib

import pytest
import warm
from input import input_clips

ROOT = pathlib.Path(__file__).parents[1]
SAMPLE = "--config=configs/sample/pretrain.py"

WRONG = {
    "argument": ([f"{SAMPLE}:modalities=adio"], "config argument modalities=adio: expected one or"),
    "key": (
        [SAMPLE, "--config.model.widht=3"],
        "unknown config key 'model.widht'; did you mean 'model.width'? model has",
    ),
    "far key": (
        [SAMPLE, "--config.zzz=3"],
        "unknown config key 'zzz'; the config has augment, batch_size,",
    ),
    "place": (
        [SAMPLE, "--config.optim.lr=1"],
        "'optim.lr'; did you mean 'lr'? optim has accumulate,",
    ),
    "evaluator": (
        [SAMPLE, "--config.evaluators.vall.every=end"],
        "mean 'evaluators.val'? evaluators has val",
    ),
    "value": ([SAMPLE, "--config.lr=fast"], "flag --config.lr=fast: could not convert string"),
    "file": (["--config=configs/simple.py"], "config configs/simple.py does not exist"),
    "name": (["--config=sample/pretrian"], "is published; did you mean 'sample/pretrain'? there"),
    "path": (["--config=x/sample/pretrain.py"], "or give its name, sample/pretrain"),
    "flag": (["--confg=x"], "Unknown command line flag 'confg'. Did you mean: config ?"),
    "workdir": ([SAMPLE, "--workdir=gs://bucket/run"], "--workdir=gs://bucket/run is an address"),
    "mode": (["--mode=tain"], "flag --mode=tain: value should be one of <train|evaluate>"),
}
MISTAKES = {
    "c.model.update(fussion=3)": "the config file sets 'fussion', which is no key; did you mean",
    "recipes.evaluators(a={'vews': 3})": "raises TypeError: Evaluator.__init__() got an unexpected",
    "return (": "was never closed",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, str]:
    """What the program says to each of the above, before anything else happens."""
    folder = tmp_path_factory.mktemp("answers")
    lines = {name: arguments for name, (arguments, _) in WRONG.items()}
    for number, body in enumerate(MISTAKES):
        (folder / f"mine{number}.py").write_text(config_file(body))
        lines[body] = [f"--config={folder}/mine{number}.py"]
    told = {}
    for name, arguments in lines.items():
        command = ["-m", "av_mae.main", f"--workdir={folder}/run", *arguments]
        done = warm.run(command, cwd=ROOT, apart=True)
        assert done.returncode == 78, done.stderr
        told[name] = done.stderr
    assert not (folder / "run").exists()
    return told


def config_file(body: str) -> str:
    return (
        "from av_mae import recipes\n"
        "def get_config(arg=''):\n"
        "    c = recipes.pretrain(recipes.options(arg), records='x', video={}, audio={})\n"
        f"    {body}\n"
        "    return c\n"
    )


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_flag_is_answered_by_a_sentence(name, answers):
    assert answers[name].startswith("error: ")
    assert WRONG[name][1] in answers[name]
    assert answers[name].count("\n") == 1


@pytest.mark.parametrize("body", MISTAKES)
def test_a_mistake_in_a_config_file_is_named(body, answers):
    assert answers[body].startswith("error: ")
    assert MISTAKES[body] in answers[body]
    assert "Traceback" not in answers[body]


def test_processes_without_a_coordinator_are_refused(tmp_path):
    """They would each train alone, all into one workdir."""
    command = ["-m", "av_mae.main", SAMPLE, f"--workdir={tmp_path}", "--processes=2"]
    done = warm.run(command, cwd=ROOT, apart=True)
    assert done.returncode == 78
    assert "need all of --coordinator=host:port" in done.stderr


def test_records_that_were_copied_in_part_are_named(tmp_path):
    info = input_clips.write(tmp_path, clips=2, frames=2, shards=1)
    shard = tmp_path / info.split("train").shards[0].file
    shard.write_bytes(shard.read_bytes()[:-1])
    done = warm.run(
        ["-m", "av_mae.main", SAMPLE, f"--workdir={tmp_path / 'run'}",
         f"--config.dataset.path={tmp_path}", "--config.batch_size=8",
         "--config.evaluators.val.split=train"],
        cwd=ROOT, apart=True,
    )  # fmt: skip
    assert done.returncode == 65
    assert f"error: {shard} has" in done.stderr
    assert "Traceback" not in done.stderr
