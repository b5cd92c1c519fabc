"""What was decided about a list is in the log, the records and the page; any terminal shows it."""

import json
import os
import pathlib
import subprocess
import sys

import made_media
import warm

from av_mae.input import records

ROOT = pathlib.Path(__file__).parents[2]


def test_how_a_list_was_read_is_told_and_no_name_ends_a_command(tmp_path):
    for number, name in enumerate("abc"):
        pictures = [made_media.picture(9 * number + i) for i in range(30)]
        made_media.write(tmp_path / f"{name}é.mp4", pictures)
    rows = "path;label;split\naé.mp4;é;Training\nbé.mp4;é;dev\ncé.mp4;é;holdout\ngone é;é;dev\n"
    (tmp_path / "list.csv").write_text(rows)
    out = tmp_path / "out"
    flags = ["--dataset=csv", f"--source={tmp_path / 'list.csv'}", f"--out={out}"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = warm.run(["-m", "av_mae.prepare", *flags, "--workers=1"], env=env, apart=True)
    assert run.returncode == 0, run.stderr
    noted = (
        f"{tmp_path / 'list.csv'}: cells are separated by semicolons",
        "names of splits: 'Training' is train, 'dev' is val",
    )
    for sentence in noted:
        assert f"note: {sentence}\n" in run.stderr
    unread = "warning: split 'holdout' (1 clips) is not train, val or test: nothing reads it"
    assert unread in run.stderr and unread in run.stdout
    assert records.Info.load(out).preprocessing["notes"] == [*noted]

    run = subprocess.run(
        [sys.executable, "-m", "av_mae.prepare.check", str(out), f"--json={tmp_path / 'json'}"],
        env=env | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    text = run.stdout.decode("ascii")
    assert "most: \\xe9 1" in text and "1 x split of another name" in text
    assert f"how the source was read: {noted[1]}" in text
    page = (out / "check.html").read_text()
    assert "How the source was read" in page and "gone é" in page
    assert json.loads((tmp_path / "json").read_text())["notes"] == [*noted]
