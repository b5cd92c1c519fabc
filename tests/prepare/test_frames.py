"""Folders of extracted frames, and animations: which pictures, in which order, when, with sound."""

import csv
import dataclasses
import json
import shutil

import made_media
import numbered_media
import numpy as np
import pytest
import test_kinds
from PIL import Image

from av_mae.prepare import datasets
from av_mae.prepare.check import result as check
from av_mae.prepare.media import container, frames, read
from av_mae.prepare.shards import build, settings


def write(folder, names, *, first=0, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(numbered_media.picture(first + number)).save(folder / name, **options)
    return folder


def clip(folder, **options):
    options = {"kind": "frames", "frame_rate": 10.0} | options
    return read.clip(folder, **options)


@pytest.mark.parametrize(
    "names",
    [[f"img_{i:05d}.jpg" for i in range(1, 13)], [f"img_{i}.png" for i in range(1, 13)],
     [f"{i}.BMP" for i in range(98, 110)], [f"frame{10 * i}.jpeg" for i in range(12)],
     [f"v_Run_g01_c02_{i:04d}.webp" for i in range(1, 13)],
     [f"{i}.jpg" if i < 9 else f"{i}.jpeg" for i in range(12)],
     [f"{c}.png" for c in "abcdefghijkl"],
     [f"shot{i // 4}_{i % 4}.png" for i in range(12)], [f"{i}.5s.png" for i in range(12)]],
)  # fmt: skip
def test_pictures_come_in_the_order_of_their_numbers(tmp_path, names):
    found = clip(write(tmp_path / "clip", names))
    assert numbered_media.pictures_of(found) == list(range(12)) and not found.damage
    assert found.fps == 10.0 and found.duration == pytest.approx(1.2) and found.audio is None


def test_what_is_no_frame_is_left_aside_and_told(tmp_path):
    folder = write(tmp_path / "clip", [f"img_{i}.jpg" for i in range(8)])
    for series in ("flow_x", "flow_y", "x", "img_mask"):
        write(folder, [f"{series}_{i:05d}.jpg" for i in range(8)], first=20)
    write(folder, ["poster.jpg", ".hidden_1.jpg", "._img_3.jpg"], first=30)
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "times.txt").write_text("0 0.1")
    found = clip(folder)
    assert numbered_media.pictures_of(found) == list(range(8))
    (note,) = found.notes
    assert note.endswith("left aside") and all(s in note for s in ("flow_x_#", "x_#", "poster"))
    only = write(tmp_path / "depth", [f"depth_{i}.png" for i in range(4)])
    assert numbered_media.pictures_of(clip(only)) == list(range(4))


@pytest.mark.parametrize("names", [["left_1.jpg", "right_1.jpg"], ["img_1.jpg", "img_01.jpg"],
                                   ["img_1.jpg", "img_1.png"]])  # fmt: skip
def test_names_that_leave_the_order_open_are_refused(tmp_path, names):
    reason = "^several series of pictures: .* have the same number; keep one series in a folder$"
    with pytest.raises(container.UnreadableError, match=reason):
        clip(write(tmp_path / "clip", names))


def test_a_picture_that_lacks_or_is_broken_is_held_and_told(tmp_path):
    folder = write(tmp_path / "clip", [f"img_{i}.jpg" for i in range(20)])
    (folder / "img_5.jpg").unlink()
    (folder / "img_6.jpg").unlink()
    (folder / "img_9.jpg").write_bytes((folder / "img_9.jpg").read_bytes()[:300])
    (folder / "img_12.jpg").write_text("")
    found = clip(folder)
    expected = [*range(5), 4, 4, 7, 8, 8, 10, 11, 11, *range(13, 20)]
    assert numbered_media.pictures_of(found) == expected
    assert "2 pictures missing, the first after 'img_4.jpg'" in found.damage
    assert "2 of 18 pictures damaged, the first 'img_9.jpg': picture damaged: " in found.damage


def test_pictures_none_of_which_can_be_read_are_no_clip(tmp_path):
    folder = write(tmp_path / "clip", ["1.png", "2.png"])
    for path in folder.iterdir():
        path.write_text("x")
    reason = (
        "^no picture could be decoded: 2 of 2 pictures damaged, the first '1.png': not a picture"
    )
    with pytest.raises(container.UnreadableError, match=reason):
        clip(folder)
    with pytest.raises(container.UnreadableError, match="^no picture could be decoded"):
        clip(folder, start=0.05)


