"""The progress bar of a preparation counts to the end, and no line of the log breaks it."""

import logging
import os
import pathlib
import re
import subprocess
import sys

import made_media
from absl import logging as absl_logging

from av_mae.prepare import bar

ROOT = pathlib.Path(__file__).parents[2]


def test_lines_of_the_log_stand_above_the_bar(capsys):
    handler = absl_logging.get_absl_handler()
    with bar.shown("prepare", 4, 1) as progress:
        for number in range(3):
            progress.update()
            said = ("absl", logging.WARNING, __file__, 1, f"line {number}", None, None)
            handler.handle(logging.LogRecord(*said))
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    assert sum(line.strip().endswith(f"line {n}") for n in range(3) for line in lines) == 3
    assert not [line for line in lines if "line " in line and "clip" in line]
    assert "4/4" in [line for line in lines if "prepare" in line][-1]


def test_a_hidden_bar_says_nothing(capsys):
    with bar.shown("prepare", 4, hidden=True) as progress:
        progress.update()
    assert capsys.readouterr().err == ""


def test_a_first_preparation_shows_nothing_but_its_bar(tmp_path):
    """Of a machine where matplotlib, which says so, has not listed its fonts yet."""
    made_media.write(tmp_path / "a.mp4", [made_media.picture(i) for i in range(30)])
    source = tmp_path / "list.csv"
    source.write_text("path,label,split\na.mp4,dog,train\n")
    done = subprocess.run(
        [sys.executable, "-m", "av_mae.prepare", "--dataset=csv", f"--source={source}",
         f"--out={tmp_path / 'out'}"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path / "fonts")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line for line in re.split(r"[\r\n]+", done.stderr) if line]
    assert lines and all(line.startswith("prepare: ") for line in lines)
    assert "1/1" in lines[-1]
