"""Tiny runs and media files that the tools are tried on."""

import functools
import pathlib

import pytest
import tiny_models

from av_mae import api

_load = functools.cache(api.load)


@pytest.fixture(autouse=True)
def loads_once(monkeypatch):
    """Every command line here would compile the same model anew."""
    monkeypatch.setattr(api, "load", _load)


@pytest.fixture(scope="session")
def classify_run(tmp_path_factory) -> pathlib.Path:
    return tiny_models.write_run(tmp_path_factory.mktemp("classify"), "classify")


@pytest.fixture(scope="session")
def pretrain_run(tmp_path_factory) -> pathlib.Path:
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
