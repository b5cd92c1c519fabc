"""Data sets of sounds, of pictures, and of videos with boxes, from their files to their records."""

import dataclasses
import itertools

import made_media
import numpy as np
import pytest
from PIL import Image

from av_mae.input import record, records
from av_mae.prepare import datasets
from av_mae.prepare.datasets import csv as csv_source
from av_mae.prepare.datasets import folder
from av_mae.prepare.shards import build

SETTINGS = made_media.SETTINGS


def clips(out, split="train"):
    found = []
    for shard in records.Info.load(out).split(split).shards:
        offsets = [*records.read_index(out, shard), shard.bytes]
        data = (out / shard.file).read_bytes()
        found += [record.decode(data[a + 12 : b - 4]) for a, b in itertools.pairwise(offsets)]
    return {clip.id: clip for clip in found}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """One class folder with a video, a sound and a picture."""
    root = tmp_path_factory.mktemp("media")
    (root / "dog").mkdir()
    pictures = [made_media.picture(i) for i in range(50)]
    made_media.write(root / "dog" / "a.mp4", pictures, wave=made_media.click(0.5, 2.0))
    made_media.write_sound(root / "dog" / "b.wav", made_media.click(0.5, 1.0))
    Image.fromarray(made_media.picture(30, 96, 128)).save(root / "dog" / "c.jpg")
    return root


def prepared(media, out, kind):
    listing = folder.clips(str(media), datasets.Options(val_share=0.0), kind=kind)
    return build.build(listing, out, dataclasses.replace(SETTINGS, name=kind))


def reasons(report):
    return {id.partition("/")[2]: reason.partition(":")[0] for id, _, reason in report.rejected}


def test_a_video_data_set_takes_neither_sounds_nor_pictures(media, tmp_path):
    report = prepared(media, tmp_path, "video")
    assert reasons(report) == {"b.wav": "no video stream", "c.jpg": "not a video or sound"}


def test_a_sound_data_set_takes_sounds_and_the_sound_of_videos(media, tmp_path):
    report = prepared(media, tmp_path, "sound")
    assert reasons(report) == {"c.jpg": "not a video or sound"}
    split = records.Info.load(tmp_path).split("train")
    assert (split.clips, split.having["audio"], split.having["video"]) == (2, 2, 0)
    found = clips(tmp_path)
    assert all(clip.frames == () and clip.labels == (0,) for clip in found.values())
    assert len(found["dog/b.wav"].audio) == 16_000
    assert made_media.onset(found["dog/a.mp4"].audio) == pytest.approx(0.5, abs=0.03)


def test_a_picture_data_set_takes_pictures(media, tmp_path):
    report = prepared(media, tmp_path, "picture")
    assert reasons(report) == {"a.mp4": "not a picture", "b.wav": "not a picture"}
    (clip,) = clips(tmp_path).values()
    assert len(clip.frames) == 1 and (clip.height, clip.width) == (48, 64)
    assert clip.audio is None and clip.duration == pytest.approx(1 / SETTINGS.fps)


def test_a_csv_may_list_sounds_and_their_parts_but_no_parts_of_pictures(media):
    path = media / "list.csv"
    path.write_text("path,start,end\ndog/b.wav,0.25,0.5\n")
    listing = csv_source.clips(str(path), datasets.Options(), kind="sound")
    assert listing.entries[0].kind == "sound" and listing.entries[0].end == 0.5
    with pytest.raises(ValueError, match="line 2: a picture has no start and end"):
        csv_source.clips(str(path), datasets.Options(), kind="picture")
    path.unlink()


def boxed(media, time):
    sides = {"x1": 0.25, "y1": 0.0, "x2": 0.5, "y2": 1.0}
    box = datasets.Box(**sides, time=time, labels=("run", "sit"), person=4)
    path = str(media / "dog" / "a.mp4")
    return datasets.Entry(
        f"at {time}", path, "a.mp4", "train", ("sit", "run"), time - 0.5, time + 0.5, boxes=(box,)
    )


def test_boxes_lie_on_the_clock_of_their_clip(media, tmp_path):
    import tensorflow_datasets as tfds

    listing = datasets.Listing((boxed(media, 1.0), boxed(media, 9.0)))
    report = build.build(listing, tmp_path, SETTINGS)
    assert [row[0] for row in report.rejected] == ["at 9.0"]  # beyond the end of the file
    assert records.Info.load(tmp_path).split("train").having["boxes"] == 1
    (clip,) = clips(tmp_path).values()
    assert clip.boxes == tuple(record.Box(0.25, 0.0, 0.5, 1.0, i, 4, 0.5) for i in (0, 1))
    (example,) = tfds.as_numpy(tfds.builder_from_directory(tmp_path).as_dataset(split="train"))
    assert example["box"].tolist() == [[0.25, 0.0, 0.5, 1.0]] * 2
    assert example["box_label"].tolist() == [0, 1] and example["box_time"].tolist() == [0.5, 0.5]


def test_pictures_that_end_before_their_boxes_are_rejected(media, tmp_path):
    late = dataclasses.replace(boxed(media, 1.9), end=1.5)
    report = build.build(datasets.Listing((late,)), tmp_path, SETTINGS)
    assert reasons(report) == {"": "no picture for its boxes"}


def test_an_impossible_box_costs_its_clip_and_not_the_run(media, tmp_path):
    good = boxed(media, 1.0)
    bad = dataclasses.replace(good, id="bad", boxes=(dataclasses.replace(good.boxes[0], x1=0.6),))
    report = build.build(datasets.Listing((good, bad)), tmp_path, SETTINGS)
    assert report.clips == 1 and report.rejected[0][2].startswith("impossible box: the box Box(x1=")


def test_boxes_and_kind_tell_lists_apart(media):
    from av_mae.prepare.shards import settings

    entry = boxed(media, 1.0)
    moved = dataclasses.replace(entry.boxes[0], x1=0.0)
    changes = [{"kind": "sound"}, {"boxes": ()}, {"boxes": (moved,)}]
    digests = [settings.digest([dataclasses.replace(entry, **change)]) for change in changes]
    assert len({settings.digest([entry]), *digests}) == 4


def test_silence_is_a_sound(tmp_path):
    (tmp_path / "x").mkdir()
    made_media.write_sound(tmp_path / "x" / "a.wav", np.zeros(48_000, np.float32))
    report = prepared(tmp_path, tmp_path / "out", "sound")
    assert report.counts()["silent"] == 1 and report.clips == 1


def test_the_kind_is_an_argument_of_the_data_set(media):
    listing = datasets.clips("folder:kind=picture", str(media), datasets.Options())
    assert {entry.kind for entry in listing.entries} == {"picture"}
    with pytest.raises(ValueError, match="kind is 'song', expected one of video, sound, picture"):
        datasets.clips("csv:kind=song", str(media), datasets.Options())
