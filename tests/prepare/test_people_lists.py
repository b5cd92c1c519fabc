"""Lists and folders of the kinds that people report, against the clips that they name."""

import collections

import made_lists
import pytest

from av_mae.prepare.shards import settings


@pytest.fixture
def people(shared):
    return shared / "data" / "people"


@pytest.mark.parametrize(
    ("name", "labels", "note"),
    [
        ("videomae.csv", "012", "taken for path, label"),
        ("nohead.csv", "012", "taken for path, label"),
        ("semicolon.csv", "ab", "separated by semicolons"),
        ("tab.tsv", "ab", "separated by tabs"),
        ("utf16.csv", "ab", "read as UTF-16"),
        ("windows.csv", "ab", "12 paths are not written as on the disc"),
    ],
)
def test_lists_of_other_programs(people, name, labels, note):
    listing = made_lists.listed("csv", people / "lists" / name)
    found = {entry.source: entry.labels for entry in listing.entries}
    assert found == {f"v/c{i}.mp4": (labels[i % len(labels)],) for i in range(12)}
    assert settings.label_names(listing.entries, None) == tuple(labels)
    assert note in "\n".join(listing.notes)


@pytest.mark.parametrize(
    ("name", "labels"), [("index.csv", "a b"), ("pandas.csv", "1 2"), ("blanks.csv", "a,b, c")]
)
def test_columns_and_cells_of_other_programs(people, name, labels):
    entries = made_lists.listed("csv", people / "lists" / name).entries
    assert [e.source for e in entries] == ["v/c0.mp4", "v/c1.mp4"]
    labels = labels.split(",", 1) if "," in labels else labels.split()
    assert [e.labels for e in entries] == [(label,) for label in labels]
    assert all(e.start is None and e.end is None for e in entries)


@pytest.mark.parametrize(("name", "clips"), [("parts.csv", 30), ("overlap.csv", 108)])
def test_parts_of_a_file_are_in_one_split(people, name, clips):
    listing = made_lists.listed("csv", people / "lists" / name)
    splits = collections.defaultdict(set)
    for entry in listing.entries:
        splits[entry.path].add(entry.split)
    assert len(listing.entries) == clips and all(len(of) == 1 for of in splits.values())
    assert "parts of one recording would be in both splits" in "\n".join(listing.notes)


def test_names_of_splits(people):
    listing = made_lists.listed("csv", people / "lists" / "splitnames.csv")
    assert [entry.split for entry in listing.entries] == ["train", "train", "test", "eval", "val"]
    for folder, expected in (("splits", "train val test"), ("dash", "train val")):
        listing = made_lists.listed("folder", people / "folders" / folder)
        assert {(e.split, *e.labels) for e in listing.entries} == {
            (split, "a") for split in expected.split()
        }
        assert "'dev' is val" in listing.notes[0] or "'testing' is test" in listing.notes[0]
