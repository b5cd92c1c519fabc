"""Data sets of short clips of actions and speech, from miniatures of their official lists."""

import csv
import itertools
import json
import os
import pathlib
import subprocess
import sys

import made_media
import pytest
from made_lists import listed, write

from av_mae.input import records

ROOT = pathlib.Path(__file__).parents[2]


def splits(listing):
    return {entry.id: entry.split for entry in listing.entries}


# A part of the official order, which is not that of `sorted`: small letters come with capitals.
UCF101_CLASSES = ["Archery", "HammerThrow", "Hammering", "HandstandPushups", "JumpRope"]
UCF101_ORDER = ["Archery", "Hammering", "HammerThrow", "HandstandPushups", "JumpRope"]


def ucf101(folder, classes=UCF101_ORDER):
    """The three splits, 25 groups a class, of one clip each; lines end as in published files."""
    clips = {
        (name, group): f"{name}/v_{name.replace('Handstand', 'HandStand')}_g{group:02d}_c01.avi"
        for name in classes
        for group in range(1, 26)
    }
    files = {"classInd.txt": "".join(f"{i} {name}\r\n" for i, name in enumerate(classes, 1))}
    for split in (1, 2, 3):
        tested = range(7 * split - 6, 7 * split + 1)
        files[f"testlist0{split}.txt"] = "".join(
            f"{clip}\r\n" for (_, group), clip in clips.items() if group in tested
        )
        files[f"trainlist0{split}.txt"] = "".join(
            f"{clip} {classes.index(name) + 1}\r\n"
            for (name, group), clip in clips.items()
            if group not in tested
        )
    write(folder, {f"ucfTrainTestlist/{name}": text for name, text in files.items()})
    return write(folder, {f"UCF-101/{clip}": "" for clip in clips.values()})


@pytest.mark.parametrize(
    "split, held_out, tested", [(1, {8, 9, 10}, 1), (2, {1, 2, 3}, 8), (3, {1, 2, 3}, 15)]
)
def test_ucf101_has_three_splits_and_holds_out_whole_groups(tmp_path, split, held_out, tested):
    listing = listed(f"ucf101:split={split}", ucf101(tmp_path))
    groups = {name: {int(id[-10:-8]) for id, s in splits(listing).items() if s == name}
              for name in ("train", "val", "test")}  # fmt: skip
    assert groups["val"] == held_out
    assert groups["test"] == set(range(tested, tested + 7))
    assert groups["train"] == set(range(1, 26)) - groups["val"] - groups["test"]
    assert listing.published == 13_320 and sum(listing.listed.values()) == 125
    everything = listed(f"ucf101:split={split},val=false", tmp_path)
    assert set(splits(everything).values()) == {"train", "test"}


def test_ucf101_is_labelled_in_the_order_of_its_own_index(tmp_path):
    listing = listed("ucf101", ucf101(tmp_path))
    assert list(listing.labels) == UCF101_ORDER != sorted(UCF101_CLASSES)
    assert {e.labels[0] for e in listing.entries} == set(UCF101_CLASSES)
    entry = listing.entries[0]
    assert entry.id == "Archery/v_Archery_g08_c01.avi"
    assert entry.source == "UCF-101/Archery/v_Archery_g08_c01.avi"


def test_ucf101_is_found_however_handstand_pushups_are_spelled_and_whatever_the_suffix(tmp_path):
    ucf101(tmp_path)
    for path in list((tmp_path / "UCF-101").rglob("v_HandStand*")):
        folder = tmp_path / "frames/HandStandPushups"
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name.replace("HandStand", "Handstand").replace(".avi", ".mp4"))
    text = (tmp_path / "ucfTrainTestlist/classInd.txt").read_text()
    write(tmp_path, {"ucfTrainTestlist/classInd.txt": text.replace("Handstand", "HandStand")})
    listing = listed("ucf101", tmp_path)
    assert len(listing.entries) == 125 and listing.labels[3] == "HandStandPushups"


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("classInd.txt", "ApplyEyeMakeup\n", "'ApplyEyeMakeup' is not a number and a class"),
        ("classInd.txt", "1 HammerThrow\n2 Archery\n", "does not agree with classInd.txt"),
        ("testlist01.txt", "Yodeling/v_Yodeling_g01_c01.avi\n", "does not agree with classInd"),
        ("classInd.txt", "1 Archery\n2 Archery\n", "names the class 'Archery' twice"),
    ],
)
def test_lists_of_ucf101_that_contradict_each_other_are_refused(tmp_path, name, text, message):
    write(ucf101(tmp_path), {f"ucfTrainTestlist/{name}": text})
    with pytest.raises(ValueError, match=message):
        listed("ucf101", tmp_path)


