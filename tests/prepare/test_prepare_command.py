"""`python -m av_mae.prepare` as a user meets it."""

import os
import pathlib
import re
import subprocess
import sys

import made_media
import pytest

from av_mae.input import records
from av_mae.prepare import datasets
from av_mae.prepare.datasets import csv as csv_source
from av_mae.prepare.shards import build, report
from av_mae.prepare.shards.settings import Settings

ROOT = pathlib.Path(__file__).parents[2]


def command(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "av_mae.prepare", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def csv_of(tmp_path, *names):
    made_media.write(tmp_path / "a.mp4", [made_media.picture(i) for i in range(50)])
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 40)
    path = tmp_path / "list.csv"
    path.write_text("path,label,split\n" + "".join(f"{name},dog,train\n" for name in names))
    return path


def test_the_last_lines_say_what_was_written_what_not_and_what_is_next(tmp_path):
    source = csv_of(tmp_path, "a.mp4", "page.mp4", "gone.mp4")
    out = tmp_path / "My Clips"
    listing = csv_source.clips(str(source), datasets.Options())
    made = build.build(listing, out, Settings(name="my_clips"), labels=["cat", "dog"])
    lines = f"{made}\n{report.closing(out, records.Info.load(out))}".splitlines()
    titles = ["split", "clips", "no sound", "silent", "partial", "rejected"]
    assert re.split("  +", lines[0]) == titles
    assert lines[1].split() == ["train", "1", "1", "0", "0", "1"]
    assert lines[2].split() == ["all", "1", "1", "0", "0", "2"]
    assert "rejected.csv" in lines[3]
    assert sorted(lines[4:6]) == [
        "  1 x file not found, as 'gone.mp4'",
        "  1 x not a media file, as 'page.mp4'",
    ]
    assert "1 clips in 1 files" in lines[-3] and "2 labels" in lines[-3]
    for line, word, name in zip(
        lines[-2:], ("next", "then"), ("pretrain", "finetune"), strict=True
    ):
        command = f"{word}: python -m av_mae.main --config=sample/{name}:modalities=video "
        assert line.startswith(command + f"--config.dataset.path='{out}'")
        assert f"--workdir=runs/my_clips_{name}" in line
        assert "--config.modalities.video.mean='(.485,.456,.406)'" in line  # the sample is dark
    assert lines[-1].endswith("--config.init_from.path=runs/my_clips_pretrain")


@pytest.mark.parametrize(
    "request_flags, message",
    [
        (["--dataset=cvs", "--out=x"], "error: --dataset=cvs is not known; did you mean 'csv'?"),
        (["--dataset=csv", "--out=x"], "error: --source is missing; give a csv"),
        (["--dataset=csv", "--out=x", "--source={csv}", "--fps=0"], "error: --fps is 0.0, expec"),
        (["--dataset=csv", "--out=x", "--source={csv}", "--labels=y"], "--labels=y cannot be read"),
        (["--dataset=csv", "--out={csv}", "--source={csv}"], "error: cannot write into --out="),
        (["--dataset=csv", "--out=x", "--source={csv}", "more"], "unexpected argument 'more'"),
        (["--dataset=sample", "--out=x", "--source={csv}"], "error: --dataset=sample is rendered"),
        (["--dataset=csv", "--ou=x"], "Unknown command line flag 'ou'"),
        (["--dataset=csv"], "error: --out is missing; give --out=DIR"),
        (["--dataset=csv", "--out=x", "--cache=y"], "error: both --out and --cache are given"),
        (["--out=x"], "error: --dataset is missing; one of audioset,"),
        (
            ["--dataset=folder", "--out=x", "--media=y"],
            "--media means nothing for --dataset=folder",
        ),
        (["--dataset=hmdb51", "--out=x", "--val_share=0.2"], "error: --val_share means nothing"),
        (["--dataset=ssv2", "--out=x", "--ignore_columns=a"], "error: --ignore_columns means noth"),
    ],
)
def test_a_wrong_request_is_one_sentence_at_once(tmp_path, request_flags, message):
    source = csv_of(tmp_path, "a.mp4")
    run = command(*(flag.format(csv=source) for flag in request_flags), cwd=tmp_path)
    assert run.returncode not in (0, None)
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert "oneDNN" not in run.stderr  # nothing slow was loaded


def test_help_names_the_data_sets_and_every_flag():
    text = command("--help").stdout
    for word in (
        "csv: A csv",
        "folder: Class",
        "sample: The embedded",
        "--source",
        "--val_share",
        "overwrite",
        "--max_seconds",
    ):
        assert word in text


def test_decoding_processes_load_neither_tensorflow_nor_jax():
    script = (
        "import sys, av_mae.prepare.__main__, av_mae.prepare.shards.write, av_mae.prepare.pool\n"
        "print(*{'jax', 'tensorflow'} & set(sys.modules))"
    )
    assert made_media.child(script).strip() == ""


def test_a_labels_commonest_reasons_come_first(tmp_path):
    rows = [(f"{i}", f"{i}", f"reason {i % 7}: more") for i in range(40)]
    rows += [("x", "x", "rare: once")]
    made = report.reasons(rows, pathlib.Path("rejected.csv"))
    assert made[0] == "rejected, all in rejected.csv:"
    assert made[1] == "  6 x reason 0, as '0'"
    assert made[-1] == "  and 3 more reasons" and len(made) == 7
