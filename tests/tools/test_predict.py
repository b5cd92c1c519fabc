"""The command that names what files show."""

import csv
import json

import numpy as np
import pytest
import tiny
import tiny_models
from PIL import Image

import av_mae
from av_mae import api
from av_mae.inference import features
from av_mae.tools import predict

pytestmark = pytest.mark.usefixtures("loads_once")


def test_prints_what_the_model_says_about_every_file(classify_run, media_folder, capsys):
    talk, silent = (str(media_folder / name) for name in ("talk.mp4", "silent.mp4"))
    assert predict.main([f"--model={classify_run}", "--json", talk, silent]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model = api.load(str(classify_run))
    assert [line["file"] for line in lines] == [talk, silent]
    for line in lines:
        assert line["labels"] == pytest.approx(model.classify(av_mae.read_clip(line["file"])))

    assert predict.main([f"--model={classify_run}", "--top=1", "--modalities=audio", talk]) == 0
    name, said, best = capsys.readouterr().out.splitlines()
    assert said == "  judged 1 window of 0.6 s, from 0:02.2 to 0:02.8 of 0:05.0; " + (
        "--hop=0.64 judges all of it"
    )
    heard = model.classify(av_mae.read_clip(talk), top=1, modalities=("audio",))
    assert name == talk and best.split() == [f"{max(heard.values()):.1%}", *heard]
    assert set(heard) < set(tiny.LABELS)


def test_a_bad_file_does_not_stop_the_others(classify_run, media_folder, capsys):
    names = ("broken.mp4", "nothing.mp4", "silent.mp4")
    paths = [str(media_folder / name) for name in names]
    assert predict.main([f"--model={classify_run}", "--json", *paths]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == paths[2:]
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (
        "broken.mp4: not a media file" in errors[0] and "nothing.mp4: file not found" in errors[1]
    )


def test_bad_requests_say_what_to_do(classify_run, pretrain_run, media_folder, tmp_path, capsys):
    silent = str(media_folder / "silent.mp4")
    for flags, message in (
        ([f"--model={tmp_path}"], "no checkpoint in"),
        ([f"--model={pretrain_run}"], "has no classifier; use features or reconstruct"),
        ([f"--model={classify_run}", "--modalities=sound"], "unknown modality 'sound'"),
    ):
        assert predict.main([*flags, silent]) == 78
        assert message in capsys.readouterr().err


def test_a_modality_that_the_file_lacks_is_named(classify_run, media_folder, capsys):
    silent = str(media_folder / "silent.mp4")
    assert predict.main([f"--model={classify_run}", "--modalities=audio", silent]) == 1
    assert "silent.mp4 has no audio" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--modl=x", "clip.mp4"], "Unknown command line flag 'modl'"),
        (["--model=x", "--top=many", "clip.mp4"], "--top=many"),
        (["clip.mp4"], "--model must have a value"),
        (["--model=x"], "no media files are given"),
        (["--model=x", "--hop=0", "clip.mp4"], "--hop=0: expected seconds above 0"),
        (["--model=x", "--start=3", "--end=2", "clip.mp4"], "expected 0 <= start < end"),
        (["--model=x", "--frame_rate=-1", "clip"], "expected pictures a second above 0"),
        (["--model=x", "--out=a.txt", "clip"], "--out=a.txt is neither .csv nor .json"),
    ],
)
def test_a_wrong_flag_is_one_sentence(flags, message, capsys):
    assert predict.main(flags) == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as left:
        predict.main(["--help"])
    out = capsys.readouterr().out
    assert not left.value.code and predict.__doc__ in out
    assert all(
        f"--{name}:" in out for name in ("model", "top", "start", "end", "window", "hop", "out")
    )


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    return str(tiny_models.media_file(tmp_path_factory.mktemp("long") / "long.mp4", seconds=31.0))


def test_windows_slide_over_a_file_and_are_written(classify_run, media_folder, tmp_path, capsys):
    talk, silent = (str(media_folder / name) for name in ("talk.mp4", "silent.mp4"))
    flags = [f"--model={classify_run}", "--window=1.5", "--hop=1", "--top=1"]
    assert predict.main([*flags, f"--out={tmp_path / 'a.csv'}", talk, silent]) == 0
    name, said, _, *windows = capsys.readouterr().out.splitlines()[:8]
    assert name == talk and said.startswith("  judged 5 windows of 1.5 s, from 0:00.0 to 0:05")
    assert [line.split()[:3] for line in windows[:2]] == [
        ["0:00.0", "to", "0:01.5"], ["0:01.0", "to", "0:02.5"]
    ]  # fmt: skip
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], float(row["start"]), row["rank"]) for row in rows[:5]] == [
        (talk, pytest.approx(start, abs=0.1), "1") for start in (0.0, 1.0, 2.0, 3.0, 3.5)
    ]  # fmt: skip
    assert {row["file"] for row in rows} == {talk, silent}

    assert predict.main([*flags[:-1], "--json", f"--out={tmp_path / 'a.json'}", talk]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "a.json").read_text()) == [printed]
    assert printed["seconds"] == pytest.approx(5.0, abs=0.1) and len(printed["windows"]) == 5
    best = printed["windows"][0]["labels"]
    assert rows[0]["label"] == next(iter(best))
    assert float(rows[0]["probability"]) == pytest.approx(max(best.values()), abs=1e-5)


