"""A clip comes back as it was written, and a damaged or absent data set says what to do."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from av_mae.input import record, records

BOX = record.Box(0.0, 0.5, 0.25, 1.0, label=1)


def _clip(name: str = "a", **changes) -> record.Clip:
    clip = record.Clip(
        id=name, source="dir/ünïcode, file.mp4", frames=(b"one", b"two" * 50), fps=12.5,
        height=24, width=32, audio=np.arange(-5, 700, dtype=np.int16), start=1.5, duration=0.25,
        labels=(3, 1),
    )  # fmt: skip
    return dataclasses.replace(clip, **changes)


def _info(folder, *shards: records.Shard) -> records.Info:
    split = records.Split("train", shards)
    return records.Info(
        name="toy", version="1.0.0", fps=12.5, short_side=24, labels=("x", "y"),
        splits={"train": split}, preprocessing={"quality": 90}, counts={"clips": split.clips},
        audio_mean=None, audio_std=1.5,
    )  # fmt: skip


def test_a_clip_survives_encoding():
    clip = _clip()
    back = record.decode(record.encode(clip))
    assert np.array_equal(back.audio, clip.audio) and back.audio.dtype == np.int16
    assert dataclasses.replace(back, audio=None) == dataclasses.replace(clip, audio=None)


def test_no_sound_and_empty_sound_stay_different():
    assert record.decode(record.encode(_clip(audio=None))).audio is None
    empty = record.decode(record.encode(_clip(audio=np.empty(0, np.int16)))).audio
    assert empty is not None and empty.shape == (0,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frames": (), "audio": None}, "neither a frame nor sound"),
        ({"fps": 0.0}, "frames a second"),
        ({"boxes": (record.Box(0.2, 0.0, 0.1, 1.0, 0),)}, "expected 0 <= x1 <= x2 <= 1"),
        ({"boxes": (record.Box(0.0, 0.0, 1.1, 1.0, 0),)}, "expected 0 <= x1 <= x2 <= 1"),
        ({"boxes": (record.Box(0.0, 0.0, 1.0, 1.0, 0, time=0.3),)}, "at 0.3 s, expected 0 to 0.25"),
        ({"audio": np.zeros(4, np.float32)}, "int16"),
        ({"audio": np.zeros((4, 2), np.int16)}, "mono"),
    ],
)
def test_an_impossible_clip_is_refused_by_name(change, says):
    with pytest.raises(ValueError, match=f"'bad'.*{says}"):
        record.encode(_clip("bad", **change))


def test_a_record_is_the_bytes_of_tensorflows_own_message():
    payload = record.encode(_clip())
    example = tf.train.Example.FromString(payload)
    assert {"id", "frames", "fps", "audio", "label"} <= set(example.features.feature)
    assert list(example.features.feature["label"].int64_list.value) == [3, 1]
    assert example.SerializeToString(deterministic=True) == payload


def test_reading_records_loads_neither_tensorflow_nor_jax():
    script = (
        "import sys, av_mae.input.records; print(*{'jax', 'tensorflow'} & set(sys.modules), 'none')"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "none\n"


def test_bytes_that_are_no_clip_are_refused():
    for payload in (b"\xff\xff\xff", tf.train.Example().SerializeToString()):
        with pytest.raises(ValueError, match="not a clip"):
            record.decode(payload)


def test_the_index_finds_every_record(tmp_path):
    clips = [_clip(f"clip{i}", frames=(b"x" * (i + 1),)) for i in range(5)]
    path = tmp_path / "toy-train.tfrecord-00000-of-00001"
    shard = records.write_shard(path, clips)
    offsets = records.read_index(tmp_path, shard)
    assert shard.clips == 5 and shard.bytes == path.stat().st_size
    assert shard.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    sequential = [record.decode(r.numpy()).id for r in tf.data.TFRecordDataset(str(path))]
    assert sequential == [clip.id for clip in clips]
    for offset, clip in zip(offsets, clips, strict=True):
        raw = path.read_bytes()[offset:]
        length = int.from_bytes(raw[:8], "little")
        assert record.decode(raw[12 : 12 + length]).id == clip.id


def test_a_shard_is_a_pure_function_of_its_clips(tmp_path):
    shards = [records.write_shard(tmp_path / name, [_clip(), _clip("b")]) for name in "pq"]
    assert shards[0].sha256 == shards[1].sha256


def test_a_split_counts_the_clips_that_have_sound(tmp_path):
    silent = [_clip("b", audio=None), _clip("c", audio=np.empty(0, np.int16))]
    split = records.Split("train", (records.write_shard(tmp_path / "s", [_clip(), *silent]),))
    assert (split.clips, split.having["audio"]) == (3, 1)


def test_a_split_counts_the_clips_that_have_pictures_and_boxes(tmp_path):
    clips = [_clip(), _clip("b", frames=(), height=0, width=0), _clip("c", boxes=(BOX, BOX))]
    split = records.Split("train", (records.write_shard(tmp_path / "s", clips),))
    assert split.having == {"video": 2, "audio": 3, "boxes": 1}


def test_a_clip_of_sound_alone_and_one_with_boxes_survive_encoding():
    sides = dict(zip(("x1", "y1", "x2", "y2"), (0.0, 0.25, 0.5, 1.0), strict=True))
    two = tuple(record.Box(**sides, label=label, person=7, time=0.125) for label in (0, 79))
    for clip in (_clip(frames=(), height=0, width=0), _clip(boxes=(*two, BOX))):
        back = record.decode(record.encode(clip))
        assert dataclasses.replace(back, audio=None) == dataclasses.replace(clip, audio=None)


def test_descriptions_of_the_first_format_are_read(tmp_path):
    info = _info(tmp_path, records.write_shard(tmp_path / "toy-train", [_clip(), _clip("b")]))
    info.save(tmp_path)
    path = tmp_path / records.INFO_FILE
    values = json.loads(path.read_text()) | {"format": 1}
    for shard in values["splits"]["train"]["shards"]:
        del shard["with_pictures"], shard["with_boxes"]
    path.write_text(json.dumps(values))
    assert records.Info.load(tmp_path) == info


def test_an_empty_shard_is_readable(tmp_path):
    shard = records.write_shard(tmp_path / "s", [])
    assert shard.clips == 0 and len(records.read_index(tmp_path, shard)) == 0


def test_an_interrupted_shard_leaves_nothing_under_its_name(tmp_path):
    def failing():
        yield _clip()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.write_shard(tmp_path / "shard", failing())
    assert list(tmp_path.iterdir()) == []


def test_info_survives_saving(tmp_path):
    info = _info(tmp_path, records.write_shard(tmp_path / "toy-train", [_clip()]))
    info.save(tmp_path / "deeper")
    assert records.Info.load(tmp_path / "deeper") == info
    assert [p.name for p in (tmp_path / "deeper").iterdir()] == [records.INFO_FILE]


def test_a_folder_without_a_data_set_says_how_to_write_one(tmp_path):
    with pytest.raises(ValueError, match=r"av_mae\.json missing.*av_mae\.prepare.*--out="):
        records.Info.load(tmp_path)


def test_a_damaged_description_is_named(tmp_path):
    no_splits = ('{"format": 2, "splits": []}', '{"format": 2, "splits": {"train": null}}')
    scalars = ("5", "null", '"x"', "[]")
    for text in ("{", '{"format": 99}', '{"format": 1, "name": "x"}', *no_splits, *scalars):
        (tmp_path / records.INFO_FILE).write_text(text)
        with pytest.raises(ValueError, match=r"av_mae\.json is not a readable.*prepare it again"):
            records.Info.load(tmp_path)


def test_an_unknown_split_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="no split 'val'; it has: train"):
        _info(tmp_path).split("val")


def test_damage_to_a_shard_is_seen_before_training(tmp_path):
    path = tmp_path / "toy-train"
    shard = records.write_shard(path, [_clip(), _clip("b")])
    whole, index = path.read_bytes(), records.index_path(path)
    offsets = index.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="toy-train has .* bytes"):
        records.read_index(tmp_path, shard)
    path.write_bytes(whole)
    for damaged in (offsets[:8], offsets[:11], offsets[::-1]):
        index.write_bytes(damaged)
        with pytest.raises(ValueError, match="index does not fit"):
            records.read_index(tmp_path, shard)
    index.unlink()
    with pytest.raises(ValueError, match=r"toy-train\.index is missing"):
        records.read_index(tmp_path, shard)


def test_a_folder_of_media_is_no_place_to_write_records_into(tmp_path):
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(ValueError, match=f"--config.dataset.source={tmp_path} prepares them at"):
        records.Info.load(tmp_path)
    with pytest.raises(ValueError, match="write one with .*--out=DIR"):
        records.Info.load("")