def test_ucf101_agrees_with_the_real_clips_that_tests_use(shared, tmp_path):
    with open(shared / "data/ucf101/labels_all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {pathlib.Path(row["file"]).with_suffix(".avi"): row for row in rows}
    clips = {f"{row['label']}/{path.name}": row for path, row in names.items()}
    classes = sorted({row["label"] for row in rows}, key=str.lower)
    lines = {"train": "", "test": ""}
    for clip, row in clips.items():
        number = f" {classes.index(row['label']) + 1}" if row["split"] != "test" else ""
        lines["test" if row["split"] == "test" else "train"] += f"{clip}{number}\n"
    write(
        tmp_path,
        {
            "classInd.txt": "".join(f"{i} {name}\n" for i, name in enumerate(classes, 1)),
            "trainlist01.txt": lines["train"],
            "testlist01.txt": lines["test"],
        },
    )
    listing = listed("ucf101", tmp_path, media=str(shared / "data/ucf101"))
    assert splits(listing) == {clip: row["split"] for clip, row in clips.items()}
    assert {e.id: e.source for e in listing.entries} == {c: r["file"] for c, r in clips.items()}


def test_ucf101_from_its_archives_to_records_by_one_command(tmp_path):
    ucf101(tmp_path, ["Archery", "Hammering", "HammerThrow"])
    for i, group in itertools.product(("Hammering", "HammerThrow"), (1, 8, 11)):
        path = tmp_path / f"UCF-101/{i}/v_{i}_g{group:02d}_c01.avi"
        made_media.write(path, [made_media.picture(group)] * 25)
    for path in (tmp_path / "UCF-101").rglob("*.avi"):
        if not path.stat().st_size:
            path.unlink()
    done = subprocess.run(
        [
            sys.executable, "-m", "av_mae.prepare", "--dataset=ucf101:val=false", "--workers=1",
            f"--source={tmp_path}", f"--out={tmp_path}/records", "--short_side=48",
        ],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    info = records.Info.load(tmp_path / "records")
    assert info.labels == ("Archery", "Hammering", "HammerThrow")
    assert {name: split.clips for name, split in info.splits.items()} == {"train": 4, "test": 2}
    assert info.counts["listed"] == {"train": 54, "test": 21}
    assert info.counts["published"] == 13_320
    assert "69 x file not found" in done.stdout


def hmdb51(folder):
    """Two classes, three splits; forty videos a class, two clips of each."""
    files = {}
    for label, split in itertools.product(("brush_hair", "cartwheel"), (1, 2, 3)):
        clips = [f"#{i}_Video_{label}_u_nm_np1_ba_goo_{k}.avi" for i in range(40) for k in (0, 1)]
        lines = [f"{c} {1 if (i + 20 * split) % 80 < 60 else 2} \n" for i, c in enumerate(clips)]
        extra = f"(2003)_elsewhere_{label}_u_0.avi 0 \n"
        files[f"testTrainMulti_7030_splits/{label}_test_split{split}.txt"] = "".join(lines) + extra
        files |= {f"hmdb51_org/{label}/{clip}": "" for clip in clips}
    return write(folder, files)


def test_hmdb51_has_three_splits_and_keeps_whole_videos_for_validation(tmp_path):
    hmdb51(tmp_path)
    tested = []
    for split in (1, 2, 3):
        listing = listed(f"hmdb51:split={split}", tmp_path)
        assert listing.labels == ("brush_hair", "cartwheel") and listing.published == 5_100
        found = splits(listing)
        assert set(found.values()) == {"train", "val", "test"} and len(found) == 160
        assert not listing.refused  # clips with id 0 are in neither
        for id, name in found.items():
            assert found[id.replace("goo_0", "goo_1")] == name
        tested.append(frozenset(id for id, name in found.items() if name == "test"))
        whole = splits(listed(f"hmdb51:split={split},val=false", tmp_path))
        assert list(whole.values()).count("train") == 120
    assert len(set(tested)) == 3


def test_a_list_of_hmdb51_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\*_test_split1.txt is not in .* get it from https://"):
        listed("hmdb51", tmp_path)
    write(hmdb51(tmp_path), {"testTrainMulti_7030_splits/cartwheel_test_split1.txt": "a.avi 3\n"})
    with pytest.raises(ValueError, match="'a.avi 3' is not the name of a file and 0, 1 or 2"):
        listed("hmdb51", tmp_path)


def ssv2(folder, prefix="something-something-v2-"):
    def clip(id, template):
        return {"id": id, "label": "moving a cup up", "template": template, "placeholders": []}

    lists = {
        "labels": {"Closing something": "1", "Moving something up": "2", "Zipping": "0"},
        "train": [clip("78687", "Moving [something] up"), clip("9", "Closing [something]")],
        "validation": [clip("42", "Moving [something] up")],
        "test": [{"id": "1420"}],
    }
    write(folder, {f"labels/{prefix}{name}.json": json.dumps(of) for name, of in lists.items()})
    return write(folder, {"20bn/shard-3/78687.webm": "", "20bn/shard-1/42.webm": ""})


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_something_something_is_labelled_by_templates_in_the_order_of_their_numbers(
    tmp_path, prefix
):
    listing = listed("ssv2", ssv2(tmp_path, prefix))
    assert [(e.id, e.source, e.split, e.labels[0]) for e in listing.entries] == [
        ("78687", "20bn/shard-3/78687.webm", "train", "Moving something up"),
        ("42", "20bn/shard-1/42.webm", "val", "Moving something up"),
    ]
    assert listing.labels == ("Zipping", "Closing something", "Moving something up")
    assert listing.listed == {"train": 2, "val": 1} and listing.published == 193_690


def test_lists_of_something_something_that_are_damaged_are_reported(tmp_path):
    path = ssv2(tmp_path) / "labels/something-something-v2-train.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match="train.json is cut off or no JSON"):
        listed("ssv2", tmp_path)
    path.write_text('[{"id": "7", "template": "Juggling [something]"}]')
    with pytest.raises(ValueError, match=r"clip 7 has the template 'Juggling \[something\]', whi"):
        listed("ssv2", tmp_path)


def test_names_of_grid_spell_its_words(tmp_path):
    write(tmp_path, {f"s1/{name}.mpg": "" for name in ("bbaf2n", "bbafzn", "zzzz1n", "lwws9a")})
    listing = listed("grid", tmp_path)
    assert [(e.id, e.labels, e.split) for e in listing.entries] == [
        ("s1/bbaf2n.mpg", ("two",), "val"),
        ("s1/bbafzn.mpg", ("zero",), "val"),
        ("s1/lwws9a.mpg", ("nine",), "train"),
    ]
    assert [refused.id for refused in listing.refused] == ["s1/zzzz1n.mpg"]


def test_two_talkers_of_grid_are_refused(tmp_path):
    write(tmp_path, {"s1/bbaf2n.mpg": "", "s2/bbaf2n.mpg": ""})
    with pytest.raises(ValueError, match="are the same sentence; give --source the folder of one"):
        listed("grid", tmp_path)
    with pytest.raises(ValueError, match="is named after a sentence"):
        listed("grid", tmp_path / "s1", media=str(write(tmp_path, {"x/other.mpg": ""}) / "x"))


@pytest.mark.parametrize("word", ["digit", "command", "color", "preposition", "letter", "adverb"])
def test_grid_agrees_with_the_real_clips_that_tests_use(shared, word):
    listing = listed(f"grid:word={word}", shared / "data/grid/mouth")
    with open(shared / f"data/grid/labels_{word}.csv", newline="") as file:
        rows = {(row["file"], row["label"], row["split"]) for row in csv.DictReader(file)}
    assert {(e.id, e.labels[0], e.split) for e in listing.entries} == rows and len(rows) == 1000
