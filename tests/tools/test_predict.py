"""The command that names what files show."""

import json

import pytest
import tiny

import av_mae
from av_mae import api
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
    name, best = capsys.readouterr().out.splitlines()
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
    assert all(f"--{name}:" in out for name in ("model", "modalities", "top", "start", "end"))