def test_numbers_far_apart_are_no_times(tmp_path):
    found = clip(write(tmp_path / "clip", ["img_1.jpg", "img_2.jpg", "img_100.jpg"]))
    assert numbered_media.pictures_of(found) == [0, 1, 2] and not found.damage
    assert found.notes == ("numbers without a common step: the pictures follow each other",)


def test_pictures_are_upright_and_of_one_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = write(tmp_path / "clip", ["1.jpg", "2.jpg"], exif=exif)
    Image.fromarray(numbered_media.picture(0)).resize((50, 50)).save(folder / "3.jpg")
    found = clip(folder, short_side=32)
    assert {picture_hw3.shape for picture_hw3 in found.frames} == {(48, 32, 3)}
    assert found.notes == ("pictures of 2 sizes: scaled to that of the first",)


@pytest.mark.parametrize(
    "start, end, numbers",
    [(0.25, 0.55, [2, 3, 4]), (1.0, None, [10, 11]), (None, 0.2, [0, 1]), (1.1, 5.0, [11])],
)
def test_parts_read_their_own_pictures_only(tmp_path, monkeypatch, start, end, numbers):
    folder = write(tmp_path / "clip", [f"{i}.png" for i in range(12)])
    made_media.write_sound(tmp_path / "clip.wav", made_media.click(1.15, 1.2))
    opened, load = [], read.picture.load
    monkeypatch.setattr(read.picture, "load", lambda p, limits: opened.append(p) or load(p, limits))
    found = clip(folder, start=start, end=end)
    assert numbered_media.runs(found) == numbers and not found.damage
    assert len(opened) <= len(numbers) + 1
    assert found.start == (start or 0.0)
    assert len(found.audio) == round((min(end or 1.2, 1.2) - (start or 0.0)) * 16_000)


def test_a_part_behind_the_end_says_where_it_is(tmp_path):
    folder = write(tmp_path / "clip", ["1.png", "2.png"])
    with pytest.raises(container.UnreadableError, match=r"pictures end at 0\.20 s"):
        clip(folder, start=3.0)


@pytest.mark.parametrize("place", ["clip.wav", "clip.FLAC", "clip.mp3", "clip.m4a", "clip/a.wav"])
def test_sound_lies_beside_by_name_or_inside(tmp_path, place):
    folder = write(tmp_path / "clip", [f"{i}.png" for i in range(12)])
    lower = (tmp_path / place).with_suffix((tmp_path / place).suffix.lower())
    made_media.write_sound(lower, made_media.click(0.5, 1.2)).rename(tmp_path / place)
    found = clip(folder)
    assert made_media.onset(found.audio) == pytest.approx(0.5, abs=0.03) and not found.damage


def test_sound_that_does_not_fit_is_told(tmp_path):
    folder = write(tmp_path / "clip", [f"{i}.png" for i in range(12)])
    made_media.write_sound(tmp_path / "clip.wav", made_media.click(0.5, 2.4))
    expected = "pictures end at 1.20 s, sound at 2.40 s: is 10 frames a second right?"
    assert clip(folder).damage == expected
    (tmp_path / "clip.wav").write_text("no sound")
    assert clip(folder).damage.startswith("clip.wav: not a media file")
    (folder / "x.mp3").touch()
    with pytest.raises(container.UnreadableError, match="^two sounds for one folder: .*; keep one"):
        clip(folder)


def test_an_empty_folder_and_a_file_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for path, reason in ((tmp_path / "a.txt", "not a folder"), (tmp_path / "b", "file not found")):
        with pytest.raises(container.UnreadableError, match=f"^{reason}"):
            clip(path)
    with pytest.raises(container.UnreadableError, match="^no pictures in the folder$"):
        clip(tmp_path)
    with pytest.raises(container.UnreadableError, match="^a folder, not a file: .*kind=frames"):
        read.clip(tmp_path)


@pytest.fixture
def tree(tmp_path):
    """Two classes of two clips, one of them with sound, and what does not belong there."""
    for label in ("run", "walk"):
        for name in ("a", "b"):
            write(tmp_path / "tree" / label / name, [f"img_{i}.jpg" for i in range(10)])
    made_media.write_sound(tmp_path / "tree" / "run" / "a.wav", made_media.click(0.2, 0.4))
    (tmp_path / "tree" / "walk" / "Thumbs.db").touch()
    (tmp_path / "tree" / "walk" / "failed").mkdir()
    (tmp_path / "tree" / "walk" / "notes.txt").write_text("x")
    return tmp_path / "tree"


