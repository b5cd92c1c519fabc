"""Shared fixtures: eight simulated devices, and the optional real media and golden files."""

import functools
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
import tiny_models  # noqa: E402

from av_mae import api  # noqa: E402
from av_mae.training import host  # noqa: E402

host.keep_memory()
_load = functools.cache(api.load)

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


@pytest.fixture(scope="session")
def classify_run(tmp_path_factory) -> pathlib.Path:
    """Workdir of a tiny classifier."""
    return tiny_models.write_run(tmp_path_factory.mktemp("classify"), "classify")


@pytest.fixture(scope="session")
def pretrain_run(tmp_path_factory) -> pathlib.Path:
    """Workdir of a tiny autoencoder."""
    return tiny_models.write_run(tmp_path_factory.mktemp("pretrain"), "pretrain")


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory) -> pathlib.Path:
    """talk.mp4 with sound, silent.mp4 without, and broken.mp4, which is no film."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("media")
    tiny_models.media_file(folder / "talk.mp4", seconds=5.0)
    tiny_models.media_file(folder / "silent.mp4", seconds=2.0, sound=False)
    (folder / "broken.mp4").write_text("not a film")
    return folder


@pytest.fixture
def loads_once(monkeypatch) -> None:
    """Models are loaded once for all tests that use this: each would compile its model anew."""
    monkeypatch.setattr(api, "load", _load)
