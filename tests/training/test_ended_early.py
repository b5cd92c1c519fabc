"""Ctrl-C saves and ends with a sentence, a second one at once; a full disk costs what is new."""

import signal
import subprocess

import pytest
import tiny

from av_mae.experiment import checkpoint
from av_mae.training import loop

ENDLESS = ("--config.total=100000 steps", "--config.checkpoint.every=100000 steps")


def steps(workdir):
    log = workdir / "metrics.jsonl"
    return log.read_text().count('"train"') if log.exists() else 0


def test_control_c_saves_and_says_so(data, tmp_path):
    process = tiny.start(tmp_path, data, *ENDLESS, task="classify")
    with tiny.killed_at_last(process):
        tiny.wait_for(lambda: steps(tmp_path) >= 3, process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == loop.INTERRUPTED == 130
    assert "interrupted: saving after this step; once more ends at once" in output
    step = checkpoint.read(tmp_path).step
    assert step >= 3 and f"saved step {step}; run again to continue" in output
    assert "Traceback" not in output


def test_a_second_control_c_ends_at_once(data, tmp_path):
    process = tiny.start(tmp_path, data, *ENDLESS, program="paced_main")
    with tiny.killed_at_last(process):
        tiny.wait_for(lambda: steps(tmp_path) >= 2, process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == loop.INTERRUPTED
    assert "Traceback" not in output


def test_control_c_before_the_first_step_is_a_sentence(data, tmp_path):
    process = tiny.start(tmp_path, data, *ENDLESS)
    with tiny.killed_at_last(process):
        tiny.wait_for(process.printed, process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == loop.INTERRUPTED
    assert "interrupted" in output and "Traceback" not in output


@pytest.fixture
def disk(tmp_path):
    """A folder on a file system of its own, of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("keep", [1, 100])
def test_a_full_disk_is_a_sentence_and_what_was_saved_stays(data, disk, keep):
    """Checkpoints fill it; or, where old ones are removed, what is written beside them does."""
    flags = ("--config.total=16 steps", f"--config.checkpoint.keep={keep}")
    if keep == 1:
        (disk / "others").write_bytes(bytes(1_200_000))
    process = tiny.start(disk / "run", data, *flags)
    with tiny.killed_at_last(process):
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 74, output
    assert output.splitlines()[-1].startswith(f"error: no space left for {disk}/run; what was")
    assert "Traceback" not in output
    saved = checkpoint.read(disk / "run").step if keep > 1 else 0
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    output = tiny.run(disk / "run", data, *flags)
    assert not saved or f"step {saved + 1}/16" in output
    assert checkpoint.read(disk / "run").step == 16
