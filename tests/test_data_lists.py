"""The lists of the public data sets become what `prepare` reads, and missing clips are counted."""

import csv
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "data" / "list_clips.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def write(folder: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def listed(tmp_path: pathlib.Path, source: str, *flags: object) -> list[dict[str, str]]:
    out = tmp_path / "out.csv"
    done = run(source, f"--lists={tmp_path}", f"--videos={tmp_path}/videos", f"--out={out}", *flags)
    assert done.returncode == 0, done.stderr
    with open(out, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def audioset(tmp_path) -> pathlib.Path:
    head = "# Segments csv\n# num\n# YTID, start_seconds, end_seconds, positive_labels\n"
    return write(
        tmp_path,
        {
            "class_labels_indices.csv": "index,mid,display_name\n"
            '0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n',
            "balanced_train_segments.csv": head
            + '-0RWZT-miFs, 420.000, 430.000, "/m/09x0r,/m/05zppz"\n',
            "unbalanced_train_segments.csv": head + 'aaaaaaaaaaa, 30.000, 40.000, "/m/09x0r"\n'
            'gone-gone--, 30.000, 40.000, "/m/09x0r"\n',
            "eval_segments.csv": head + 'bbbbbbbbbbb, 0.000, 10.000, "/m/05zppz"\n',
            "videos/-0RWZT-miFs.mp4": "",
            "videos/part/aaaaaaaaaaa_000030.mp4": "",
            "videos/bbbbbbbbbbb_0_10000.mkv": "",
        },
    )


def test_audioset_takes_whole_videos_and_cut_ones(audioset):
    rows = listed(audioset, "audioset", f"--labels_out={audioset}/labels.txt")
    assert rows == [
        {"path": "-0RWZT-miFs.mp4", "label": "Speech;Male speech, man speaking",
         "split": "train", "start": "420", "end": "430"},
        {"path": "part/aaaaaaaaaaa_000030.mp4", "label": "Speech",
         "split": "train", "start": "", "end": ""},
        {"path": "bbbbbbbbbbb_0_10000.mkv", "label": "Male speech, man speaking",
         "split": "test", "start": "", "end": ""},
    ]  # fmt: skip
    names = (audioset / "labels.txt").read_text().splitlines()
    assert names == ["Speech", "Male speech, man speaking"]


def test_audioset_can_be_cut_down_to_a_list_of_ids(audioset):
    (audioset / "ids.txt").write_text("aaaaaaaaaaa\n")
    rows = listed(audioset, "audioset", f"--ids={audioset}/ids.txt")
    assert [row["split"] for row in rows] == ["train", "test"]


def test_missing_clips_are_counted(audioset):
    flags = (f"--lists={audioset}", f"--videos={audioset}/videos", f"--out={audioset}/out.csv")
    assert run("audioset", *flags).stdout.startswith("4 listed, 3 found (2 train, 1 test)")


def test_vggsound_is_ten_seconds_from_the_start(tmp_path):
    write(
        tmp_path,
        {
            "vggsound.csv": '---g-f_I2yQ,1,"people marching",test\n'
            '--0PQM4-hqg,30,"waterfall burbling",train\n',
            "videos/---g-f_I2yQ_000001.mp4": "",
            "videos/--0PQM4-hqg.webm": "",
        },
    )
    assert listed(tmp_path, "vggsound") == [
        {"path": "---g-f_I2yQ_000001.mp4", "label": "people marching", "split": "test",
         "start": "", "end": ""},
        {"path": "--0PQM4-hqg.webm", "label": "waterfall burbling", "split": "train",
         "start": "30", "end": "40"},
    ]  # fmt: skip


def test_ucf101_keeps_whole_groups_for_validation(tmp_path):
    clips = [f"Archery/v_Archery_g{group:02d}_c01.avi" for group in (1, 8, 10, 11)]
    write(
        tmp_path,
        {
            "trainlist01.txt": "".join(f"{clip} 3\n" for clip in clips[1:]),
            "testlist01.txt": f"{clips[0]}\n\n",
            **{f"videos/{clip}": "" for clip in clips},
        },
    )
    assert [r["split"] for r in listed(tmp_path, "ucf101")] == ["val", "val", "train", "test"]
    flags = ("ucf101", "--no_val")
    assert [r["split"] for r in listed(tmp_path, *flags)] == ["train", "train", "train", "test"]


def test_kinetics_takes_whole_videos_and_cut_ones(tmp_path):
    head = "label,youtube_id,time_start,time_end,split\n"
    write(
        tmp_path,
        {
            "train.csv": f"{head}testifying,---QUuC4vJs,84,94,train\n"
            '"eating, slowly",--3ouPhoy2A,20,30,train\ngone,gone-gone--,1,11,train\n',
            "validate.csv": f"{head}washing feet,--07WQ2iBlw,1,11,validate\n",
            "videos/testifying/---QUuC4vJs_000084_000094.mp4": "",
            "videos/--3ouPhoy2A.webm": "",
            "videos/val/--07WQ2iBlw_000001_000011.mp4": "",
        },
    )
    assert [tuple(row.values()) for row in listed(tmp_path, "kinetics400")] == [
        ("testifying/---QUuC4vJs_000084_000094.mp4", "testifying", "train", "", ""),
        ("--3ouPhoy2A.webm", "eating, slowly", "train", "20", "30"),
        ("val/--07WQ2iBlw_000001_000011.mp4", "washing feet", "val", "", ""),
    ]
    (tmp_path / "validate.csv").rename(tmp_path / "val.csv")
    assert len(listed(tmp_path, "kinetics400")) == 3
    (tmp_path / "val.csv").unlink()
    flags = (f"--lists={tmp_path}", f"--videos={tmp_path}/videos", f"--out={tmp_path}/out.csv")
    assert "holds none of validate.csv, val.csv" in run("kinetics400", *flags).stderr


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_something_something_is_labelled_by_templates(tmp_path, prefix):
    clips = '[{"id": "%s", "template": "Moving [something] up"}, {"id": "9", "template": "x"}]'
    write(
        tmp_path,
        {
            f"{prefix}labels.json": '{"Moving something up": "1", "Closing something": "0"}',
            f"{prefix}train.json": clips % 7,
            f"{prefix}validation.json": clips % 8,
            "videos/7.webm": "",
            "videos/8.webm": "",
        },
    )
    rows = listed(tmp_path, "ssv2", f"--labels_out={tmp_path}/labels.txt")
    assert [(r["path"], r["label"], r["split"]) for r in rows] == [
        ("7.webm", "Moving something up", "train"),
        ("8.webm", "Moving something up", "val"),
    ]
    names = (tmp_path / "labels.txt").read_text().splitlines()
    assert names == ["Closing something", "Moving something up"]


def test_hmdb51_keeps_whole_videos_for_validation(tmp_path):
    clips = [f"video{i}_brush_hair_u_nm_np1_ba_goo_{k}.avi" for i in range(40) for k in (0, 1)]
    lines = [f"{clip} {1 if i < 60 else 2} \n" for i, clip in enumerate(clips)]
    write(
        tmp_path,
        {
            "brush_hair_test_split1.txt": "".join(lines) + "elsewhere_brush_hair_u_0.avi 0 \n",
            "brush_hair_test_split2.txt": "other.avi 1 \n",
            **{f"videos/brush_hair/{clip}": "" for clip in clips},
        },
    )
    rows = listed(tmp_path, "hmdb51")
    split_of = {r["path"].split("/")[1]: r["split"] for r in rows}
    assert set(split_of) == set(clips) and {r["label"] for r in rows} == {"brush_hair"}
    assert {split_of[c] for c in clips[60:]} == {"test"}
    assert set(split_of.values()) == {"train", "val", "test"}
    assert all(split_of[a] == split_of[b] for a, b in zip(clips[::2], clips[1::2], strict=True))
    whole = listed(tmp_path, "hmdb51", "--no_val")
    assert [r["split"] for r in whole] == ["train"] * 60 + ["test"] * 20


def test_grid_names_spell_the_digit(tmp_path):
    write(tmp_path, {f"videos/{name}.mpg": "" for name in ("bbaf2n", "bbafzn", "zzzz1n")})
    rows = listed(tmp_path, "grid")
    assert [(r["path"], r["label"]) for r in rows] == [
        ("bbaf2n.mpg", "two"),
        ("bbafzn.mpg", "zero"),
    ]
    assert rows[0]["split"] == rows[1]["split"]


def test_lists_agree_with_those_of_the_media_that_tests_use(shared, tmp_path):
    out = tmp_path / "grid.csv"
    done = run("grid", f"--videos={shared}/data/grid/mouth", f"--out={out}")
    assert done.stdout.startswith("1,000 listed, 1,000 found"), done.stderr
    with open(out, newline="") as ours, open(shared / "data/grid/labels_digit.csv") as theirs:
        mine = {(r["path"], r["label"], r["split"]) for r in csv.DictReader(ours)}
        assert mine == {(r["file"], r["label"], r["split"]) for r in csv.DictReader(theirs)}


def test_what_is_missing_is_said_in_a_sentence(tmp_path):
    (tmp_path / "videos").mkdir()
    flags = (f"--videos={tmp_path}/videos", f"--out={tmp_path}/out.csv")
    assert "vggsound needs its lists" in run("vggsound", *flags).stderr
    assert "no media files below" in run("grid", *flags).stderr
    write(tmp_path, {"videos/unknown.mp4": ""})
    assert "none of 1 listed clips" in run("grid", *flags).stderr