def test_a_tree_of_frames_is_a_data_set(tree, tmp_path):
    options = datasets.Options(val_share=0.0)
    listing = datasets.clips("folder:kind=frames,frame_rate=20", str(tree), options)
    assert not listing.warnings
    tiny = dataclasses.replace(made_media.SETTINGS, fps=20.0)
    report = build.build(listing, tmp_path / "out", tiny)
    assert report.rejected == [
        ("walk/failed", "walk/failed", "no pictures in the folder"),
        ("walk/notes.txt", "walk/notes.txt", "not a folder of frames"),
    ]
    found = test_kinds.clips(tmp_path / "out")
    assert {id: one.labels for id, one in found.items()} == {
        "run/a": (0,), "run/b": (0,), "walk/a": (1,), "walk/b": (1,)
    }  # fmt: skip
    assert all(len(one.frames) == 10 and one.duration == 0.5 for one in found.values())
    assert made_media.onset(found["run/a"].audio) == pytest.approx(0.2, abs=0.03)
    outcome = check.check(tmp_path / "out")
    assert outcome.ok and any("extracted frames" in line and "20 a second" in line
                              for line in check.lines(outcome))  # fmt: skip


def test_an_assumed_rate_is_said_in_the_log_and_in_the_description(tree, tmp_path):
    listing = datasets.clips("folder:kind=frames", str(tree), datasets.Options())
    assert "25 frames a second assumed" in listing.warnings[0]
    build.build(listing, tmp_path / "out", made_media.SETTINGS)
    info = json.loads((tmp_path / "out" / "av_mae.json").read_text())
    assert info["preprocessing"]["extracted_frames"] == "25 a second (assumed)"


def test_a_list_names_folders_of_frames(tree, tmp_path):
    path = tmp_path / "list.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "label", "start", "end"), ("tree/run/a", "run", "0.1", "0.3"),
             ("tree/walk/b/", "walk", "", ""), ("tree/walk/notes.txt", "walk", "", "")]
        )  # fmt: skip
    options = datasets.Options(val_share=0.0)
    listing = datasets.clips("csv:kind=frames,frame_rate=10", str(path), options)
    report = build.build(listing, tmp_path / "out", made_media.SETTINGS)
    found = test_kinds.clips(tmp_path / "out")
    assert {id: round(one.duration, 3) for id, one in found.items()} == {
        "tree/run/a@0.1-0.3": 0.2, "tree/walk/b/": 1.0
    }  # fmt: skip
    assert [row[2] for row in report.rejected] == ["not a folder of frames"]


def test_a_list_with_numbers_of_frames(tree, tmp_path):
    """As mmaction2 and VideoMAE have them: folder, number of frames, label."""
    path = tmp_path / "list.txt"
    path.write_text("run/a 10 0\nrun/b 10 0\nwalk/a 10 1\n")
    options = datasets.Options(media=str(tree), val_share=0.0)
    listing = datasets.clips("csv:kind=frames,frame_rate=10", str(path), options)
    assert [(entry.source, entry.labels) for entry in listing.entries] == [
        ("run/a", ("0",)), ("run/b", ("0",)), ("walk/a", ("1",))
    ]  # fmt: skip
    with pytest.raises(ValueError, match="are folders, as 'run/a': .*csv:kind=frames"):
        datasets.clips("csv", str(path), options)


def test_frames_without_the_flag_are_one_sentence(tree, tmp_path):
    with pytest.raises(ValueError, match="holds folders of pictures, as 'run/a', .*kind=frames"):
        datasets.clips("folder", str(tree), datasets.Options())
    (tree / "run" / "a" / "img_0.jpg").write_text("damaged")
    with pytest.raises(ValueError, match="holds folders of pictures, as '.', and no videos"):
        datasets.clips("folder", str(tree / "walk" / "a"), datasets.Options())
    made_media.write(tree / "run" / "c.mp4", [made_media.picture(i) for i in range(5)])
    listing = datasets.clips("folder", str(tree), datasets.Options())
    folders = [refused for refused in listing.refused if "kind=frames" in refused.reason]
    assert {refused.id for refused in folders} == {"run/a", "run/b", "walk/a", "walk/b"}
    assert not any(entry.path.endswith(".jpg") for entry in listing.entries)


