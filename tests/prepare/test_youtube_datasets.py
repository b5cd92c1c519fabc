"""Data sets of pieces of YouTube videos, from miniatures of their official lists."""

import made_media
import numpy as np
import pytest
from made_lists import listed, write

from av_mae.input import records
from av_mae.prepare import datasets
from av_mae.prepare.datasets import audioset
from av_mae.prepare.shards import build


def shown(listing):
    """(id, source, split, labels, start, end) of every clip."""
    return [(e.id, e.source, e.split, e.labels, e.start, e.end) for e in listing.entries]


VGGSOUND = {
    "vggsound.csv": '---g-f_I2yQ,1,"female speech, woman speaking",test\n'
    "--0PQM4-hqg,30,waterfall burbling,train\n--56QUhyDQM,185,playing tennis,train\n",
    "videos/---g-f_I2yQ_000001.mp4": "",
    "videos/--0PQM4-hqg.webm": "",
}


def test_vggsound_is_ten_seconds_from_the_start(tmp_path):
    listing = listed("vggsound", write(tmp_path, VGGSOUND))
    speech, water = ("female speech, woman speaking",), ("waterfall burbling",)
    assert shown(listing) == [
        ("---g-f_I2yQ_000001_000011", "videos/---g-f_I2yQ_000001.mp4", "test", speech, None, None),
        ("--0PQM4-hqg_000030_000040", "videos/--0PQM4-hqg.webm", "train", water, 30.0, 40.0),
    ]
    assert listing.labels == (*speech, "playing tennis", *water)
    assert listing.listed == {"test": 1, "train": 2}
    assert [refused.id for refused in listing.refused] == ["--56QUhyDQM_000185_000195"]


def test_files_named_by_the_id_may_be_cut_already(tmp_path):
    listing = listed("vggsound:whole=false", write(tmp_path, VGGSOUND))
    assert listing.entries[1].start is None


@pytest.mark.parametrize("kind", ["video", "sound"])
def test_the_sound_alone_may_be_taken(tmp_path, kind):
    listing = listed(f"vggsound:kind={kind}", write(tmp_path, VGGSOUND))
    assert {entry.kind for entry in listing.entries} == {kind}
    assert listed("vggsound", tmp_path).entries[0].kind == "video"


HEAD = (
    "# Segments csv created Sun Mar  5 10:54:25 2017\n"
    "# num_ytids={0}, num_segs={0}, num_unique_labels=3, num_positive_labels=9\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
)
AUDIOSET = {
    "class_labels_indices.csv": 'index,mid,display_name\n0,/m/09x0r,"Speech"\n'
    '1,/m/05zppz,"Male speech, man speaking"\n2,/t/dd00002,"Baby cry, infant cry"\n',
    "balanced_train_segments.csv": HEAD.format(1)
    + '-0RWZT-miFs, 420.000, 430.000, "/m/09x0r,/m/05zppz"\n',
    "unbalanced_train_segments.csv": HEAD.format(2)
    + 'aaaa_aaaaaa, 30.000, 40.000, "/t/dd00002"\ngone-gone--, 30.000, 37.000, "/m/09x0r"\n',
    "eval_segments.csv": HEAD.format(1) + 'bbbbbbbbbbb, 0.000, 10.000, "/m/05zppz"\n',
    "videos/-0RWZT-miFs.mp4": "",
    "videos/part/aaaa_aaaaaa_000030.mp4": "",
    "videos/bbbbbbbbbbb_0_10000.mkv": "",
}
BABY, MAN = "Baby cry, infant cry", "Male speech, man speaking"


def test_audioset_has_several_labels_a_clip_in_the_order_of_google(tmp_path):
    listing = listed("audioset", write(tmp_path, AUDIOSET))
    both = ("Speech", MAN)
    assert shown(listing) == [
        ("-0RWZT-miFs_000420_000430", "videos/-0RWZT-miFs.mp4", "train", both, 420.0, 430.0),
        ("aaaa_aaaaaa_000030_000040", "videos/part/aaaa_aaaaaa_000030.mp4",
         "train", (BABY,), None, None),
        ("bbbbbbbbbbb_000000_000010", "videos/bbbbbbbbbbb_0_10000.mkv", "test", (MAN,), None, None),
    ]  # fmt: skip
    assert listing.labels == ("Speech", MAN, BABY)
    assert listing.listed == {"train": 3, "test": 1}
    assert listing.published == 22_160 + 2_041_789 + 20_371
    assert [refused.id for refused in listing.refused] == ["gone-gone--_000030_000037"]


