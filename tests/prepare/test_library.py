"""Media are found in every usual layout, and what is missing is refused clip by clip."""

import unicodedata

import pytest

from av_mae.prepare import datasets
from av_mae.prepare.lists import library


def files(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return library.Library(root)


def piece(youtube="--0PQM4-hqg", start=30.0, end=40.0, *, split="train", label="a", whole=True):
    return library.of_video(library.piece(youtube, start, end, split, (label,)), whole=whole)


@pytest.mark.parametrize(
    "name",
    [
        "--0PQM4-hqg_000030.mp4",
        "train/waterfall burbling/--0PQM4-hqg_000030_000040.webm",
        "--0PQM4-hqg_30.mkv",
        "--0PQM4-hqg_30_40.mp4",
        "--0PQM4-hqg_30.000.mp4",
        "--0PQM4-hqg_30.0-40.0.wav",
        "--0PQM4-hqg_30000.flac",
        "--0PQM4-hqg_30000_40000.mp4",
        "part_07/Y--0PQM4-hqg.wav",
    ],
)
def test_a_piece_is_found_under_all_usual_names(tmp_path, name):
    entry = files(tmp_path, name, "--0PQM4-hqg_000031.mp4").find(piece())
    assert (entry.source, entry.path) == (name, str(tmp_path / name))
    assert (entry.id, entry.start, entry.end) == ("--0PQM4-hqg_000030_000040", None, None)


def test_a_piece_is_cut_from_the_whole_video_unless_that_is_the_piece(tmp_path):
    found = files(tmp_path, "videos/--0PQM4-hqg.mp4")
    assert (found.find(piece()).start, found.find(piece()).end) == (30.0, 40.0)
    assert found.find(piece(whole=False)).start is None
    assert files(tmp_path, "--0PQM4-hqg_000030.mp4").find(piece()).start is None


def test_times_that_are_no_whole_seconds_have_ids_of_their_own(tmp_path):
    entry = files(tmp_path, "a_4.500_14.500.mp4").find(piece("a", 4.5, 14.5))
    assert entry.id == "a_000004.500_000014.500"


def test_what_lies_beside_the_media_is_no_clip(tmp_path):
    beside = ("mp4.part", "info.json", "en.vtt", "jpg", "zip", "txt")
    found = files(tmp_path, *(f"a.{suffix}" for suffix in beside), ".trash/a.mp4")
    assert found.find(piece("a")) is None
    assert files(tmp_path, "sound/a.wav", "video/a.mp4").find(piece("a")).source == "video/a.mp4"
    (tmp_path / "b.jpg").touch()
    wanted = library.Wanted(datasets.Entry("b", "", "", "train"), ("b",))
    assert library.Library(tmp_path).find(wanted) is None
    assert "b.jpg" in map(str, library.media(tmp_path, pictures=True))


def test_replacements_of_damaged_files_come_first(tmp_path):
    replacement = "replacement/replacement_for_corrupted_k400/a_000030_000040.mp4"
    found = files(tmp_path, "train/a_000030_000040.mp4", replacement, "z/a_000030_000040.mp4")
    assert found.find(piece("a")).source == replacement


def test_files_of_one_name_are_spoken_of_where_the_name_is_asked_for(tmp_path):
    names = ("x/a_30.mp4", "y/a_30.mp4", "x/b.mp4", "y/b.wav", "x/c_30.mp4", "y/c_30.mp4")
    found = files(tmp_path, *names).listing([piece("a"), piece("b")], labels=["a"])
    (warning,) = found.warnings
    assert "for 1 clips" in warning and "x/a_30.mp4 and not y/a_30.mp4" in warning
    found = files(tmp_path / "z", "x/b.mp4", "y/b.wav").listing([piece("b")], labels=["a"])
    assert found.warnings == ()


def test_missing_clips_are_refused_one_by_one_and_all_are_counted(tmp_path):
    found = files(tmp_path, "a_30.mp4", "b.mp4")
    wanted = [piece("a"), piece("gone"), piece("b", split="test"), piece("a", label="z")]
    listing = found.listing(wanted, labels=["a", "z"], published=5)
    assert [entry.id[0] for entry in listing.entries] == ["a", "b"]
    assert [(refused.id, refused.reason.partition(":")[0]) for refused in listing.refused] == [
        ("gone_000030_000040", "file not found"),
        ("a_000030_000040", "listed twice"),
    ]
    assert listing.labels == ("a", "z")
    assert (listing.listed, listing.published) == ({"train": 3, "test": 1}, 5)


def test_where_nothing_is_found_it_is_said_what_was_looked_for_and_what_is_there(tmp_path):
    looked_for = "the first would be 'a' .the whole video. or 'a_000030_000040'"
    there = "What lies there: 'videos/00001.mp4'"
    with pytest.raises(ValueError, match=f"(?i)none of the 2 listed.*{looked_for}.*{there}"):
        files(tmp_path, "videos/00001.mp4").listing([piece("a"), piece("b")], labels=["a"])
    with pytest.raises(ValueError, match="name no clip"):
        library.Library(tmp_path).listing([], labels=[])


@pytest.mark.parametrize(("on_disc", "in_list"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_names_are_the_same(tmp_path, on_disc, in_list):
    there, written = (unicodedata.normalize(form, "café") for form in (on_disc, in_list))
    wanted = library.Wanted(datasets.Entry(written, "", "", "train"), (written,))
    assert files(tmp_path, f"{there}.mp4").find(wanted).source == f"{there}.mp4"
