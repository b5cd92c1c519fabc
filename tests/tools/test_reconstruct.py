"""Reconstructions as films, pictures, sounds and a page."""

import pytest
import tiny_models

import av_mae
from av_mae.inference import stream
from av_mae.report import media
from av_mae.tools import reconstruct

pytestmark = pytest.mark.usefixtures("loads_once")


@pytest.fixture(scope="module")
def out(pretrain_run, media_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    paths = [str(media_folder / name) for name in ("talk.mp4", "silent.mp4", "talk.mp4")]
    assert reconstruct.main([f"--model={pretrain_run}", f"--out={folder}", *paths]) == 0
    return folder


def test_every_file_gets_its_films_pictures_and_sounds(out):
    kinds = ("original", "masked", "predicted")
    expected = {"reconstruction.mp4", *(f"{k}.jpg" for k in kinds)}
    assert {p.name for p in (out / "silent").iterdir()} == expected
    expected |= {"reconstruction.png", *(f"{k}.{end}" for k in kinds for end in ("png", "wav"))}
    assert {p.name for p in (out / "talk").iterdir()} == expected
    assert (out / "talk-2").is_dir()  # the same name again


def test_the_film_shows_three_pictures_and_lets_one_hear_the_prediction(out):
    clip = av_mae.read_clip(out / "talk" / "reconstruction.mp4", short_side=None)
    assert clip.frames.shape[0] == 4 and clip.frames.shape[1] == 32
    assert clip.frames.shape[2] > 3 * 32
    assert clip.audio is not None and abs(len(clip.audio) / 16_000 - 0.32) < 0.15
    assert av_mae.read_clip(out / "silent" / "reconstruction.mp4").audio is None


def test_the_wavs_hold_the_window_of_the_model(out):
    wave = media.read_wav((out / "talk" / "original.wav").read_bytes())
    assert len(wave) == round(0.64 * 16_000) and abs(wave).max() > 0.1


def test_the_page_needs_nothing_beside_it(out):
    page = (out / "index.html").read_text()
    assert "talk.mp4" in page and "silent.mp4" in page and "data:video/mp4" in page
    assert 'src="http' not in page and "href=" not in page


def test_of_a_long_file_the_middle_is_read_or_what_begins_at_start(
    pretrain_run, tmp_path, capsys, monkeypatch
):
    path = str(tiny_models.media_file(tmp_path / "long.mp4", seconds=40.0))
    read, held = stream.clip_lib.read, []
    monkeypatch.setattr(
        stream.clip_lib, "read", lambda *a, **k: held.append(read(*a, **k)) or held[-1]
    )
    said = []
    for flags in ([], ["--start=10"], ["--end=10"]):
        command = [f"--model={pretrain_run}", f"--out={tmp_path / 'out'}", *flags, path]
        assert reconstruct.main(command) == 0
        said.append(capsys.readouterr().out.splitlines()[0].partition(": ")[2])
    assert said == [f"{path} from {times}" for times in (
        "0:19.7 to 0:20.3", "0:10.0 to 0:10.6", "0:04.7 to 0:05.3")]  # fmt: skip
    assert max(clip.seconds for clip in held) < 0.7


def test_a_classifier_cannot_reconstruct(classify_run, media_folder, tmp_path, capsys):
    flags = [f"--model={classify_run}", f"--out={tmp_path}", str(media_folder / "talk.mp4")]
    assert reconstruct.main(flags) == 78
    assert "load the pretraining run" in capsys.readouterr().err
