"""Damaged files are read as far as they go or rejected with a reason, and nothing else happens."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_every_damaged_file_is_read_or_rejected(media_folder, tmp_path):
    source, out = media_folder / "test", tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks.damage", "--files=63", "--seed=1"]
    run = subprocess.run(
        [*command, f"--source={source}", f"--out={out}"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(out.read_text())
    assert found["unaccounted"] == [] and found["unexpected"] == [] and found["over_time"] == 0
    assert found["read"] + found["rejected"] == 63
    assert found["read"] > 10 and found["rejected"] > 10 and found["partial"] > 1
    assert len(found["kinds"]) == 7
    assert sum(sum(counts.values()) for counts in found["kinds"].values()) == 63
