"""The worked examples of docs/checkpoints.md, a family each, on real files and real media."""

import pathlib

import numpy as np
import pytest

import av_mae
from av_mae.convert import read
from av_mae.experiment import checkpoint
from av_mae.tools import features, predict

pytestmark = pytest.mark.usefixtures("loads_once")

DATA = pathlib.Path(__file__).parents[1] / "golden" / "data" / "videomae"
KNOWN = {"model.heads": 4, "modalities.video.size": 32}


@pytest.fixture
def clip(media_folder) -> str:
    return str(media_folder / "talk.mp4")


def test_videomaes_file_names_actions(clip, tmp_path, capsys):
    saved = read.read(DATA / "official/finetune_meanpool_f16/checkpoint-99.pth", KNOWN)
    checkpoint.write(saved.with_labels("abcdefg"), tmp_path)
    assert predict.main([f"--model={tmp_path}", clip]) == 0
    assert set("abcde") & set(capsys.readouterr().out.split())


def test_hugging_faces_folder_fills_in_what_is_hidden(golden, clip):
    model = av_mae.load(golden / "videomae/hf/pretrain_normpix_tube_img32_encnorm")
    shown = model.reconstruct(av_mae.read_clip(clip))
    assert shown.frames["predicted"].shape == (4, 32, 32, 3)
    assert not np.array_equal(shown.frames["predicted"], shown.frames["original"])


@pytest.mark.parametrize(
    "place",
    ["keras/TFVideoMAE_tiny_FT_gamma_noqkvbias.h5", "mmaction2/recognition/recognition.pth"],
)
def test_files_of_other_ports_give_features_of_a_layer(place, clip, tmp_path):
    checkpoint.write(read.read(DATA / place, KNOWN | {"modalities.video.frames": 4}), tmp_path)
    out = tmp_path / "features.npz"
    flags = [f"--model={tmp_path}", f"--out={out}", "--layer=2", "--hop=2"]
    assert features.main([*flags, clip]) == 0
    stored = np.load(out)
    assert stored["video"].shape[1:] == (32, 16) and int(stored["layer"]) == 2
