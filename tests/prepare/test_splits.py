"""Which split a clip is in: by the names that people give them, and by our own share."""

import collections
import dataclasses
import re
import unicodedata

import made_lists
import pytest

from av_mae.prepare.lists import listing, splits


def tree(root, *files):
    return made_lists.write(root, dict.fromkeys(files, ""))


def entries(*parts, label=lambda file: (file[0],)):
    """Clips from (file, number of its parts)."""
    return [
        listing.Entry(f"{file}@{i}", f"/media/{file}", file, "train", label(file))
        for file, count in parts
        for i in range(count)
    ]


def share(found):
    return sum(entry.split == "val" for entry in found) / len(found)


def files_in_both(found):
    of = collections.defaultdict(set)
    for entry in found:
        of[entry.path].add(entry.split)
    return [file for file, splits in of.items() if len(splits) > 1]


@pytest.mark.parametrize("wanted", [0.1, 0.3, 0.5])
def test_parts_of_a_file_stay_together_and_every_label_has_its_share(wanted):
    clips = entries(*((f"{label}{i}", 1 + 3 * i % 7) for label in "ab" for i in range(40)))
    found, (told,) = splits.split_off(clips, wanted)
    assert not files_in_both(found)
    for label in "ab":
        assert share([e for e in found if e.labels == (label,)]) == pytest.approx(wanted, abs=0.02)
    assert "hold several clips each: those of one file are in one split" in told
    assert found == splits.split_off(clips, wanted)[0]
    assert [dataclasses.replace(e, split="train") for e in found] == clips


@pytest.mark.parametrize("parts", [False, True])
def test_val_and_test_have_their_shares_of_every_label(parts):
    clips = entries(
        *((f"{label}{i:02d}", 1 + parts * (i % 3)) for label in "ab" for i in range(40))
    )
    found, told = splits.split_off(clips, 0.2, 0.25)
    assert not files_in_both(found)
    for label in "ab":
        own = collections.Counter(e.split for e in found if e.labels == (label,))
        assert own["val"] / own.total() == pytest.approx(0.2, abs=0.02)
        assert own["test"] / own.total() == pytest.approx(0.25, abs=0.02)
    if parts:
        assert "25% of all clips in test and 20% of all clips in val" in told[0]


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="--test_share is 1.0, expected 0 <= share < 1"):
        splits.split_off(entries(("a", 1)), 0.1, 1.0)
    with pytest.raises(ValueError, match="--val_share 0.5 and --test_share 0.5 leave nothing"):
        splits.split_off(entries(("a", 1)), 0.5, 0.5)


def test_labels_that_share_files_are_split_together():
    clips = [
        dataclasses.replace(entry, labels=(label,))
        for label in "abc"
        for entry in entries(*((f"film{i}", 5) for i in range(20)))
    ]
    clips = [dataclasses.replace(e, id=f"{e.id}{e.labels[0]}") for e in clips]
    found, _ = splits.split_off(clips, 0.1)
    assert not files_in_both(found) and share(found) == pytest.approx(0.1)


def test_every_label_stays_in_training_and_labels_of_two_files_are_in_both():
    found, _ = splits.split_off(entries(("a1", 9), ("a2", 9), ("b1", 9), ("c1", 1)), 0.1)
    of = collections.Counter((entry.labels[0], entry.split) for entry in found)
    assert of == {("a", "train"): 9, ("a", "val"): 9, ("b", "train"): 9, ("c", "train"): 1}


def test_unlabelled_parts_have_a_file_for_each_split():
    found, _ = splits.split_off(entries(("x", 9), ("y", 30), label=lambda _: ()), 0.1)
    assert {entry.path: entry.split for entry in found} == {"/media/x": "val", "/media/y": "train"}


def test_parts_of_one_recording_are_not_in_two_splits_and_it_is_said():
    for clips, where in (
        (entries(("a", 30)), "one file"),
        (entries(("a", 9), ("b", 9)), "2 files, of which no two share a label"),
    ):
        found, (told,) = splits.split_off(clips, 0.1)
        assert {entry.split for entry in found} == {"train"}
        assert f"are parts of {where}: none is in val" in told and "a column split" in told


def test_a_file_is_one_by_whatever_name(tmp_path):
    tree(tmp_path, "v/a.mp4", "v/b.mp4")
    (tmp_path / "w").symlink_to("v")
    (tmp_path / "c.mp4").symlink_to("v/a.mp4")
    names = ["v/a.mp4", "w/a.mp4", "v/../v/a.mp4", "c.mp4", "v\\a.mp4", "v/b.mp4"]
    rows = "".join(f"{name},{i},{i + 1}\n" for i, name in enumerate(names))
    made_lists.write(tmp_path, {"list.csv": f"path,start,end\n{rows}"})
    for part in (0.1, 0.5):
        found = made_lists.listed("csv", tmp_path / "list.csv", val_share=part).entries
        assert len({entry.split for entry in found[:5]}) == 1
        assert {entry.split for entry in found} == {"train", "val"}