@pytest.mark.parametrize(
    "arguments, listed_for_training",
    [("train=balanced", 1), ("train=unbalanced", 2), ("train=mbt", 3), ("train=none", 0)],
)
def test_audioset_can_be_any_of_its_training_lists(tmp_path, arguments, listed_for_training):
    listing = listed(f"audioset:{arguments}", write(tmp_path, AUDIOSET))
    assert listing.listed == {"train": listed_for_training, "test": 1} or not listed_for_training
    assert len(listing.labels) == 3


def test_audioset_can_be_cut_down_to_a_list_of_ids(tmp_path):
    write(tmp_path, AUDIOSET | {"ids, mine.txt": "aaaa_aaaaaa\n"})
    listing = listed(f"audioset:ids={tmp_path}/ids, mine.txt", tmp_path)
    assert [entry.split for entry in listing.entries] == ["train", "test"]
    assert listing.published is None
    with pytest.raises(ValueError, match="ids=nowhere is not a file of YouTube ids"):
        listed("audioset:ids=nowhere", tmp_path)


def test_the_more_balanced_list_has_at_most_so_many_of_a_class_and_all_that_is_rare():
    one, other, rare = ("Music",), ("Speech",), ("Zither",)
    rows = [one] * 600 + [other] * 300 + [one + other] * 80 + [rare] * 20
    order = np.random.default_rng(0).permutation(1000)
    entries = [datasets.Entry(f"{i}", "", "", "train", rows[j]) for i, j in enumerate(order)]
    kept = audioset.more_balanced(entries, 100)
    counts = {name: sum(name in entry.labels for entry in kept) for name in ("Music", "Speech")}
    assert counts == {"Music": 100, "Speech": 100}
    assert sum(entry.labels == rare for entry in kept) == 20
    assert audioset.more_balanced(entries[::-1], 100) == kept
    assert len(audioset.more_balanced(entries, 1000)) == 1000


KINETICS = {
    "annotations/train.csv": "label,youtube_id,time_start,time_end,split\n"
    'testifying,---QUuC4vJs,84,94,train\n"eating, slowly",--3ouPhoy2A,20,30,train\n'
    "massaging person's head,gone-gone--,1,11,train\n",
    "annotations/val.csv": "label,youtube_id,time_start,time_end,split,is_cc\n"
    '"air drumming",--07WQ2iBlw,1,11,validate,0\n',
    "annotations/test.csv": "youtube_id,time_start,time_end,split\n--FmkcnIPWs,0,10,test\n",
    "train/testifying/---QUuC4vJs_000084_000094.mp4": "",
    "train/--3ouPhoy2A.webm": "",
    "val/air_drumming/--07WQ2iBlw_000001_000011.mp4": "",
    "test/--FmkcnIPWs_000000_000010.mp4": "",
}


@pytest.mark.parametrize("classes", [400, 600, 700])
def test_kinetics_takes_whole_videos_and_cut_ones(tmp_path, classes):
    listing = listed(f"kinetics{classes}", write(tmp_path, KINETICS))
    assert [row[1:] for row in shown(listing)] == [
        ("train/testifying/---QUuC4vJs_000084_000094.mp4", "train", ("testifying",), None, None),
        ("train/--3ouPhoy2A.webm", "train", ("eating, slowly",), 20.0, 30.0),
        ("val/air_drumming/--07WQ2iBlw_000001_000011.mp4", "val", ("air drumming",), None, None),
    ]
    # In alphabetical order, with the class of which no clip is there.
    assert listing.labels == (
        "air drumming",
        "eating, slowly",
        "massaging person's head",
        "testifying",
    )
    assert listing.listed == {"train": 3, "val": 1}