def test_a_window_is_judged_as_the_part_of_the_file_that_it_is(classify_run, media_folder):
    model, talk = api.load(str(classify_run)), media_folder / "talk.mp4"
    names = ("audio",)
    found = model.timeline(talk, window=0.64, hop=0.64, modalities=names)
    clip = av_mae.read_clip(talk, start=1.28, end=1.92)
    assert found.top(2, 2) == pytest.approx(model.classify(clip, modalities=names), abs=0.02)
    logits_wk = np.log(found.probabilities)
    merged = np.exp(logits_wk.mean(0))
    np.testing.assert_allclose(found.overall, merged / merged.sum(), rtol=1e-3)


def test_a_window_of_frames_that_are_spread_over_it(media_folder):
    model = tiny_models.model("classify", dataset={"path": "", "sampling": "uniform"})
    found = model.timeline(media_folder / "talk.mp4", window=2.0, hop=1.0)
    clip = av_mae.read_clip(media_folder / "talk.mp4", start=1.0, end=3.0)
    assert found.top(2, 1) == pytest.approx(model.classify(clip), abs=0.02)


def test_a_long_file_is_judged_by_windows_all_over_it(classify_run, long_file, capsys):
    assert predict.main([f"--model={classify_run}", long_file]) == 0
    said = capsys.readouterr().out.splitlines()[1]
    assert said == (
        "  judged 3 windows of 0.6 s, evenly spread, from 0:00.0 to 0:31.0 of 0:31.0; "
        "--hop=0.64 judges all of it"
    )
    model = api.load(str(classify_run))
    far = model.timeline(long_file, hop=10.0)  # sought, and the same as if read through
    assert far.windows[:, 0] == pytest.approx([0.0, 10.0, 20.0, 30.0, 30.4], abs=0.05)
    near = model.timeline(long_file, hop=2.5)
    np.testing.assert_allclose(far.probabilities[:3], near.probabilities[:9:4], atol=0.05)
    found = model.timeline(long_file, start=4.0, end=30.0)
    assert found.windows[:, 0] == pytest.approx([4.0, 29.36], abs=0.05)
    assert found.share == pytest.approx(1.28 / 31, abs=0.01)


def test_frames_and_pictures_are_judged(classify_run, tmp_path, capsys, caplog):
    clip, folder = tiny_models.clip(), tmp_path / "clip"
    folder.mkdir()
    for number, picture_hw3 in enumerate(clip.frames):
        Image.fromarray(picture_hw3).save(folder / f"{number}.png")
    flags = [f"--model={classify_run}", "--modalities=video", "--json", "--frame_rate=12.5"]
    assert predict.main([*flags, str(folder)]) == 0
    model, names = api.load(str(classify_run)), ("video",)
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == pytest.approx(model.classify(clip, modalities=names), abs=1e-5)
    assert predict.main([flags[0], str(folder / "0.png")]) == 0
    assert "judged one picture" in capsys.readouterr().out
    assert "it stands still for the 0.32 s" in caplog.text


def test_a_model_of_pictures_takes_a_picture(tmp_path):
    video = tiny.experiment("", "classify")["modalities"]["video"]
    model = tiny_models.model(
        "classify", modalities={"video": video | {"frames": 1, "patch": (1, 16, 16)}}
    )
    pixels_hw3 = tiny_models.clip().frames[0]
    Image.fromarray(pixels_hw3).save(tmp_path / "a.png")
    clip = av_mae.read_clip(tmp_path / "a.png")
    np.testing.assert_array_equal(clip.frames[0], pixels_hw3)
    found = model.timeline(tmp_path / "a.png")
    assert (
        found.top() == pytest.approx(model.classify(clip)) and found.said() == "judged one picture"
    )
    assert model.features(clip)["pooled"].shape == (16,)
    extracted = features.extract(model, tmp_path / "a.png")
    assert extracted.pooled.shape == (1, 16) and extracted.windows[0, 0] == 0.0
