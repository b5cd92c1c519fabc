"""Names that users choose are shown as text on every page, and do not disturb what is beside them.

The names look like markup, hold quotes and entities, and turn the direction of writing.
"""

import csv
import dataclasses
import json
import types

import pytest
import report_run
import tiny
from parsed import Parsed

from av_mae.prepare.check import page as check_page
from av_mae.prepare.check import result
from av_mae.report import gallery, page, table
from av_mae.tools import reconstruct

FILE = "\u202e<script>alert(\"1\"); '&amp;' \u05d0.mp4"  # a file's name can hold everything but /
NAME = FILE + "</script></main><u>"
# Where the direction of writing ends with the element: the last three by the style sheet, as
# blocks of their own, and outside of the page.
ISOLATED = {"bdi", "code", "pre", "title"}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, example):
    """A run that trained, was evaluated, and showed reconstructions twice."""
    workdir = tmp_path_factory.mktemp("runs") / FILE
    reporter = report_run.reporter(workdir)
    for step in (100, 200):
        report_run.train(reporter, step, 1.0)
        reporter.evaluation(step, {f"{NAME}/{NAME}": float(step)})
        reporter.gallery(step, NAME.replace("/", ""), [dataclasses.replace(example, title=NAME)])
    reporter.note(NAME)
    reporter.close()
    config = report_run.EXPERIMENT.to_dict()
    config |= {"dataset": {"path": FILE}, "init_from": {"path": FILE}}
    (workdir / "config.json").write_text(json.dumps(config))
    info = json.loads((workdir / "run.json").read_text())
    info["sessions"][0]["command"] = NAME
    info["sessions"].append(info["sessions"][0])
    (workdir / "run.json").write_text(json.dumps(info))
    return workdir


def check_names(path, *names):
    found = Parsed(path)
    assert not found.open
    assert len(found.all("script")) == 1
    assert not found.all("u")
    texts = [text for text, _ in found.texts]
    for name in names:
        assert any(name in text for text in texts), name
    outside = [(text, tag) for text, tag in found.texts if "\u202e" in text and tag not in ISOLATED]
    assert not outside
    return found


def test_report(workdir):
    found = check_names(page.write(workdir), FILE, NAME, f"pretrained: {FILE}")
    curves = [json.loads(a["data-chart"]) for a in found.all("div") if "data-chart" in a]
    assert any(series["label"].startswith(FILE) for curve in curves for series in curve)


def test_comparison(workdir, tmp_path):
    found = table.read([workdir, workdir])
    check_names(table.write_page(found, tmp_path / "all.html"), FILE, NAME, f"{NAME}/{NAME}")


def test_check(tmp_path):
    folder = tiny.write_records(tmp_path / FILE, train=4, val=2)
    info = json.loads((folder / "av_mae.json").read_text())
    info |= {"name": NAME, "labels": [NAME, "right"], "preprocessing": {NAME: NAME}}
    (folder / "av_mae.json").write_text(json.dumps(info))
    with open(folder / "rejected.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", "path", "reason"), (NAME, FILE, NAME)])
    (folder / f"{FILE}.tfrecord-00000-of-00001").touch()  # a finding

    outcome = result.check(folder)
    train = outcome.splits[0]
    shown = tuple(dataclasses.replace(clip, id=f"id {NAME}") for clip in train.shown)
    train = dataclasses.replace(train, name=f"split {NAME}", shown=shown)
    outcome = dataclasses.replace(outcome, splits=[train, *outcome.splits[1:]])
    check_page.write(outcome, tmp_path / "check.html")
    expected = (NAME, str(folder), f"id {NAME}", f"split {NAME}", "is not listed in")
    check_names(tmp_path / "check.html", *expected)


def test_reconstruction(tmp_path, example):
    named = dataclasses.replace(example, title=NAME)
    stored = gallery.write_example(tmp_path / FILE, named, None)
    model = types.SimpleNamespace(source=f"runs/{FILE}", step=7)
    check_names(reconstruct.write_page(tmp_path, model, [stored]), FILE, NAME)


def test_names_that_are_not_unicode_are_escaped(workdir, tmp_path):
    folder = tiny.write_records(tmp_path / "tiny", train=4, val=2)
    row = ("id,path,reason\n", "1,caf\udce9.mp4,caf\udce9\n")
    (folder / "rejected.csv").write_text("".join(row), errors="surrogateescape")
    check_page.write(result.check(folder), tmp_path / "check.html")
    assert "caf\\xe9" in Parsed(tmp_path / "check.html").text
