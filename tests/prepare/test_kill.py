"""kill -9 of a whole preparation at random moments: what is run again ends with the same bytes."""

import importlib.util
import os
import pathlib
import random
import secrets
import signal
import subprocess
import sys
import time

import made_media
import pytest

from av_mae.prepare import datasets
from av_mae.prepare.datasets import folder
from av_mae.prepare.shards import build

KILLS = 4
# Moments are counted in changes of the folder, so that they fall into the work however slow the
# machine is; a whole run makes about forty.
CHANGES = 12

# Loads what is slow to load once, then makes a run for each line: a process of its own.
RUNS = """
import os, signal, sys
import made_media
from av_mae.input import storage
from av_mae.prepare import datasets
from av_mae.prepare.shards import build
from av_mae.prepare.datasets import folder
pipeline = None
if sys.argv[3]:
    from av_mae.prepare.shards import beam
    pipeline = beam.options("DirectRunner", [], workers=2)
listing = folder.clips(sys.argv[1], datasets.Options())
print("ready", flush=True)
while sys.stdin.readline():
    run = os.fork()
    if not run:
        os.setpgid(0, 0)
        out = storage.path(sys.argv[2])
        build.build(listing, out, made_media.SETTINGS, workers=2, pipeline=pipeline)
        os._exit(0)
    print(run, flush=True)
    os.waitpid(run, 0)
    print("over", flush=True)
"""


class Runs:
    """Preparations of a folder, one at a time."""

    def __init__(self, media: pathlib.Path, out: pathlib.Path, beam: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUNS, str(media), str(out), "beam" if beam else ""],
            cwd=pathlib.Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._hear() == "ready"

    def start(self) -> int:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._hear())

    def wait(self) -> None:
        assert self._hear() == "over"

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _hear(self) -> str:
        return self._process.stdout.readline().strip()


def seen(out):
    """What of a folder changes while it is prepared."""
    return sorted(path.name for path in out.rglob("*")) if out.exists() else []


def contents(out):
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def running(group):
    """Processes of a group that are not dead yet."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def kill_at(runs, out, changes, delay):
    """Kills a run once it has changed the folder so often; whether it was still running."""
    run = runs.start()
    before, left = seen(out), changes
    while left and pathlib.Path(f"/proc/{run}").exists():
        time.sleep(0.002)
        now = seen(out)
        left, before = left - (now != before), now
    time.sleep(delay)
    unfinished = pathlib.Path(f"/proc/{run}").exists() and not (out / "av_mae.json").exists()
    if unfinished:
        os.kill(run, signal.SIGKILL)
    runs.wait()
    deadline = time.monotonic() + 30
    while running(run) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(run), "a child outlived the run"
    return unfinished


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("beam", [False, True], ids=["pool", "beam"])
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(
    prepared, media_folder, tmp_path, beam
):
    if beam and importlib.util.find_spec("apache_beam") is None:
        pytest.skip("Apache Beam is not installed")
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # shown where the test fails
    rng = random.Random(seed)
    out = tmp_path / "tiny"
    runs = Runs(media_folder, out, beam)
    try:
        killed = [
            kill_at(runs, out, rng.randrange(CHANGES), rng.uniform(0, 0.1)) for _ in range(KILLS)
        ]
    finally:
        runs.close()
    assert any(killed)
    listing = folder.clips(str(media_folder), datasets.Options())
    build.build(listing, out, made_media.SETTINGS, workers=2)
    assert contents(out) == contents(prepared)