@pytest.mark.parametrize(
    "dataset, reason",
    [
        ("folder:frame_rate=30", "means nothing for kind=video"),
        ("folder:kind=frames,frame_rate=-1", "expected 0.01 to"),
        ("csv:kind=sound,frame_rate=9", "means nothing"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(tree, dataset, reason):
    with pytest.raises(ValueError, match=reason):
        datasets.clips(dataset, str(tree), datasets.Options())


def test_a_cache_knows_every_picture_and_the_rate(tree, tmp_path):
    def folder(dataset):
        listing = datasets.clips(dataset, str(tree), datasets.Options())
        return made_media.SETTINGS.cached(tmp_path, listing.entries, None)

    before, other = folder("folder:kind=frames"), folder("folder:kind=frames,frame_rate=10")
    write(tree / "run" / "a", ["img_3.jpg"], quality=5)
    assert len({before, other, folder("folder:kind=frames")}) == 3
    plain = datasets.Entry("a", "a.mp4", "a.mp4", "train")
    known = "cefcc09ae5"  # as it was before entries had a rate
    assert settings.digest([plain]).startswith(known)


def test_frames_of_people(shared):
    folder = shared / "data" / "people" / "folders" / "frames"
    with pytest.raises(ValueError, match="kind=frames"):
        datasets.clips("folder", str(folder), datasets.Options())
    listing = datasets.clips("folder:kind=frames", str(folder), datasets.Options())
    (entry,) = listing.entries
    assert entry.labels == ("walk",) and len(read.clip(entry.path, kind="frames").frames) == 3


DURATIONS = (100, 40, 40, 500, 40, 40, 40, 1000)


def animation(path, durations=DURATIONS, **options):
    images = [Image.fromarray(numbered_media.picture(i)) for i in range(len(durations))]
    options |= {"save_all": True, "append_images": images[1:], "duration": list(durations)}
    images[0].save(path, loop=0, **options)
    return path


@pytest.mark.parametrize("suffix", ["webp", "png", "gif"])
@pytest.mark.parametrize("start, end", [(None, None), (0.13, 0.5), (0.7, None)])
def test_animations_show_every_picture_for_as_long_as_they_say(tmp_path, suffix, start, end):
    path = animation(tmp_path / f"a.{suffix}").rename(tmp_path / "renamed.mp4")
    found = read.clip(path, fps=50.0, start=start, end=end)
    stops = np.cumsum(DURATIONS) / 1000
    moments = np.arange(len(found.frames)) / 50 + found.start
    expected = np.searchsorted(stops, moments + 1e-6, side="right")
    assert numbered_media.pictures_of(found) == expected.tolist()
    assert found.duration == pytest.approx((end or 1.8) - (start or 0.0), abs=0.02)
    assert not found.damage and found.audio is None


def test_an_animated_webp_that_was_cut_off_keeps_its_whole_pictures(tmp_path):
    data = animation(tmp_path / "a.webp", lossless=True).read_bytes()
    (tmp_path / "cut.webp").write_bytes(data[: len(data) * 3 // 4])
    found = read.clip(tmp_path / "cut.webp", fps=50.0)
    numbers = numbered_media.runs(found)
    assert 2 < len(numbers) < 8 and numbers == list(range(len(numbers)))
    assert found.damage == f"cut off after {len(numbers)} pictures"
    for size in (22, 60):
        (tmp_path / "cut.webp").write_bytes(data[:size])
        with pytest.raises(container.UnreadableError, match="^picture damaged: cut off before"):
            read.clip(tmp_path / "cut.webp")


def test_pictures_that_are_hardly_seen_stay_as_long_as_browsers_show_them(tmp_path):
    found = read.clip(animation(tmp_path / "a.webp", (0, 10, 20)), fps=50.0)
    assert found.duration == pytest.approx(0.22)


def test_a_still_webp_is_a_picture_and_no_video(tmp_path):
    Image.fromarray(numbered_media.picture(3)).save(tmp_path / "a.webp")
    with pytest.raises(container.UnreadableError, match="^not a video or sound"):
        read.clip(tmp_path / "a.webp")
    assert numbered_media.pictures_of(read.clip(tmp_path / "a.webp", kind="any")) == [3]
    shutil.copy(animation(tmp_path / "b.webp"), tmp_path / "c.jpg")
    assert numbered_media.pictures_of(read.clip(tmp_path / "c.jpg", kind="picture")) == [0]
    assert len(read.clip(tmp_path / "c.jpg", kind="any").frames) > 8
    assert frames.is_series(["a_1.jpg", "a_2.jpg"]) and not frames.is_series(["a_1.jpg", "b.jpg"])
