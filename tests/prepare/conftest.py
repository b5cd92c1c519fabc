"""A small folder of clips, and the data set prepared from it, for all tests of preparation."""

import pathlib

import made_media
import numpy as np
import pytest

from av_mae.prepare import datasets
from av_mae.prepare.datasets import folder, sample
from av_mae.prepare.shards import build


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory) -> pathlib.Path:
    """18 clips of nine classes for training, 9 for testing, and among them five odd files."""
    root = tmp_path_factory.mktemp("media")
    sample.render(root, workers=2, clips={"train": 2, "test": 1})
    odd = root / "train" / "moving+rising"
    pictures = [made_media.picture(i) for i in range(50)]
    made_media.write(odd / "without sound.mp4", pictures)
    made_media.write(odd / "silent.mp4", pictures, wave=np.zeros(96_000, np.float32))
    (odd / "page.mp4").write_text("<html>404</html>" * 40)
    (odd / "empty.mp4").touch()
    whole = pathlib.Path(made_media.write(odd / "cut.mkv", pictures * 2, list(np.arange(100) / 25)))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    return root


@pytest.fixture(scope="session")
def listing(media_folder) -> datasets.Listing:
    return folder.clips(str(media_folder), datasets.Options())


@pytest.fixture(scope="session")
def prepared(listing, tmp_path_factory) -> pathlib.Path:
    """The prepared data set; tests must leave it as it is."""
    out = tmp_path_factory.mktemp("records") / "tiny"
    build.build(listing, out, made_media.SETTINGS, workers=2)
    return out
