"""Shared fixtures: eight simulated devices, and the optional real media and golden files."""

import os
import pathlib

ROOT = pathlib.Path(__file__).parents[1]

# Tests and the processes they start compile the same small programs again and again.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """Folder of real media and golden files; set AV_MAE_SHARED to say where it lies."""
    folder = pathlib.Path(os.environ.get("AV_MAE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the shared media folder; {folder} is absent, set AV_MAE_SHARED")
    return folder


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """Golden vectors of the original programs; set AV_MAE_GOLDEN to say where they lie."""
    folder = pathlib.Path(os.environ.get("AV_MAE_GOLDEN", ROOT.parent / "shared" / "golden"))
    if not folder.is_dir():
        pytest.skip(f"needs the golden files; {folder} is absent, set AV_MAE_GOLDEN")
    return folder
