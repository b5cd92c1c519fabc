"""A data set is one file: the one that CONTRIBUTING.md shows is prepared by its name."""

import pathlib
import sys
import textwrap

import made_media
import pytest

from av_mae.input import records
from av_mae.prepare import datasets
from av_mae.prepare.check import result
from av_mae.prepare.shards import build

CONTRIBUTING = pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The example as a module among the data sets, and its source with three of four clips."""
    section = CONTRIBUTING.read_text().partition("## A data set")[2].partition("\n## ")[0]
    code = section.partition("```python\n")[2].partition("   ```")[0]
    modules, source = tmp_path / "modules", tmp_path / "source"
    modules.mkdir()
    (modules / "toy.py").write_text(textwrap.dedent(code))
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(modules)])
    source.mkdir()
    rows = ["clip,split,word", "a,train,yes", "b,train,no", "c,test,no", "gone,test,yes"]
    (source / "toy.csv").write_text("\n".join(rows))
    for number, name in enumerate("abc"):
        path = source / f"any folder {number}" / f"{name}.mkv"
        path.parent.mkdir()
        made_media.write(path, [made_media.picture(5 * number + i) for i in range(15)])
    yield source
    vars(datasets).pop("toy", None)
    sys.modules.pop("av_mae.prepare.datasets.toy", None)


def test_one_file_makes_a_data_set_with_name_help_and_arguments(toy, tmp_path):
    assert datasets.summary("toy") == (
        "toy: Toy: toy.csv with columns clip, split and word, and videos named after the clips.\n"
        "  toy:word=all|yes|no"
    )
    listing = datasets.clips("toy", str(toy), datasets.Options())
    assert [clip.reason for clip in listing.refused] == ["file not found: 'gone'"]
    build.build(listing, tmp_path / "out", made_media.SETTINGS, labels=listing.labels)
    info = records.Info.load(tmp_path / "out")
    assert info.labels == ("no", "yes")
    assert {name: split.clips for name, split in info.splits.items()} == {"train": 2, "test": 1}
    checked = result.check(tmp_path / "out")
    assert checked.ok and "fewer than published" in checked.findings.kinds

    chosen = datasets.clips("toy:word=no", str(toy), datasets.Options())
    assert [entry.id for entry in chosen.entries] == ["b", "c"]
