"""The tiny data set, and the unbroken run on one device that other runs are compared with."""

import pathlib

import once
import pytest
import tiny


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> pathlib.Path:
    return once.once(tmp_path_factory, "tiny_records", tiny.write_records)


@pytest.fixture(scope="module", params=["pretrain", "classify"])
def task(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def unbroken(task, data, tmp_path_factory) -> pathlib.Path:
    """Workdir of a real process on one device, never stopped."""
    return once.once(
        tmp_path_factory, f"unbroken_{task}", lambda folder: tiny.run(folder, data, task=task)
    )
