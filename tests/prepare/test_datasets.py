"""Lists of clips from folders and csv files."""

import os

import pytest

from av_mae.prepare import datasets
from av_mae.prepare.datasets import csv as csv_source
from av_mae.prepare.datasets import folder


def tree(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def listed(root, source=folder, **options):
    return source.clips(str(root), datasets.Options(**options))


def by_id(listing):
    return {entry.id: entry for entry in listing.entries}


def test_every_module_is_a_data_set_with_help():
    assert {"csv", "folder", "sample"} <= set(datasets.names())
    for name in datasets.names():
        module = datasets.find(name)
        assert module.__doc__ and callable(module.clips)


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(ValueError, match="--dataset=foldr is not known; did you mean 'folder'?"):
        datasets.find("foldr")


def test_class_folders_are_labels(tmp_path):
    root = tree(tmp_path, "dog/a.mp4", "dog/deep/b", "cat/c, ü.webm", "cat/.hidden", ".git/x")
    entries = by_id(listed(root, val_share=0.0))
    assert {id: entry.labels for id, entry in entries.items()} == {
        "dog/a.mp4": ("dog",),
        "dog/deep/b": ("dog",),
        "cat/c, ü.webm": ("cat",),
    }
    assert all(os.path.exists(entry.path) for entry in entries.values())


def test_folders_of_splits(tmp_path):
    root = tree(tmp_path, "train/dog/a", "validation/dog/b", "test/cat/c")
    entries = by_id(listed(root))
    assert {id: (entry.split, entry.labels) for id, entry in entries.items()} == {
        "train/dog/a": ("train", ("dog",)),
        "validation/dog/b": ("val", ("dog",)),
        "test/cat/c": ("test", ("cat",)),
    }


def test_splits_beside_other_folders_do_not_become_classes(tmp_path):
    root = tree(tmp_path, "Train/dog/a", "val/dog/b")
    assert {e.split for e in listed(root).entries} == {"train", "val"}
    with pytest.raises(ValueError, match="'Train', 'val' in .* look like splits, but 'notes' lies"):
        listed(tree(tmp_path, "notes/c"))


def test_a_train_may_be_a_class(tmp_path):
    entries = listed(tree(tmp_path, "train/a", "bus/b"), val_share=0.0).entries
    assert {entry.labels for entry in entries} == {("train",), ("bus",)}


def test_without_class_folders_clips_are_unlabelled(tmp_path):
    listing = listed(tree(tmp_path, "a", "b"))
    assert [entry.labels for entry in listing.entries] == [(), ()]
    assert not listing.refused


def test_files_beside_class_folders_have_no_class(tmp_path):
    listing = listed(tree(tmp_path, "dog/a", "notes.txt"))
    assert [refused.id for refused in listing.refused] == ["notes.txt"]
    assert "not in a class folder" in listing.refused[0].reason


def test_names_that_are_no_text(tmp_path):
    root = tree(tmp_path, "dog/" + os.fsdecode(b"\xff\xfe.mp4"))
    (entry,) = listed(root).entries
    entry.id.encode()
    assert os.path.exists(entry.path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.9])
def test_the_split_takes_its_share_of_every_class_and_is_always_the_same(tmp_path, share):
    root = tree(tmp_path, *(f"{c}/{i:03d}" for c in ("dog", "cat") for i in range(40)))
    entries = listed(root, val_share=share).entries
    for label in ("dog", "cat"):
        of_label = [entry for entry in entries if entry.labels == (label,)]
        assert len(of_label) == 40
        assert sum(entry.split == "val" for entry in of_label) == round(40 * share)
    assert by_id(listed(root, val_share=share)) == by_id(listed(root, val_share=share))


def test_small_classes_are_in_both_splits(tmp_path):
    entries = listed(tree(tmp_path, "dog/a", "dog/b", "cat/c"), val_share=0.1).entries
    assert sorted(e.split for e in entries if e.labels == ("dog",)) == ["train", "val"]
    assert [e.split for e in entries if e.labels == ("cat",)] == ["train"]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_senseless_share_is_refused(tmp_path, share):
    with pytest.raises(ValueError, match="--val_share is"):
        listed(tree(tmp_path, "dog/a"), val_share=share)


