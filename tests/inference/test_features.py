"""Features of files of any length: windows, seams, what the npz holds."""

import json

import numpy as np
import pytest

import av_mae
from av_mae import api
from av_mae.config import parse
from av_mae.inference import features, stream
from av_mae.tools import features as command

pytestmark = pytest.mark.usefixtures("loads_once")


@pytest.fixture
def model(pretrain_run) -> av_mae.Model:
    return api.load(str(pretrain_run))


def test_windows_slide_over_the_whole_file(model, media_folder):
    found = features.extract(model, media_folder / "talk.mp4", window=1.0, hop=0.75)
    starts = found.windows[:, 0]
    np.testing.assert_allclose(np.diff(starts)[:-1], 0.75, atol=1e-6)
    np.testing.assert_allclose(np.diff(found.windows, axis=1), 1.0)
    clip = av_mae.read_clip(media_folder / "talk.mp4")
    assert starts[0] == 0 and found.windows[-1, 1] == pytest.approx(clip.seconds, abs=0.05)
    # 0.32 s of pictures a view: four views see a second of them.
    assert found.tokens["video"].shape[:2] == (len(starts), 4)
    covered = found.seconds["video"][0]
    assert covered[0, 0] <= 0.05 and covered[-1, 1] >= 0.9
    assert found.pooled.shape == (len(starts), 16)


def test_a_window_is_what_the_model_sees_there(model, media_folder):
    path = media_folder / "talk.mp4"
    found = features.extract(model, path, modalities=("audio",))
    assert found.windows[1].tolist() == pytest.approx([0.64, 1.28])
    clip = av_mae.read_clip(path, start=0.64, end=1.28)
    there = model.features(clip, modalities=("audio",))["audio"]
    np.testing.assert_allclose(found.tokens["audio"][1, 0], there, atol=0.05)


def test_reading_in_parts_changes_nothing(model, media_folder, monkeypatch):
    path = media_folder / "talk.mp4"
    whole = features.extract(model, path, window=0.64, hop=0.4)
    monkeypatch.setattr(stream, "_PIECE", 0.17)
    parts = features.extract(model, path, window=0.64, hop=0.4)
    np.testing.assert_allclose(parts.windows, whole.windows, atol=1e-6)
    # Frames of a part start at the part's own beginning, so that times differ by half a frame.
    for name in whole.seconds:
        np.testing.assert_allclose(parts.seconds[name], whole.seconds[name], atol=0.081)
    similarity = (parts.pooled * whole.pooled).sum(1) / (
        np.linalg.norm(parts.pooled, axis=1) * np.linalg.norm(whole.pooled, axis=1)
    )
    assert similarity.min() > 0.98


def test_the_npz_describes_itself(pretrain_run, model, media_folder, tmp_path, capsys):
    talk, silent = (str(media_folder / name) for name in ("talk.mp4", "silent.mp4"))
    out = tmp_path / "features.npz"
    flags = [f"--model={pretrain_run}", f"--out={out}", "--hop=1.5"]
    assert command.main([*flags, talk, str(media_folder / "broken.mp4"), silent]) == 1
    assert "broken.mp4: not a media file" in capsys.readouterr().err
    stored = np.load(out)
    assert stored["files"].tolist() == [talk, silent]
    windows = np.bincount(stored["window_file"])
    rows = len(stored["view_window"])
    for name, spec in model.experiment.modalities.items():
        assert stored[name].shape == (rows, spec.tokens, 16)
        assert stored[f"{name}_seconds"].shape == (rows, 2)
        assert tuple(stored[f"{name}_grid"]) == spec.grid
    of_silent = stored["window_file"][stored["view_window"]] == 1
    np.testing.assert_array_equal(np.isnan(stored["audio"]).all((1, 2)), of_silent)
    assert np.isfinite(stored["video"]).all() and np.isfinite(stored["pooled"]).all()
    np.testing.assert_allclose(
        stored["pooled"][0], stored["window_pooled"][: windows[0]].mean(0), rtol=1e-5
    )
    assert parse.experiment(json.loads(str(stored["config"]))) == model.experiment
    assert str(stored["version"]) == av_mae.__version__ and int(stored["step"]) == 7


def test_a_part_of_a_file(model, media_folder):
    found = features.extract(model, media_folder / "talk.mp4", hop=1.0, start=1.0, end=3.0)
    assert found.windows[:, 0] == pytest.approx([1.0, 2.0, 2.36], abs=0.02)


def test_tokens_can_be_left_out(pretrain_run, media_folder, tmp_path):
    out = tmp_path / "pooled.npz"
    silent = str(media_folder / "silent.mp4")
    assert command.main([f"--model={pretrain_run}", f"--out={out}", "--pooled_only", silent]) == 0
    stored = np.load(out)
    assert str(stored["layer"]) == "output"
    assert "video" not in stored and stored["pooled"].shape == (1, 16)
    assert len(stored["video_seconds"]) == len(stored["view_window"])


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--out=f.csv"], "is no npz file"),
        (["--out=f.npz", "--hop=0"], "--hop=0: expected seconds"),
        (["--out=f.npz", "--layer=99"], "layer 99: "),
    ],
)
def test_bad_requests_say_what_to_do(flags, message, pretrain_run, capsys):
    assert command.main([f"--model={pretrain_run}", *flags, "clip.mp4"]) == 78
    assert message in capsys.readouterr().err
