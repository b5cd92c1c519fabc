"""Checkpoints of our own that somebody changed: a sentence at once, and no other file is opened."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest
from test_damaged import damaged, outcome
from test_hostile import limits
from test_read import KNOWN, PTH

from av_mae.config import schema
from av_mae.convert import read
from av_mae.experiment import checkpoint

assert limits  # a fixture of all tests here
ROOT = pathlib.Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    checkpoint.write(read.read(PTH, KNOWN), folder)
    return folder


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "x")


def refused(folder, sentence="is damaged: "):
    with pytest.raises(schema.ConfigError, match=sentence) as error:
        read.read(folder)
    assert len(str(error.value)) < 700 and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["meta/metadata", "state/_METADATA", "state/manifest.ocdbt"])
def test_pipes_in_place_of_files(copy, name):
    (copy / "checkpoints" / "99" / name).unlink()
    os.mkfifo(copy / "checkpoints" / "99" / name)
    refused(copy, "is no regular file")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "[]", "5", "{}", "\x00"])
@pytest.mark.parametrize("name", ["meta/metadata", "state/_METADATA"])
def test_records_that_are_none(copy, name, content):
    (copy / "checkpoints" / "99" / name).write_text(content)
    refused(copy)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("experiment", (None, 5, [], {}, {"model": {"width": 10**12}}, "deleted")),
        ("labels", (None, 5, "deleted")),
        ("step", (None, [], "x", "deleted")),
        ("digest", (None, 5, [], {}, {"params/head/bias": 10**30}, "deleted")),
    ],
)
def test_what_stands_in_the_record_of_a_checkpoint(copy, key, values):
    path = copy / "checkpoints" / "99" / "meta" / "metadata"
    whole = json.loads(path.read_text())
    for value in values:
        meta = whole | {key: value}
        if value == "deleted":
            del meta[key]
        path.write_text(json.dumps(meta))
        refused(copy, f"checkpoint {copy}.*: ")


def test_arrays_that_claim_more_than_the_files_have(copy):
    import tensorstore

    spec = {
        "driver": "zarr",
        "kvstore": {
            "driver": "ocdbt",
            "base": f"file://{copy}/checkpoints/99/state",
            "path": "params.head.bias/",
        },
        "metadata": {"shape": [10**6, 10**6], "dtype": "<f4", "chunks": [1000, 1000]},
        "create": True,
        "delete_existing": True,
    }
    tensorstore.open(spec).result()
    refused(copy, r"arrays claim 4,000,0\d\d,\d\d\d,\d\d\d bytes")


def test_damaged_files(written, tmp_path):
    files = [path for path in sorted(written.rglob("*")) if path.is_file()]
    for seed in range(60):
        rng, copy = random.Random(seed), shutil.copytree(written, tmp_path / str(seed))
        victim = copy / files[seed % len(files)].relative_to(written)
        victim.write_bytes(damaged(victim.read_bytes(), rng))
        sentence = outcome(copy)
        assert not sentence or (str(copy) in sentence and len(sentence) < 700)


def test_no_traceback_of_other_reads_follows(copy):
    for path in (copy / "checkpoints" / "99" / "state" / "ocdbt.process_0" / "d").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    script = (
        "import sys\nfrom av_mae.convert import read\nfrom av_mae.config import schema\n"
        "try:\n    read.read(sys.argv[1])\nexcept schema.ConfigError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", script, str(copy)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=ENV)
    assert "is damaged: " in run.stdout and "Traceback" not in run.stderr