def test_the_split_of_files_of_their_own_is_what_it_always_was():
    clips = entries(*((f"{label}{i:02d}", 1) for label in "ab" for i in range(30)))
    found, told = splits.split_off(clips, None)
    val = [entry.source for entry in found if entry.split == "val"]
    assert val == ["a19", "a21", "a28", "b07", "b12", "b25"] and not told


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("train validation test", "train val test"),
        ("Training VALID Testing", "train val test"),
        ("train_set,Val Set,test-split", "train val test"),
        ("trainset dev testset", "train val test"),
        ("train eval", "train val"),
        ("train eval test", "train val test"),
        ("train dev eval", "train val test"),
        ("train val eval", "train val test"),
        ("train val dev test", "train val dev test"),
        ("train val test eval", "train val test eval"),
        ("training testing eval dev", "train test eval val"),
        ("train videos,validation clips,Test Data", "train val test"),
        ("train holdout extra fold1", "train holdout extra fold1"),
    ],
)
def test_split_names_are_what_they_say_and_two_are_never_joined(tmp_path, names, expected):
    names = names.split("," if "," in names else None)
    rows = "".join(f"{i}.mp4,{name}\n" for i, name in enumerate(names))
    tree(tmp_path, *(f"{i}.mp4" for i in range(len(names))))
    made_lists.write(tmp_path, {"list.csv": f"path,split\n{rows}"})
    found = made_lists.listed("csv", tmp_path / "list.csv")
    assert [entry.split for entry in found.entries] == expected.split()
    changed = [f"{a!r} is {b}" for a, b in zip(names, expected.split(), strict=True) if a != b]
    assert found.notes == ((f"names of splits: {', '.join(changed)}",) if changed else ())
    others = [name for name in expected.split() if name not in splits.READ]
    for name, said in zip(others, splits.unread(found.entries), strict=True):
        assert f"split {name!r} (1 clips) is not train, val or test" in said
        assert f"dataset.train={name}" in said


def in_folders(root):
    found = made_lists.listed("folder", root, val_share=0.0)
    return {e.id: (e.split, *e.labels) for e in found.entries}, "\n".join(found.notes)


def test_folders_of_splits_by_other_names(tmp_path):
    tree(tmp_path, "Training/dog/a", "dev/dog/b", "testing/cat/c", "read me.txt")
    assert in_folders(tmp_path) == (
        {
            "Training/dog/a": ("train", "dog"),
            "dev/dog/b": ("val", "dog"),
            "testing/cat/c": ("test", "cat"),
        },
        "names of splits: 'Training' is train, 'dev' is val, 'testing' is test",
    )


def test_splits_inside_of_every_class(tmp_path):
    tree(tmp_path, "dog/train/a", "dog/test/b", "cat/train/c", "cat/train/d/e")
    found, said = in_folders(tmp_path)
    assert found == {
        "dog/train/a": ("train", "dog"),
        "dog/test/b": ("test", "dog"),
        "cat/train/c": ("train", "cat"),
        "cat/train/d/e": ("train", "cat"),
    }
    assert "splits are the folders test and train in each class" in said
    found, said = in_folders(tree(tmp_path, "cat/f", "notes.txt"))
    assert {split for split, _ in found.values()} == {"train"}
    assert "folders such as 'test' in those of the classes are not taken for splits" in said


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("test/a", "dog/b"), "folder 'test' is taken for a class, since 'dog' is no split"),
        (("fold1/dog/a", "fold1/cat/b", "fold2/dog/c", "fold2/cat/d"),
         "fold1 and fold2 hold the same folders and are taken for classes"),
        (("dog/train/a", "cat/train/b"), "'train' .* since they are the only ones"),
        (("videos/dog/a", "videos/cat/b"), "of the class 'videos'; if that .*'dog', give"),
        (("dog/1/a", "cat/2/b"), "^$"),
        (("dog/a", "cat/b"), "^$"),
    ],
)  # fmt: skip
def test_what_a_folder_is_taken_for_is_said_where_it_is_not_plain(tmp_path, files, said):
    assert re.search(said, in_folders(tree(tmp_path, *files))[1])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("train2017/dog/a", "val2017/dog/b"),
            "train2017 and val2017 in .* look like splits",
        ),
        (
            ("dev-clean/a/b", "train_1/a/b"),
            "dev-clean and train_1 in .* look like splits",
        ),
        (
            ("all/train/dog/a", "all/val/dog/b"),
            "train and val in .*all look like splits; give",
        ),
    ],
)
def test_folders_that_are_likely_splits_are_asked_about(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        in_folders(tree(tmp_path, *files))


def test_links_to_folders_above_are_not_followed_round_and_others_are(tmp_path):
    root = tree(tmp_path / "root", "dog/a", "dog/.kept/x", "cat/deep/b")
    tree(tmp_path / "more", "c")
    for link, target in (
        ("dog/up", ".."), ("dog/top", "../.."), ("cat/self", "."), ("a_dog", "dog"),
        ("bird", "../more"), ("hidden", "dog/.kept"), ("cat/bird", "../../more"),
    ):  # fmt: skip
        (root / link).symlink_to(target)
    found, said = in_folders(root)
    assert found.keys() - {"bird/c", "cat/bird/c"} == {"dog/a", "cat/deep/b", "hidden/x"}
    assert len(found) == 4
    assert "2 links to folders are followed" in said
    assert "5 links to folders are left out, since these are read under another name" in said


def test_class_folders_in_two_spellings_are_one_class(tmp_path):
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    tree(tmp_path, *(f"{name}/{len(name)}{i}" for name in names for i in range(5)))
    found = made_lists.listed("folder", tmp_path)
    assert {entry.labels for entry in found.entries} == {(names[0],)}
    assert sum(entry.split == "val" for entry in found.entries) == 1
