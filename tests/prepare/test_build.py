"""From a list of clips to a data set: what is in it, and how a run goes on."""

import csv
import dataclasses
import io
import itertools
import os
import pathlib
import shutil

import jax.numpy as jnp
import made_media
import numpy as np
import pytest
from PIL import Image

from av_mae.input import record, records
from av_mae.prepare import datasets
from av_mae.prepare.datasets import sample
from av_mae.prepare.media import decode
from av_mae.prepare.shards import build, state
from av_mae.prepare.shards import settings as settings_lib
from av_mae.preprocess import audio

SETTINGS = made_media.SETTINGS


def shard_files(out):
    return sorted(path for path in out.iterdir() if ".tfrecord-" in path.name)


def contents(out):
    return {path.name: path.read_bytes() for path in shard_files(out)}


def clips(out, split):
    found = []
    for shard in records.Info.load(out).split(split).shards:
        offsets = [*records.read_index(out, shard), shard.bytes]
        data = (out / shard.file).read_bytes()
        found += [record.decode(data[a + 12 : b - 4]) for a, b in itertools.pairwise(offsets)]
    return {clip.id: clip for clip in found}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def copy(prepared, tmp_path):
    return pathlib.Path(shutil.copytree(prepared, tmp_path / "tiny"))


def test_every_readable_clip_is_in_its_split_once(prepared, listing):
    train, test = clips(prepared, "train"), clips(prepared, "test")
    assert len(train) == 18 + 3 and len(test) == 9
    unreadable = {"train/moving+rising/page.mp4", "train/moving+rising/empty.mp4"}
    assert train.keys() | test.keys() == {e.id for e in listing.entries} - unreadable


def test_a_record_holds_what_the_file_shows(prepared, media_folder):
    info = records.Info.load(prepared)
    for id, clip in clips(prepared, "test").items():
        direct = decode.decode(media_folder / id, fps=SETTINGS.fps, short_side=SETTINGS.short_side)
        assert clip.fps == SETTINGS.fps and (clip.height, clip.width) == (48, 48)
        assert clip.source == id
        assert info.labels[clip.labels[0]] == id.split("/")[1]
        assert clip.duration == pytest.approx(direct.duration)
        assert len(clip.frames) == len(direct.frames) == 25
        np.testing.assert_array_equal(clip.audio, direct.audio)
        shown = np.asarray(Image.open(io.BytesIO(clip.frames[7])))
        assert np.abs(shown.astype(int) - direct.frames[7]).mean() < 6  # JPEG


def test_info_describes_the_data_set(prepared):
    info = records.Info.load(prepared)
    assert info.name == "tiny" and (info.fps, info.short_side) == (12.5, 48)
    assert info.labels == tuple(sorted(sample.CLASSES))
    assert {name: split.clips for name, split in info.splits.items()} == {"train": 21, "test": 9}
    train = {"clips": 21, "without_sound": 2, "silent": 1, "partial": 1, "rejected": 2}
    assert info.counts["splits"]["train"] == train
    assert info.counts["rejected"] == 2 and info.counts["clips"] == 30
    assert info.preprocessing["jpeg_quality"] == 90


@pytest.mark.parametrize("split", ["train", "test"])
def test_info_counts_the_labels_of_what_was_written(prepared, split):
    """Not of the clips that were listed and rejected."""
    info, written = records.Info.load(prepared), clips(prepared, split).values()
    labels = [label for clip in written for label in clip.labels]
    expected = [labels.count(label) for label in range(len(info.labels))]
    assert info.clips_by_label(split) == expected and info.most_labels(split) == 1


def test_sound_statistics_are_those_of_the_training_split(prepared):
    info = records.Info.load(prepared)
    waves = [clip.audio for clip in clips(prepared, "train").values() if clip.audio is not None]
    values = []
    for wave in waves:
        columns = len(wave) // 160
        wave_bs = jnp.asarray(wave[None, : 160 * columns] / np.float32(32768))
        values.append(np.asarray(audio.log_mel(wave_bs, 128, columns), np.float64).ravel())
    assert info.audio_mean == pytest.approx(np.concatenate(values).mean(), abs=0.02)
    assert info.audio_std == pytest.approx(np.concatenate(values).std(), abs=0.02)


def test_rejected_and_partial_clips_are_listed_with_the_reason(prepared):
    folder = "train/moving+rising"
    assert rows(prepared / "rejected.csv") == [
        ["id", "path", "reason"],
        [f"{folder}/empty.mp4", f"{folder}/empty.mp4", "empty file"],
        [
            f"{folder}/page.mp4",
            f"{folder}/page.mp4",
            "not a media file: Invalid data found when processing input",
        ],
    ]
    _, partial = rows(prepared / "partial.csv")
    assert partial[0] == f"{folder}/cut.mkv" and partial[2].startswith("cut off: ")


def test_tensorflow_datasets_reads_it(prepared):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(prepared)
    assert builder.info.splits["train"].num_examples == 21
    assert builder.info.features["label"].feature.names == sorted(sample.CLASSES)
    expected = clips(prepared, "test")
    for example in tfds.as_numpy(builder.as_dataset(split="test")):
        clip = expected.pop(example["id"].decode())
        assert example["frames"].shape == (25, 48, 48, 3)
        np.testing.assert_array_equal(example["audio"], clip.audio)
        np.testing.assert_array_equal(example["label"], clip.labels)
        assert example["fps"] == 12.5 and example["has_audio"] == 1
    assert not expected