def test_a_folder_that_is_none_or_empty(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        listed(tmp_path / "absent")
    with pytest.raises(ValueError, match="no file in"):
        listed(tmp_path)


def csv_of(tmp_path, *lines, files=("a.mp4", "b.mp4", "c.mp4")):
    tree(tmp_path, *files)
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines), errors="surrogateescape")
    return path


def test_all_columns(tmp_path):
    path = csv_of(
        tmp_path,
        "file,labels,split,start,end",
        "a.mp4,dog;cat,train,1.5,2",
        "a.mp4,dog|cat,valid,2,",
        "b.mp4,dog,test,,",
    )
    first, second, third = listed(path, csv_source).entries
    assert first == datasets.Entry(
        "a.mp4@1.5-2", str(tmp_path / "a.mp4"), "a.mp4", "train", ("dog", "cat"), 1.5, 2.0
    )
    assert (second.id, second.split, second.start, second.end) == ("a.mp4@2-", "val", 2.0, None)
    assert (third.id, third.labels, third.start) == ("b.mp4", ("dog",), None)


def test_awkward_names_in_a_csv(tmp_path):
    name = 'name with spaces, comma & "ünïcode".mp4'
    path = csv_of(tmp_path, "path", '"' + name.replace('"', '""') + '"', files=[name])
    (entry,) = listed(path, csv_source, val_share=0.0).entries
    assert entry.id == name and os.path.exists(entry.path)


def test_a_byte_order_mark_and_blank_lines_are_skipped(tmp_path):
    path = csv_of(tmp_path, "\ufeffPath,Label", "", "a.mp4,dog", ",", "")
    assert len(listed(path, csv_source).entries) == 1


def test_paths_relative_to_another_folder(tmp_path):
    tree(tmp_path / "videos", "a.mp4")
    path = csv_of(tmp_path, "path", "a.mp4", files=())
    (entry,) = listed(path, csv_source, media=str(tmp_path / "videos")).entries
    assert entry.path == str(tmp_path / "videos" / "a.mp4") and entry.source == "a.mp4"


def test_rows_without_file_or_label_are_refused_one_by_one(tmp_path):
    path = csv_of(tmp_path, "path,label", "a.mp4,dog", "gone.mp4,dog", "b.mp4,")
    listing = listed(path, csv_source)
    assert [entry.id for entry in listing.entries] == ["a.mp4"]
    reasons = {refused.id: refused.reason for refused in listing.refused}
    assert reasons["gone.mp4"] == "file not found"
    assert reasons["b.mp4"].startswith("no label")


def test_ignored_columns(tmp_path):
    path = csv_of(tmp_path, "path,licence", "a.mp4,free")
    assert len(listed(path, csv_source, ignore_columns=("licence",)).entries) == 1


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "is empty; expected a header"),
        (["path,label"], "no rows below its header"),
        (["label", "dog"], "no column path"),
        (["path,lable", "a.mp4,dog"], "unknown columns: 'lable' .did you mean 'label'"),
        (["path,licence", "a.mp4,dog"], "--ignore_columns=licence"),
        (["path,file", "a.mp4,a.mp4"], "two columns for path"),
        (["path,label", "a.mp4"], "line 2: 1 cells, the header has 2"),
        (["path", "a.mp4", "b.mp4", "a.mp4"], "'a.mp4' is in line 2 and in line 4"),
        (["path,split", "a.mp4,"], "line 2: split '', expected train, val or test"),
        (["path,start", "a.mp4,soon"], "line 2: start 'soon', expected seconds"),
        (["path,start", "a.mp4,-1"], "line 2: start '-1', expected seconds"),
        (["path,start,end", "a.mp4,5,5"], "line 2: end 5 is not after start"),
        (["path,label", ",dog"], "line 2: the path is empty"),
        (["path", "x.mp4", "y.mp4"], "none of the 2 clips .* file not found .* --media"),
        (["path,label", "a.mp4,"], "none of the 1 clips .* fill in the labels"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        listed(csv_of(tmp_path, *lines), csv_source)


def test_a_csv_may_name_files_in_stores(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,split\na/b c.mp4,train\ngs://other/d.mp4,train\n")
    entries = listed(path, csv_source, media="s3://bucket/media").entries
    assert [(entry.path, entry.source) for entry in entries] == [
        ("s3://bucket/media/a/b c.mp4", "a/b c.mp4"),
        ("gs://other/d.mp4", "gs://other/d.mp4"),
    ]


def test_no_csv(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        listed(tmp_path / "absent.csv", csv_source)
