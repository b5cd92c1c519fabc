"""report.html is one file that holds everything, and stands whatever the workdir lacks."""

import base64
import io
import json
import re
import shutil

import av
import pytest
import report_run
from parsed import Parsed

from av_mae.report import history, page


@pytest.fixture(scope="module")
def parsed(finished) -> Parsed:
    return Parsed(page.write(finished))


def test_nothing_is_fetched(parsed):
    assert not parsed.open
    for _, attributes in parsed.tags:
        for name in ("src", "href", "poster", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not parsed.all("link")
    policy = next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_numbers_of_the_run_are_there(parsed):
    for text in (
        "tones_pretrain", "Masked autoencoder pretraining", "finished 1,000 steps",
        "audio + video", "pretrained: earlier", report_run.EXPERIMENT.digest(), "ViT-B",
        "0.2345", "0.1234", "step 500", "8m20s", " x cpu", "jax 0", "a sentence about the run",
    ):  # fmt: skip
        assert text in parsed.text, text
    config = next(t for t in re.findall(r"\{.*\}", parsed.text, re.DOTALL) if "batch_size" in t)
    assert json.loads(config) == json.loads(json.dumps(report_run.EXPERIMENT.to_dict()))


def test_curves_hold_training_and_evaluation(parsed):
    plots = [json.loads(a["data-chart"]) for a in parsed.all("div") if "data-chart" in a]
    loss = plots[0]
    assert [series["label"] for series in loss] == ["train", "val"]
    assert loss[0]["step"] == list(range(100, 1001, 100))
    assert loss[1]["text"] == ["0.123", "0.234"]


def test_the_gallery_plays(parsed):
    (video,) = parsed.all("video")
    data = base64.b64decode(video["src"].removeprefix("data:video/mp4;base64,"))
    with av.open(io.BytesIO(data), "r") as file:
        assert len(list(file.decode(video=0))) == 8
    sounds = parsed.all("audio")
    assert len(sounds) == len(parsed.all("button")) == 3
    data = base64.b64decode(sounds[0]["src"].removeprefix("data:audio/mpeg;base64,"))
    with av.open(io.BytesIO(data), "r") as file:
        samples = sum(frame.samples for frame in file.decode(audio=0))
    assert samples == pytest.approx(20_480, abs=2500)
    assert "clip <7> of val" in parsed.text
    assert parsed.text.count("over the training") == 1


def test_earlier_galleries_show_the_prediction_only(parsed):
    names = [a["alt"] for a in parsed.all("img")]
    assert names.count("original frames") == 1
    assert names.count("predicted frames") == 1 + 2  # in the card, and at two steps


def test_what_exceeds_the_budget_is_named(finished, tmp_path, monkeypatch, example):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    reporter = report_run.reporter(workdir, resume_step=1000)
    reporter.gallery(1000, "val", [example] * 3)
    reporter.close()
    size = page.write(workdir).stat().st_size
    monkeypatch.setattr(page, "BUDGET", 1)
    small = page.write(workdir)
    assert small.stat().st_size < size
    assert "2 more in media/00001000" in Parsed(small).text
    assert len(Parsed(small).all("video")) == 1


def test_a_run_that_just_began(tmp_path):
    report_run.reporter(tmp_path).close()
    text = Parsed(page.write(tmp_path)).text
    assert "step 0 of 1,000" in text
    assert "No step was reported yet." in text
    assert "No evaluation has run yet." in text


@pytest.mark.parametrize("missing", ["config.json", "run.json", "metrics.jsonl", "media"])
def test_any_part_may_be_missing(finished, tmp_path, missing):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    target = workdir / missing
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    assert not Parsed(page.write(workdir)).open


def test_damage_is_told_not_hidden(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    (workdir / "results.json").write_text('{"step": 1')
    with (workdir / history.METRICS).open("a") as file:
        file.write('{"step": 1100, "ki')
    text = Parsed(page.write(workdir)).text
    assert "1 unreadable line of metrics.jsonl left out" in text
    assert "results.json is not whole JSON" in text


def test_names_cannot_break_the_page(tmp_path):
    workdir = tmp_path / "<script>alert(1)<"
    reporter = report_run.reporter(workdir)
    reporter.evaluation(1, {'<img src="http://x">/loss"': 1.0})
    reporter.note("</main><b>")
    reporter.close()
    found = Parsed(page.write(workdir))
    assert not found.open
    assert not found.all("img")
    assert len(found.all("script")) == 1
    assert "<script>alert(1)<" in found.text
