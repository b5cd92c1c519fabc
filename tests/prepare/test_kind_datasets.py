"""Data sets of sounds, of pictures and of boxes, from miniatures of their official files."""

import itertools
import math

import made_media
import numpy as np
import pytest
from made_lists import listed, write
from PIL import Image

from av_mae.input import record, records
from av_mae.prepare.shards import build


def prepared(listing, out):
    """Records of all clips, by id, and the report."""
    report = build.build(listing, out, made_media.SETTINGS, labels=listing.labels)
    found = {}
    info = records.Info.load(out)
    for shard in itertools.chain(*(split.shards for split in info.splits.values())):
        offsets = [*records.read_index(out, shard), shard.bytes]
        data = (out / shard.file).read_bytes()
        clips = [record.decode(data[a + 12 : b - 4]) for a, b in itertools.pairwise(offsets)]
        found |= {clip.id: clip for clip in clips}
    return found, report


def rejected(report):
    return {id: reason.partition(":")[0] for id, _, reason in report.rejected}


ESC50 = {
    "1-100032-A-0": (1, 0, "dog"), "2-100038-A-14": (2, 14, "chirping_birds"),
    "3-100210-A-1": (3, 1, "rooster"), "5-9032-A-0": (5, 0, "dog"),
}  # fmt: skip


def esc50(folder):
    rows = [f"{n}.wav,{f},{t},{c},False,{n[2:8]},A" for n, (f, t, c) in ESC50.items()]
    header = "filename,fold,target,category,esc10,src_file,take"
    write(folder, {"meta/esc50.csv": "\n".join([header, *rows])})
    (folder / "audio").mkdir()
    for name in ESC50:
        made_media.write_sound(folder / "audio" / f"{name}.wav", made_media.click(0.5, 1.0))
    return folder


@pytest.mark.parametrize("fold", [1, 2])
def test_esc50_tests_one_fold_and_has_the_order_of_its_numbers(tmp_path, fold):
    listing = listed(f"esc50:fold={fold}", esc50(tmp_path))
    assert listing.labels == ("dog", "rooster", "chirping_birds")
    tested = {entry.id for entry in listing.entries if entry.split == "test"}
    assert tested == {name for name, (number, _, _) in ESC50.items() if number == fold}
    assert listing.published == 2000 and listing.listed == {"test": 1, "train": 3}


def test_esc50_becomes_records_of_sound(tmp_path):
    clips, report = prepared(listed("esc50", esc50(tmp_path)), tmp_path / "out")
    assert report.clips == 4 and clips.keys() == ESC50.keys()
    assert clips["2-100038-A-14"].labels == (2,) and clips["2-100038-A-14"].frames == ()
    assert made_media.onset(clips["5-9032-A-0"].audio / 32768) == pytest.approx(0.5, abs=0.01)


def test_esc50_with_a_damaged_or_without_a_list(tmp_path):
    write(tmp_path, {"meta/esc50.csv": "filename,fold,target,category\na.wav,one,0,dog\n"})
    with pytest.raises(ValueError, match="esc50.csv: 'one' is no number"):
        listed("esc50", tmp_path)
    (tmp_path / "meta/esc50.csv").unlink()
    with pytest.raises(ValueError, match="esc50.csv is not in .* get it from https://github.com"):
        listed("esc50", tmp_path)


