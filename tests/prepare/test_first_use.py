"""Media files that a config names: prepared at first use, and again only if something changes."""

import dataclasses
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import made_media
import pytest
import test_check
import tiny

from av_mae.config import parse, schema
from av_mae.input import records
from av_mae.prepare import datasets
from av_mae.prepare.datasets import folder
from av_mae.prepare.shards import first_use
from av_mae.prepare.shards.settings import Settings

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = Settings(name="videos", short_side=48)


@pytest.fixture
def videos(tmp_path):
    """Two clips of two classes."""
    for number, name in enumerate(("a", "b")):
        (tmp_path / "videos" / name).mkdir(parents=True)
        pictures = [made_media.picture(i + number) for i in range(30)]
        made_media.write(tmp_path / "videos" / name / "clip.mp4", pictures)
    return tmp_path / "videos"


def experiment(source, **dataset):
    values = tiny.experiment("nowhere")
    values["dataset"] = {"path": "nowhere", "source": str(source)} | dataset
    return parse.experiment(values)


def entry(videos, settings=SETTINGS, labels=None):
    listing = folder.clips(str(videos), datasets.Options())
    return settings.cached(videos.parent / "cache", listing.entries, labels)


def test_an_entry_changes_with_content_and_settings_and_with_nothing_else(videos, tmp_path):
    first = entry(videos)
    assert first.parent == tmp_path / "cache" and first.name.startswith("videos-")
    copied = shutil.copytree(videos, tmp_path / "elsewhere")
    assert entry(copied).name == first.name
    others = {
        entry(videos, dataclasses.replace(SETTINGS, fps=25.0)),
        entry(videos, dataclasses.replace(SETTINGS, short_side=32)),
        entry(videos, labels=["b", "a"]),
    }
    os.utime(videos / "a" / "clip.mp4", ns=(0, 0))
    others |= {entry(videos)}
    (videos / "b" / "clip.mp4").rename(videos / "b" / "other.mp4")
    others |= {entry(videos)}
    assert len(others - {first}) == 5


def test_an_entry_is_finished_only_with_all_of_its_shards(tmp_path):
    out = test_check.write(tmp_path / "records", {"train": range(2)})
    assert records.whole_clips(out) == 2
    shard = out / "tiny-train.tfrecord-00001-of-00002"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    assert records.whole_clips(out) is None
    shard.write_bytes(content)
    (out / f"{shard.name}.index").unlink()
    assert records.whole_clips(out) is None
    assert records.whole_clips(tmp_path) is None


def test_two_processes_prepare_once_and_a_config_finds_the_same_records(videos, tmp_path, capfd):
    flags = ["--dataset=folder", f"--source={videos}", f"--cache={tmp_path / 'cache'}"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "av_mae.prepare", *flags, "--short_side=48", "--workers=1"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    with tiny.killed_at_last(*started):
        told = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    paths = {out.splitlines()[-1] for out, _ in told}
    assert len(paths) == 1
    assert sum("preparing" in errors for _, errors in told) == 1
    found = first_use.resolve(
        experiment(videos, prepare="--short_side=48", cache=str(tmp_path / "cache"))
    )
    assert paths == {found.dataset.path}
    assert "preparing" not in capfd.readouterr().err
    assert parse.experiment(found.to_dict()) == found  # as a checkpoint keeps it


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("list.tsv", "csv"), ("list.txt", "csv"), ("list", "csv"), (".", "folder")],
)
def test_a_file_is_a_list_whatever_its_name(tmp_path, monkeypatch, name, dataset):
    (tmp_path / "list").touch() if name == "." else (tmp_path / name).touch()
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="said\nrecords of caf\u00e9\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = first_use.resolve(experiment(tmp_path / name))
    assert f"--dataset={dataset}" in commands[0]
    assert found.dataset.path == "records of caf\u00e9"


def test_what_cannot_be_prepared_is_said_by_its_key(videos, tmp_path, monkeypatch):
    with pytest.raises(schema.ConfigError, match="dataset.source=gone does not exist; name"):
        first_use.resolve(experiment("gone"))
    wrong = experiment(videos, prepare="--shrot_side=48", cache=str(tmp_path / "cache"))
    with pytest.raises(schema.ConfigError, match="could not be prepared.*--shrot_side=48"):
        first_use.resolve(wrong)
    with pytest.raises(schema.ConfigError, match="dataset.cache is set.*set dataset.source"):
        experiment("", cache="somewhere")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(schema.ConfigError, match="pip install av scipy tqdm"):
        first_use.resolve(experiment(videos))


def test_records_that_a_config_names_are_left_as_they_are():
    named = experiment("")
    assert first_use.resolve(named) is named
