"""Preparation as an Apache Beam pipeline, on its local runner, from and to addresses."""

import pathlib
import resource
import shutil

import made_media
import numpy as np
import pytest

pytest.importorskip("apache_beam")
pytest.importorskip("upath")

from av_mae.input import records
from av_mae.prepare import datasets
from av_mae.prepare.datasets import folder
from av_mae.prepare.media import container
from av_mae.prepare.shards import beam, build
from av_mae.prepare.shards.settings import Settings

SETTINGS = made_media.SETTINGS
OPTIONS = beam.options("DirectRunner", [], workers=2)


def contents(out):
    """{relative path: bytes} of all that a preparation leaves, but the lock of a local folder."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_from_and_to_addresses_it_makes_the_same_bytes(prepared, media_folder, tmp_path):
    listing = folder.clips(f"file://{media_folder}", datasets.Options())
    out = f"file://{tmp_path}/deep/tiny"
    from av_mae.input import storage

    report = build.build(listing, storage.path(out), SETTINGS, pipeline=OPTIONS)
    assert report.clips == 30
    assert contents(tmp_path / "deep" / "tiny") == contents(prepared)


def test_it_goes_on_where_the_process_pool_stopped(prepared, listing, tmp_path):
    out = pathlib.Path(shutil.copytree(prepared, tmp_path / "tiny"))
    (out / records.INFO_FILE).unlink()
    shards = sorted(path for path in out.iterdir() if path.name[-3:].isdigit())
    shards[0].unlink()
    (out / ".prepare" / f"{shards[1].name}.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in shards[2:]}
    build.build(listing, out, SETTINGS, pipeline=OPTIONS)
    assert contents(out) == contents(prepared)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_file_that_takes_too_much_memory_costs_itself_only(tmp_path):
    made_media.write(tmp_path / "small.mp4", [made_media.picture(i) for i in range(10)])
    large = np.zeros((8192, 8192, 3), np.uint8)
    made_media.write(tmp_path / "large.mp4", [large], codec="mjpeg")
    limits = container.Limits(memory=2**27)
    settings = Settings(name="two", short_side=48, limits=limits)
    listing = folder.clips(str(tmp_path), datasets.Options(val_share=0.0))
    report = build.build(listing, tmp_path / "out", settings, pipeline=OPTIONS)
    assert report.clips == 1
    assert report.rejected == [("large.mp4", "large.mp4", "out of memory: more than 0.125 GiB")]


def test_a_full_disk_is_one_error_and_the_run_goes_on_later(listing, tmp_path):
    few = datasets.Listing(listing.entries[-5:])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with pytest.raises(OSError, match="^cannot write .*tfrecord.*: File too large; the same"):
            build.build(few, tmp_path / "tiny", SETTINGS, pipeline=OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in (tmp_path / "tiny").iterdir() if path.is_file()]
    assert build.build(few, tmp_path / "tiny", SETTINGS).clips == 5


def test_options_of_beam_are_passed_on_and_others_refused():
    found = beam.options("FlinkRunner", ["--parallelism=4", "--job_name=x", "--", "--new"], 2)
    assert found == ["--runner=FlinkRunner", "--parallelism=4", "--job_name=x", "--new"]
    assert beam.options("directrunner", [], workers=2) == OPTIONS
    mine = beam.options("DirectRunner", ["--direct_num_workers=7"], workers=2)
    assert mine[-1] == "--direct_num_workers=7"
    with pytest.raises(ValueError, match="'--short_sid=64' is an option neither of this program"):
        beam.options("DirectRunner", ["--short_sid=64"], workers=2)