def epic(folder, video=True):
    header = (
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
        "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    )
    row = "{0}_{1},P01,{0},00:00:00.500,{2},{3},1,2,open tap,open,{4},tap,{5},\"['tap']\",[0]"
    write(
        folder,
        {
            "EPIC_100_verb_classes.csv": "id,key,instances,category\n0,take,\"['take', 'get']\",r\n"
            "1,water,['water'],a\n",
            "EPIC_100_noun_classes.csv": '"id","key","instances","category"\n'
            '0,"tap","[\'tap\', \'tap:water\']","appliances"\n1,"water","[\'water\']","x"\n',
            "EPIC_100_train.csv": "\n".join(
                [
                    header,
                    row.format("P01_01", 0, "00:00:00.14", "00:00:01.30", 1, 0),
                    row.format("P01_01", 1, "00:00:01.30", "00:00:01.80", 0, 1),
                ]
            ),
            "EPIC_100_validation.csv": "\n".join(
                [header, row.format("P01_11", 0, "01:00:00.00", "01:00:02.00", 0, 0)]
            ),
        },
    )
    if video:
        (folder / "P01/videos").mkdir(parents=True)
        pictures = [made_media.picture(i) for i in range(50)]
        wave = made_media.click(1.5, 2.0)
        path = folder / "P01/videos/P01_01.MP4"
        made_media.write(path, pictures, wave=wave, format="mp4")
    return folder


@pytest.mark.parametrize(
    "labels, names, first",
    [
        ("verb", ("take", "water"), ("water",)),
        ("noun", ("tap", "water"), ("tap",)),
        ("both", ("verb:take", "verb:water", "noun:tap", "noun:water"), ("verb:water", "noun:tap")),
    ],
)
def test_epic_kitchens_has_verbs_nouns_or_both(tmp_path, labels, names, first):
    listing = listed(f"epic_kitchens100:labels={labels}", epic(tmp_path))
    assert listing.labels == names
    assert listing.entries[0].labels == first
    assert (listing.entries[0].start, listing.entries[0].end) == (0.14, 1.3)
    assert listing.listed == {"train": 2, "val": 1}
    assert [(clip.id, clip.reason.partition(":")[0]) for clip in listing.refused] == [
        ("P01_11_0", "file not found")
    ]


def test_epic_kitchens_actions_are_cut_from_the_videos(tmp_path):
    clips, _ = prepared(listed("epic_kitchens100", epic(tmp_path)), tmp_path / "out")
    assert clips["P01_01_1"].start == pytest.approx(1.3, abs=0.05)
    assert made_media.onset(clips["P01_01_1"].audio / 32768) == pytest.approx(0.2, abs=0.03)


def test_epic_kitchens_on_a_real_video(shared, tmp_path):
    epic(tmp_path, video=False)
    (tmp_path / "P01_01.MP4").symlink_to(shared / "data/bad/audio_late.mp4")
    clips, _ = prepared(listed("epic_kitchens100", tmp_path), tmp_path / "out")
    assert len(clips["P01_01_0"].frames) in (14, 15)


def test_epic_kitchens_lists_that_contradict_each_other_are_refused(tmp_path):
    write(epic(tmp_path), {"EPIC_100_verb_classes.csv": "id,key\n0,take\n"})
    with pytest.raises(ValueError, match="P01_01_0 is of verb 1, no class"):
        listed("epic_kitchens100", tmp_path)
    write(tmp_path, {"EPIC_100_verb_classes.csv": "id,key\n1,take\n"})
    with pytest.raises(ValueError, match="does not number its classes from 0"):
        listed("epic_kitchens100", tmp_path)
    text = (tmp_path / "EPIC_100_train.csv").read_text().replace("00:00:00.14", "0.14")
    files = {"EPIC_100_train.csv": text, "EPIC_100_verb_classes.csv": "id,key\n0,a\n1,b\n"}
    with pytest.raises(ValueError, match="'0.14' is no time such as"):
        listed("epic_kitchens100", write(tmp_path, files))


NAMES = {i: f"action {i} (of 80)" for i in range(1, 81)}
SCORED = [i for i in NAMES if i % 4]


def ava_lists(folder):
    items = "".join(
        f'label {{\n  name: "{name}"\n  label_id: {i}\n  label_type: PERSON_MOVEMENT\n}}\n'
        for i, name in NAMES.items()
    )
    scored = "".join(f'item {{\n  name: "{NAMES[i]}"\n  id: {i}\n}}\n' for i in SCORED)
    return write(
        folder,
        {
            "ava_action_list_v2.2.pbtxt": items,
            "ava_action_list_v2.2_for_activitynet_2019.pbtxt": scored,
            "ava_train_v2.2.csv": "film,0902,0.077,0.151,0.283,0.811,80,1\n"
            "film,0902,0.077,0.151,0.283,0.811,9,1\n"
            "film,0902,0.226,0.032,0.366,0.497,12,0\n"
            "film,0903,0.000,0.032,1.000,0.497,4,0\n"
            "film,0904,0.000,0.032,1.000,0.497,1,0\n",
            "ava_val_v2.2.csv": "-5KQ66_BWC4,1798,0.1,0.2,0.3,0.4,11,5\n",
            "ava_train_excluded_timestamps_v2.2.csv": "film,0904\n",
            "ava_val_excluded_timestamps_v2.2.csv": "other,0902\n",
        },
    )


def film(folder, whole):
    """From second 900 on a picture each twelfth of a second, before and after it almost none."""
    folder.mkdir(exist_ok=True)
    times = [i / 12.5 for i in range(55)]
    pictures = [made_media.picture(i) for i in range(55)]
    if whole:
        times = [0.0, *(900.0 + time for time in times), 1799.0]
        pictures = [pictures[0], *pictures, pictures[0]]
    made_media.write(folder / "film.mkv", pictures, times)


@pytest.mark.parametrize("whole", [True, False])
def test_ava_is_cut_from_films_and_from_quarters_of_an_hour(tmp_path, whole):
    film(ava_lists(tmp_path), whole)
    clips, report = prepared(listed("ava:seconds=2", tmp_path), tmp_path / "out")
    assert clips.keys() == {"film,0902", "film,0903"}
    assert rejected(report) == {"film,0904": "excluded", "-5KQ66_BWC4,1798": "file not found"}
    clip = clips["film,0902"]
    assert clip.labels == (79, 8, 11)
    assert [(b.label, b.person, b.time) for b in clip.boxes] == [(79, 1, 1), (8, 1, 1), (11, 0, 1)]
    box = clip.boxes[0]
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((0.077, 0.151, 0.283, 0.811))
    assert len(clip.frames) == 25 and clip.start == (901.0 if whole else 1.0)
    info = records.Info.load(tmp_path / "out")
    assert info.labels == tuple(NAMES.values()) and info.split("train").having["boxes"] == 2


def test_the_pictures_of_ava_are_those_of_the_key_frame(tmp_path):
    shown = []
    for whole in (True, False):
        folder = tmp_path / str(whole)
        film(ava_lists(folder), whole)
        clips, _ = prepared(listed("ava:seconds=2", folder), folder / "out")
        clip = clips["film,0902"]
        (tmp_path / "frame.jpg").write_bytes(clip.frames[math.ceil(clip.boxes[0].time * clip.fps)])
        shown.append(made_media.number_of(np.asarray(Image.open(tmp_path / "frame.jpg"))))
    assert shown == [25, 25]  # two seconds after second 900


def test_ava_with_the_actions_that_are_scored(tmp_path):
    film(ava_lists(tmp_path), whole=False)
    listing = listed("ava:classes=60", tmp_path)
    assert listing.labels == tuple(NAMES[i] for i in SCORED)
    (entry,) = listing.entries  # what only those do that are not scored is no clip
    assert entry.id == "film,0902" and entry.labels == (NAMES[9],)
    assert len(entry.boxes) == 1 and entry.start == pytest.approx(0.5)


@pytest.mark.parametrize(
    "files, message",
    [
        ({"ava_train_v2.2.csv": "film,0902,0.1,0.2,0.3,0.4,81,1\n"}, "line 1: .* is no box"),
        ({"ava_train_v2.2.csv": "film,0902,0.1,0.2,0.3,0.4\n"}, "line 1: .* is no box"),
        ({"ava_action_list_v2.2.pbtxt": 'name: "x"\n id: 1\n'}, "names 1 actions, not 80"),
        ({"ava_val_excluded_timestamps_v2.2.csv": "film,soon\n"}, "'soon' is no time"),
    ],
)
def test_lists_of_ava_that_are_damaged_are_refused(tmp_path, files, message):
    film(ava_lists(tmp_path), whole=False)
    with pytest.raises(ValueError, match=message):
        listed("ava", write(tmp_path, files))


def test_ava_asks_for_its_lists_and_for_a_length(tmp_path):
    film(ava_lists(tmp_path), whole=False)
    with pytest.raises(ValueError, match="seconds is 0, expected 0 < seconds"):
        listed("ava:seconds=0", tmp_path)
    (tmp_path / "ava_val_v2.2.csv").unlink()
    with pytest.raises(ValueError, match=r"ava_val_v2.2.csv is not in .* https://research.google"):
        listed("ava", tmp_path)


KINETICS = {
    "kinetics_train_v1.0.csv": "0a_bcdefghi,17.010000,0.1,0.2,0.3,0.4,12\n"
    "0a_bcdefghi,17.010000,0.1,0.2,0.3,0.4,14\n"
    "nobody_here,33.000000\n"
    "whole_video,1.000000,0.5,0.5,1.001,1.0,80\n",
    "kinetics_val_v1.0.csv": "gone_______,3.002000,0.1,0.2,0.3,0.4,11\n",
}


def kinetics(folder):
    ava_lists(folder)
    write(folder, KINETICS)
    pictures = [made_media.picture(i) for i in range(50)]
    (folder / "train/class").mkdir(parents=True)
    for name, count in (("0a_bcdefghi_000016_000018", 50), ("whole_video", 50)):
        made_media.write(folder / f"train/class/{name}.mp4", pictures[:count])
    made_media.write(folder / "train/class/0a_bcdefghi_000030_000040.mp4", pictures)
    return folder


def test_ava_kinetics_finds_its_key_frames_in_clips_of_kinetics(tmp_path):
    listing = listed("ava_kinetics:films=false,seconds=1", kinetics(tmp_path))
    assert listing.listed == {"train": 2, "val": 1}
    clips, report = prepared(listing, tmp_path / "out")
    assert rejected(report) == {"gone_______,3.002000": "file not found"}
    part, whole = clips["0a_bcdefghi,17.010000"], clips["whole_video,1.000000"]
    assert part.start == pytest.approx(0.51, abs=0.04)
    assert [(b.label, b.person) for b in part.boxes] == [(11, -1), (13, -1)]
    assert part.start + part.boxes[0].time == pytest.approx(1.01, abs=1e-5)
    assert whole.boxes == (record.Box(0.5, 0.5, 1.0, 1.0, 79, -1, 0.5),)


def test_ava_kinetics_holds_the_films_too(tmp_path):
    film(kinetics(tmp_path), whole=False)
    listing = listed("ava_kinetics", tmp_path)
    assert {entry.id for entry in listing.entries} == {
        "0a_bcdefghi,17.010000", "whole_video,1.000000", "film,0902", "film,0903",
    }  # fmt: skip
    assert listing.listed == {"train": 4, "val": 2}
    assert len({entry.id for entry in listing.entries} | {r.id for r in listing.refused}) == 7


TENCH, CRANE, MACHINE = "n01440764", "n02012849", "n03126707"


def imagenet(folder, val="ILSVRC2012_val_0000000{}.JPEG", truth=True):
    """Three pictures for training and three for validation, of two cranes and a fish."""
    for i, wnid in enumerate((TENCH, CRANE, MACHINE)):
        (folder / "train" / wnid).mkdir(parents=True)
        (folder / "val").mkdir(exist_ok=True)
        image = Image.fromarray(made_media.picture(i * 20))
        image.convert("CMYK" if i else "RGB").save(folder / f"train/{wnid}/{wnid}_{i}.JPEG", "JPEG")
        image.save(folder / "val" / val.format(i + 1), "PNG")
    (folder / "train" / TENCH / "notes.JPEG").touch()
    if truth:
        rows = [f"ILSVRC2012_val_0000000{i + 1},{wnid} 1 2 3 4 " for i, wnid in enumerate(ORDER)]
        text = "\n".join(["ImageId,PredictionString", *rows])
        write(folder, {"LOC_val_solution.csv": text})
    return folder


ORDER = (MACHINE, TENCH, CRANE)
WORDS = f"{TENCH} tench, Tinca tinca\n{CRANE} crane\n{MACHINE} crane\nn09999999 last\n"


def labels(listing):
    return {entry.id: entry.labels[0] for entry in listing.entries}


def test_imagenet_becomes_records_of_pictures(tmp_path):
    write(imagenet(tmp_path), {"LOC_synset_mapping.txt": WORDS})
    listing = listed("imagenet", tmp_path)
    names = ("tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)", "last")
    assert listing.labels == names and listing.listed == {"train": 3, "val": 3}
    clips, report = prepared(listing, tmp_path / "out")
    assert not report.rejected and len(clips) == 6
    assert {clip.id: clip.labels for clip in clips.values()} == {
        f"{TENCH}_0": (0,), f"{CRANE}_1": (1,), f"{MACHINE}_2": (2,),
        "ILSVRC2012_val_00000001": (2,), "ILSVRC2012_val_00000002": (0,),
        "ILSVRC2012_val_00000003": (1,),
    }  # fmt: skip
    split = records.Info.load(tmp_path / "out").split("train")
    assert (split.having["video"], split.having["audio"]) == (3, 0)


def test_imagenet_without_words_is_called_by_its_numbers(tmp_path):
    assert listed("imagenet", imagenet(tmp_path)).labels == (TENCH, CRANE, MACHINE)


def devkit(folder):
    import scipy.io

    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    # Its numbers are not in the order of WordNet's, and groups stand behind the classes.
    rows = [(1, MACHINE, "crane", 0), (2, TENCH, "tench, Tinca tinca", 0), (3, CRANE, "crane", 0)]
    rows += [(1001, "n00001740", "entity", 3)]
    data = folder / "ILSVRC2012_devkit_t12/data"
    write(folder, {f"{data}/ILSVRC2012_validation_ground_truth.txt": "1\n2\n3\n"})
    scipy.io.savemat(data / "meta.mat", {"synsets": np.array(rows, kinds)[:, None]})
    return folder


@pytest.mark.parametrize("official", ["devkit", "synset labels", "folders"])
def test_imagenet_says_what_its_validation_pictures_are_in_every_layout(tmp_path, official):
    expected = labels(listed("imagenet", imagenet(tmp_path / "a")))
    folder = imagenet(tmp_path / "b", truth=False)
    if official == "devkit":
        names = {TENCH: "tench, Tinca tinca"} | {w: f"crane ({w})" for w in (CRANE, MACHINE)}
        expected = {id: names[wnid] for id, wnid in expected.items()}
        devkit(folder)
    elif official == "synset labels":
        text = "".join(f"{wnid}\n" for wnid in ORDER)
        write(folder, {"imagenet_2012_validation_synset_labels.txt": text})
    else:
        for i, wnid in enumerate(ORDER):
            (folder / "val" / wnid).mkdir()
            name = f"ILSVRC2012_val_0000000{i + 1}.JPEG"
            (folder / "val" / name).rename(folder / "val" / wnid / name)
    listing = listed("imagenet", folder)
    assert labels(listing) == expected and list(listing.labels) == sorted(
        set(listing.labels), key=listing.labels.index
    )


def test_imagenet_asks_for_the_truth_and_for_its_own_pictures(tmp_path):
    with pytest.raises(ValueError, match="LOC_val_solution.csv or .* get it from https://www.imag"):
        listed("imagenet", imagenet(tmp_path / "a", truth=False))
    write(tmp_path / "b", {"cats/tom.jpg": ""})
    with pytest.raises(ValueError, match="no picture of ImageNet .* --dataset=folder:kind=picture"):
        listed("imagenet", tmp_path / "b")
    write(imagenet(tmp_path / "c"), {"LOC_synset_mapping.txt": f"{TENCH} tench\n"})
    with pytest.raises(ValueError, match="2 classes of pictures are not in the list of names"):
        listed("imagenet", tmp_path / "c")
