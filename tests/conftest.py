"""Shared fixtures: eight simulated devices, and the optional real media and golden files."""

import gc
import os
import pathlib

ROOT = pathlib.Path(__file__).parents[1]

# Models are tiny here and take few steps, so that compiling them is most of the work. It is done
# lightly (half the time), and a program that several processes need is compiled once.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=8 --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1 --xla_cpu_prefer_vector_width=128",
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest  # noqa: E402

from av_mae.training import host  # noqa: E402

host.keep_memory()

# Compiling makes many objects that live: looking for garbage among them took a tenth of all time.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

# Minutes each, in a few tests: they begin, or else one of two processes ends alone with them.
SLOWEST = (
    "test_readme",
    "test_resume",
    "test_distributed",
    "test_train",
    "test_configs",
    "test_run",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest modules first; pytest-xdist deals modules out in this order."""
    place = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


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