def test_shards_are_the_same_bytes_with_any_number_of_workers(prepared, listing, tmp_path):
    backwards = datasets.Listing(listing.entries[::-1])
    build.build(backwards, tmp_path / "tiny", SETTINGS, workers=1)
    assert contents(tmp_path / "tiny") == contents(prepared)


def test_a_finished_run_does_nothing_again(prepared, listing, tmp_path):
    out = copy(prepared, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in shard_files(out)}
    report = build.build(listing, out, SETTINGS, workers=1)
    assert {path: path.stat().st_mtime_ns for path in shard_files(out)} == before
    assert report.clips == 30
    assert records.Info.load(out) == records.Info.load(prepared)


def test_only_what_is_missing_or_cut_short_is_made_again(prepared, listing, tmp_path):
    out = copy(prepared, tmp_path)
    first, second, *others = [path for path in shard_files(out) if path.suffix != ".index"]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    before = {path: path.stat().st_mtime_ns for path in others}
    build.build(listing, out, SETTINGS, workers=1)
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert contents(out) == contents(prepared)


def changed(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.mark.parametrize(
    "settings, message",
    [
        (changed(fps=25.0), "begun with --fps=12.5, now it is 25.0"),
        (changed(short_side=64), "begun with --short_side=48, now it is 64"),
        (changed(jpeg_quality=80), "begun with --jpeg_quality=90, now it is 80"),
        (changed(clips_per_shard=7), "begun with --clips_per_shard=5, now it is 7"),
        (changed(name="other"), "begun with --name=tiny, now it is other"),
    ],
)
def test_other_settings_do_not_continue_a_run(prepared, listing, settings, message):
    before = contents(prepared)
    with pytest.raises(ValueError, match=f"{message}; .*--overwrite"):
        build.build(listing, prepared, settings)
    assert contents(prepared) == before


def test_another_list_or_other_labels_do_not_continue_a_run(prepared, listing):
    with pytest.raises(ValueError, match="begun with another list of clips"):
        build.build(datasets.Listing(listing.entries[1:]), prepared, SETTINGS)
    with pytest.raises(ValueError, match="begun with another list of labels"):
        build.build(listing, prepared, SETTINGS, labels=sample.CLASSES[::-1])


def test_overwriting_replaces_the_data_set_and_nothing_else(prepared, listing, tmp_path):
    out = copy(prepared, tmp_path)
    (out / "notes.txt").write_text("mine")
    few = datasets.Listing(listing.entries[-3:])
    build.build(few, out, changed(name="other", fps=5.0), overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert {path.name.partition("-")[0] for path in shard_files(out)} == {"other"}
    assert records.Info.load(out).fps == 5.0


def test_a_data_set_without_its_state_is_not_touched(prepared, listing, tmp_path):
    out = copy(prepared, tmp_path)
    shutil.rmtree(out / ".prepare")
    with pytest.raises(ValueError, match="holds a data set that this run cannot continue"):
        build.build(listing, out, SETTINGS)


def test_two_runs_do_not_write_into_one_folder(prepared, listing):
    labels = settings_lib.label_names(listing.entries, None)
    fingerprint = SETTINGS.fingerprint(listing.entries, labels)
    with (
        state.held(prepared, fingerprint, overwrite=False),
        pytest.raises(ValueError, match="another run is writing into"),
    ):
        build.build(listing, prepared, SETTINGS)


def test_a_folder_that_cannot_be_written(listing, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write into --out=.*file"):
        build.build(listing, tmp_path / "file", SETTINGS)


def test_parts_of_one_file_are_clips_of_their_own(media_folder, tmp_path):
    path = next((media_folder / "test").rglob("*.mp4"))
    entries = [
        datasets.Entry(f"part{i}", os.fspath(path), "x", "train", (), i / 2, (i + 1) / 2)
        for i in range(4)
    ]
    build.build(datasets.Listing(tuple(entries)), tmp_path, changed(name="parts"))
    made = clips(tmp_path, "train")
    assert [made[f"part{i}"].start for i in range(4)] == [0.0, 0.5, 1.0, 1.5]
    assert all(len(clip.audio) == 8_000 for clip in made.values())
    assert all(len(clip.frames) in (6, 7) for clip in made.values())


def test_a_split_of_which_nothing_is_readable(listing, tmp_path):
    page = next(e for e in listing.entries if e.id.endswith("page.mp4"))
    good = next(e for e in listing.entries if e.split == "test")
    build.build(datasets.Listing((page, good)), tmp_path, changed(name="few"))
    info = records.Info.load(tmp_path)
    assert info.split("train").clips == 0 and info.split("test").clips == 1
    assert info.audio_mean is None

    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(tmp_path)
    assert len(list(builder.as_dataset(split="test"))) == 1


@pytest.mark.parametrize(
    "settings, message",
    [
        (changed(fps=0.0), "--fps is 0.0, expected 0.1 to 240"),
        (changed(short_side=1), "--short_side is 1, expected 2"),
        (changed(jpeg_quality=100), "--jpeg_quality is 100"),
        (changed(clips_per_shard=0), "--clips_per_shard is 0"),
        (changed(name="My Set"), "--name is 'My Set', expected letters a-z"),
    ],
)
def test_settings_that_cannot_be(listing, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        build.build(listing, tmp_path / "x", settings)
    assert not (tmp_path / "x").exists()