@pytest.mark.parametrize(
    "train, val", [("k400_train", "validate"), ("kinetics-400_train", "k400_val")]
)
def test_lists_of_kinetics_go_by_several_names(tmp_path, train, val):
    write(tmp_path, KINETICS)
    (tmp_path / "annotations/train.csv").rename(tmp_path / f"{train}.csv")
    (tmp_path / "annotations/val.csv").rename(tmp_path / f"{val}.csv")
    assert len(listed("kinetics400", tmp_path).entries) == 3
    (tmp_path / f"{val}.csv").unlink()
    with pytest.raises(ValueError, match=r"^val.csv or validate.csv or .* get it from https://"):
        listed("kinetics400", tmp_path)


def test_the_test_list_of_kinetics_is_taken_when_asked_for_and_may_be_unlabelled(tmp_path):
    listing = listed("kinetics400:test=true", write(tmp_path, KINETICS))
    assert (listing.entries[-1].split, listing.entries[-1].labels) == ("test", ())
    assert listing.published == 246_534 + 19_906 + 39_805


def test_the_lists_of_another_kinetics_are_refused(tmp_path):
    rows = "".join(f"class {i},a{i:010d},0,10,train\n" for i in range(600))
    head = "label,youtube_id,time_start,time_end,split\n"
    write(tmp_path, KINETICS | {"annotations/train.csv": head + rows})
    with pytest.raises(ValueError, match="has 600 classes, Kinetics-400 400; name the folder"):
        listed("kinetics400", tmp_path)


@pytest.mark.parametrize(
    "dataset, files, damaged, message",
    [
        ("vggsound", VGGSOUND, {"vggsound.csv": "<html>"}, "line 1 is '<html>', expected YouTube"),
        ("vggsound", VGGSOUND, {"vggsound.csv": "a,b,c,test\n"}, "'b' is no time in seconds"),
        (
            "audioset",
            AUDIOSET,
            {"eval_segments.csv": HEAD.format(20371) + 'bbbbbbbbbbb, 0.000, 10.000, "/m/09x0r"\n'},
            "eval_segments.csv holds 1 clips, its second line says 20,371; get it again",
        ),
        (
            "audioset",
            AUDIOSET,
            {"eval_segments.csv": 'bbbbbbbbbbb, 0.000, 10.000, "/m/none"\n'},
            "classes that class_labels_indices.csv has",
        ),
        (
            "kinetics400",
            KINETICS,
            {"annotations/val.csv": "label,youtube_id,time_start,time_end,split\nx,a,b,c,d\n"},
            "val.csv: 'b' is no time in seconds",
        ),
    ],
)  # fmt: skip
def test_a_damaged_list_is_refused(tmp_path, dataset, files, damaged, message):
    write(tmp_path, files | damaged)
    with pytest.raises(ValueError, match=message):
        listed(dataset, tmp_path)


def test_a_piece_of_a_whole_video_is_what_is_prepared(tmp_path):
    source = tmp_path / "k400"
    write(source, {name: text for name, text in KINETICS.items() if name.endswith(".csv")})
    rows = "testifying,whole-video,1,2,train\ntestifying,cut-already,84,85,train\n"
    (source / "annotations/train.csv").write_text(KINETICS["annotations/train.csv"] + rows)
    made_media.write(source / "whole-video.mp4", [made_media.picture(i // 2) for i in range(75)])
    made_media.write(source / "cut-already_000084_000085.mp4", [made_media.picture(40)] * 25)
    listing = listed("kinetics400", source)
    out = tmp_path / "records"
    build.build(listing, out, made_media.SETTINGS, labels=listing.labels)
    info = records.Info.load(out)
    assert info.labels == listing.labels and info.counts["listed"] == {"train": 5, "val": 1}
    assert (info.counts["clips"], info.counts["rejected"]) == (2, 4)
    assert (info.counts["partial"], info.splits["train"].clips) == (0, 2)
    assert (out / "rejected.csv").read_text().count("file not found: ") == 4
