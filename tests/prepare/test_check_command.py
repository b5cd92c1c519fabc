"""The check as a user meets it: exit codes, the page, the file for machines, counts."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tracemalloc

import pytest
from test_check import write

from av_mae.input import records
from av_mae.prepare.check import page, result

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "tiny", {"train": range(6), "val": range(20, 22)})


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "av_mae.prepare.check", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_damage_ends_with_exit_code_one_and_is_in_text_page_and_json(folder, tmp_path):
    damaged = folder / "tiny-train.tfrecord-00001-of-00002"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (folder / "tiny-train.tfrecord-00003-of-00009").write_text("left by another run")
    run = command(folder, f"--json={tmp_path / 'check.json'}", "--workers=2")
    assert run.returncode == 1, run.stderr
    assert "1 x wrong checksum" in run.stdout and str(damaged) in run.stdout
    assert "1 x strange file" in run.stdout
    written = json.loads((tmp_path / "check.json").read_text())
    assert not written["ok"] and list(written["problems"]) == ["wrong checksum"]
    shown = (folder / "check.html").read_text()
    assert "wrong checksum" in shown and "strange file" in shown
    assert not re.search(r'(src|href)="(?!data:)', shown)
    assert shown.count("data:image/jpeg") == 6 * (4 + 2)


def test_what_cannot_be_checked_is_said_in_one_sentence():
    run = command("nowhere")
    assert run.returncode == 78
    assert run.stderr == "error: nowhere is not a folder; name one with records\n"


def counted(folder, **counts):
    path = folder / records.INFO_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"counts": counts}))
    return result.check(folder)


def reject(folder, *rows, file="rejected.csv"):
    with open(folder / file, "w", newline="") as stream:
        csv.writer(stream).writerows([("id", "path", "reason"), *rows])


def test_counts_are_held_against_what_the_authors_and_the_preparation_say(folder, tmp_path):
    reject(folder, ("a", "a.mp4", "file not found"), ("b", "b.mp4", "not a media file: html"))
    reject(folder, file="partial.csv")
    outcome = counted(folder, listed={"train": 8, "val": 2}, published=12, rejected=1, partial=0)
    kinds = outcome.findings.kinds
    assert outcome.ok and kinds.keys() == {"fewer than published", "not as counted", "other lists"}
    assert kinds["fewer than published"].examples == ["train: 6 of 8 listed, 25.0% missing"]
    assert kinds["other lists"].examples == ["10 clips listed, 12 published"]
    assert kinds["not as counted"].examples == ["rejected: 2 found, av_mae.json says 1"]
    lines = "\n".join(result.lines(outcome))
    assert re.search(r"^train +6 +8 ", lines, re.M)
    assert "1 x file not found, 1 x not a media file" in lines
    page.write(outcome, tmp_path / "page.html")
    assert "not a media file" in (tmp_path / "page.html").read_text()


def test_labels_without_training_clips_and_empty_splits_are_reported(folder):
    path = folder / records.INFO_FILE
    info = json.loads(path.read_text())
    info["labels"] += ["never"]
    info["splits"]["train"]["shards"] = []
    path.write_text(json.dumps(info))
    kinds = result.check(folder).findings.kinds
    assert kinds["label without clips"].examples == ["'never'"]
    assert kinds["empty split"].examples == ["train"]


def test_a_data_set_without_a_clip_is_reported_too(folder, tmp_path):
    path = folder / records.INFO_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"splits": {}}))
    outcome = result.check(folder)
    assert outcome.findings.kinds.keys() >= {"empty split", "strange file"}
    assert "0 clips in 0 shards" in list(result.lines(outcome))[-1]
    page.write(outcome, tmp_path / "page.html")


def test_names_that_are_no_utf_8_are_readable_in_text_and_page(tmp_path):
    odd = os.fsdecode(b"\xff\xfe")

    def change(clip):  # one source in two splits, so that its clips are named
        start = float(clip.id.removeprefix("train")) if clip.id.startswith("train") else 9.0
        return dataclasses.replace(clip, source=f"{odd}.mp4", start=start)

    made = write(tmp_path / "made", {"train": range(2), "val": range(20, 22)}, change)
    folder = made.rename(tmp_path / odd)  # TensorFlow cannot write into such a folder
    (folder / f"{odd}.tfrecord-00000-of-00001").touch()
    rows = b"id,path,reason\n\xff\xfe.mp4,\xff\xfe.mp4,no sound: in \xff\xfe.mp4\n"
    (folder / "rejected.csv").write_bytes(rows)
    outcome = result.check(folder)
    lines = "\n".join(result.lines(outcome))
    lines.encode()
    assert f"{tmp_path}/\\xff\\xfe: tiny" in lines
    assert "\\xff\\xfe.tfrecord-00000-of-00001 is not listed" in lines
    page.write(outcome, folder / page.FILE)
    shown = (folder / page.FILE).read_text()
    assert "<bdi>\\xff\\xfe.mp4</bdi>" in shown and "no sound: in \\xff\\xfe.mp4" in shown
    run = command(folder)
    assert run.returncode == 0, run.stderr
    assert f"page: {tmp_path}/\\xff\\xfe/check.html" in run.stdout


def test_only_one_record_is_in_memory_at_a_time(folder, tmp_path):
    """The peak of a shard of many clips is that of a shard of few."""
    peaks = []
    for count in (2, 40):
        part = write(tmp_path / str(count), {"train": range(count)})
        shutil.rmtree(folder, ignore_errors=True)
        tracemalloc.start()
        result.check(part)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
