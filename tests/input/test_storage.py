"""Files of this machine and of stores are written whole or not at all."""

import os
import pathlib
import resource

import pytest

from av_mae.input import storage


@pytest.fixture(params=["local", "file", "memory"])
def folder(request, tmp_path):
    """A folder of this machine, one that is addressed like a store, and one in a real store."""
    if request.param != "local":
        pytest.importorskip("upath")
    where = {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory:/{tmp_path}"}
    folder = storage.path(where[request.param]) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_half(path):
    with storage.writing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError("of the writer")


def test_a_file_is_replaced_in_one_move(folder):
    storage.write(folder / "a", b"old")
    with storage.writing(folder / "a") as temporary:
        temporary.write_bytes(b"new, longer")
        assert (folder / "a").read_bytes() == b"old"
    assert (folder / "a").read_bytes() == b"new, longer"
    assert storage.sizes(folder) == {"a": 11}


def test_after_an_error_the_old_file_is_there_and_nothing_else(folder):
    storage.write(folder / "a", b"old")
    with pytest.raises(KeyError):
        write_half(folder / "a")
    assert (folder / "a").read_bytes() == b"old"
    assert storage.sizes(folder) == {"a": 3}


def test_a_full_disk_leaves_the_old_file(folder):
    storage.write(folder / "a", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="cannot write .*a: File too large"):
            storage.write(folder / "a", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert storage.sizes(folder) == {"a": 3}


def test_what_a_killed_run_left_is_found_and_nothing_else(folder):
    for name in (".a.tfrecord-00000-of-00001.0123abcd.tmp", ".mine.tmp", "a.0123abcd.tmp"):
        (folder / name).write_bytes(b"x")
    assert [path.name for path in storage.unfinished(folder)] == [
        ".a.tfrecord-00000-of-00001.0123abcd.tmp"
    ]


def test_a_folder_that_is_not_there_has_no_files(folder):
    assert storage.sizes(folder / "none") == {}


def test_names_are_joined_to_folders_and_addresses():
    assert storage.join("/media", "a/b.mp4") == "/media/a/b.mp4"
    assert storage.join("/media", "/else/b.mp4") == "/else/b.mp4"
    assert storage.join("gs://bucket/media/", "a b.mp4") == "gs://bucket/media/a b.mp4"
    assert storage.join("/media", "gs://bucket/b.mp4") == "gs://bucket/b.mp4"
    assert isinstance(storage.path(os.curdir), pathlib.Path)


@pytest.mark.parametrize("address", ["gs://bucket/x", "nothing://x"])
def test_a_store_without_its_driver_says_so(address):
    pytest.importorskip("upath")
    if address.startswith("gs") and _installed("gcsfs"):
        pytest.skip("its driver is installed")
    with pytest.raises(ValueError, match=f"{address} cannot be used: .*(install|nsupported)"):
        storage.path(address)


def _installed(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None
