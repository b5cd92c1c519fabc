"""What several test processes need and one of them makes."""

import fcntl
import os
import pathlib
from collections.abc import Callable

import pytest


def once(
    factory: pytest.TempPathFactory, name: str, fill: Callable[[pathlib.Path], object]
) -> pathlib.Path:
    """A folder of the whole test run, filled by whoever comes first; the others wait for it."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder = root / name
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / f"{name}.done").exists():
            folder.mkdir()
            fill(folder)
            (root / f"{name}.done").touch()
    return folder
