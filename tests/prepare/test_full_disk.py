"""A full disk is one clear error, nothing looks finished, and the same command goes on later."""

import contextlib
import resource
import subprocess

import made_media
import pytest

from av_mae.prepare import datasets
from av_mae.prepare.shards import build
from av_mae.prepare.shards.settings import Settings

SETTINGS = made_media.SETTINGS
GONE = "/nowhere/" + "long name " * 2
MANY = 40


def contents(out):
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


@contextlib.contextmanager
def longest_file(size):
    """No file may become longer: every write beyond fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path):
    """Gives a folder of its own file system, and a function that sets its size in KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(size):
        command = ["mount", "-o", f"remount,size={size}k", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a file system")
    yield folder, resize
    subprocess.run(["umount", str(folder)], check=True)


def test_as_space_is_made_bit_by_bit_the_same_bytes_appear(prepared, listing, small_disk):
    disk, resize = small_disk
    out = disk / "tiny"
    size, errors = 64, []
    while True:
        resize(size)
        try:
            build.build(listing, out, SETTINGS, workers=2)
            break
        except OSError as error:
            errors.append(str(error))
        assert not (out / "av_mae.json").exists()
        assert not list(out.rglob(".*.tmp"))
        size *= 2
    assert len(errors) >= 3
    assert all(line.startswith("cannot write ") and "space" in line for line in errors), errors
    assert contents(out) == contents(prepared)


def missing(number):
    """Clips that are rejected as they are decoded, with a reason of a known length."""
    names = (f"{GONE}{i}" for i in range(number))
    return tuple(datasets.Entry(name, name, name, "train") for name in names)


def refused(number):
    """Clips that are rejected beforehand."""
    names = (f"refused {GONE}{i}" for i in range(number))
    return tuple(datasets.Refused(name, name, "file not found") for name in names)


@pytest.mark.parametrize(
    "file, entries, refusals, clips_per_shard, size",
    [
        (".prepare/plan.json", 1, 0, 1, 100),
        (".prepare/full-train.tfrecord-00000-of-00001.json", MANY, 0, MANY, 2000),
        ("rejected.csv", 1, MANY, 1, 2000),
        ("av_mae.json", MANY, 0, 1, 6000),
    ],
)
def test_every_kind_of_file_is_written_whole_or_not_at_all(
    tmp_path, file, entries, refusals, clips_per_shard, size
):
    listing = datasets.Listing(missing(entries), refused(refusals))
    settings = Settings(name="full", clips_per_shard=clips_per_shard)
    out = tmp_path / "full"
    with longest_file(size), pytest.raises(OSError, match=f"cannot write .*{file}: File too large"):
        build.build(listing, out, settings)
    assert not (out / file).exists() and not (out / "av_mae.json").exists()
    assert not list(out.rglob(".*.tmp"))
    report = build.build(listing, out, settings)
    assert len(report.rejected) == entries + refusals
    build.build(listing, tmp_path / "again", settings)
    assert contents(out) == contents(tmp_path / "again")


def test_a_shard_that_does_not_fit_is_not_there(prepared, listing, tmp_path):
    few = datasets.Listing(listing.entries[-5:])
    out = tmp_path / "tiny"
    message = "cannot write .*tfrecord.*: File too large"
    with longest_file(150_000), pytest.raises(OSError, match=message):
        build.build(few, out, SETTINGS)
    assert not [path for path in out.iterdir() if path.is_file()]
    assert build.build(few, out, SETTINGS).clips == 5
