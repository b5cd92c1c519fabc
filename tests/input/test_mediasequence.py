"""MediaSequence files as DMVR writes them are read where they lie, through config alone."""

import dataclasses
import gzip
import itertools

import input_clips
import numpy as np
import pytest
import tensorflow as tf

from av_mae.config import parse, schema
from av_mae.input import description, mediasequence, pipeline, records
from av_mae.planning import synthetic

CLIPS = 7
FORMAT = schema.Dataset(
    format="mediasequence", mediasequence=schema.MediaSequence(classes=3, fps=input_clips.FPS)
)


def sequence(number: int, *, rate: int = 16_000, frames: int = 30, late: float | None = None,
             sound: bool = True, mels: int = 0, columns: int = 0) -> bytes:  # fmt: skip
    """The clip of `input_clips` as a tf.SequenceExample; sound begins `late` s after the frames.

    With `mels` it holds a spectrogram of as many bands instead, whose columns count from 0.
    """
    made, clip = tf.train.SequenceExample(), input_clips.clip(number, frames)
    made.context.feature["clip/label/index"].int64_list.value.extend(clip.labels)
    lists = made.feature_lists.feature_list
    for picture in clip.frames:
        lists["image/encoded"].feature.add().bytes_list.value.append(picture)
    if late is not None:
        for i in range(frames):
            time = 5_000_000 + round(1e6 * i / input_clips.FPS)
            lists["image/timestamp"].feature.add().int64_list.value.append(time)
        time = 5_000_000 + round(1e6 * late)
        for name in ("WAVEFORM", "melspec"):
            lists[f"{name}/feature/timestamp"].feature.add().int64_list.value.append(time)
    if mels:
        counted = np.repeat(np.arange(columns, dtype=np.float32)[:, None], mels, axis=1)
        for second in np.split(counted, range(100, columns, 100)):
            lists["melspec/feature/floats"].feature.add().float_list.value.extend(second.ravel())
    elif sound:
        seconds = np.arange(round(frames / input_clips.FPS * rate)) / rate
        wave = (1 + np.floor(1000 * seconds)) / 32768
        lists["WAVEFORM/feature/floats"].feature.add().float_list.value.extend(wave)
    return made.SerializeToString()


def write(folder, table: str, made: list[bytes], shards: int = 2):
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        with tf.io.TFRecordWriter(str(folder / f"{table}-{shard:05d}-of-{shards:05d}")) as file:
            for clip in made[shard::shards]:
                file.write(clip)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    write(folder, "train", [sequence(i) for i in range(CLIPS)])
    return write(folder, "test", [sequence(i) for i in range(2)], shards=1)


def _dataset(**changes) -> schema.Dataset:
    return dataclasses.replace(
        FORMAT, mediasequence=dataclasses.replace(FORMAT.mediasequence, **changes)
    )


def _train(folder, count: int, dataset=FORMAT, kinds=None, **kwargs):
    settings = {"batch_size": 4, "seed": 3} | kwargs
    batches = pipeline.train_batches(
        folder, kinds or input_clips.both(), dataset, schema.Augment(), **settings
    )
    return list(itertools.islice(batches, count))


def _eval(folder, split, dataset=FORMAT, kinds=None, **kwargs):
    settings = {"batch_size": 4, "dataset": dataset} | kwargs
    return list(pipeline.eval_batches(folder, split, kinds or input_clips.both(), **settings))


def _equal(one, other) -> bool:
    return all(np.array_equal(a[k], b[k]) for a, b in zip(one, other, strict=True) for k in a)


@pytest.fixture(scope="module")
def unbroken(folder):
    return _train(folder, 5)


def test_pictures_sound_and_labels_belong_together(unbroken):
    seen = np.concatenate([batch["index"] for batch in unbroken])
    assert sorted(seen[:CLIPS]) == list(range(CLIPS))
    for batch in unbroken:
        clips, frames = input_clips.shown(batch["video"])
        # Position in the table: the clips of its first shard, then those of its second.
        order = np.array([*range(0, CLIPS, 2), *range(1, CLIPS, 2)])
        assert np.array_equal(clips[:, 0], order[batch["index"]])
        assert np.array_equal(batch["label"].argmax(1), clips[:, 0] % 3)
        centres = (frames[:, 0] + frames[:, -1] + 1) / 2 / input_clips.FPS
        expected = 1000 * np.clip(centres - 0.2, 0.0, 2.0)
        assert np.abs(batch["audio"][:, 0].astype(int) - 1 - expected).max() <= 1


def test_a_run_continues_and_spreads_over_hosts_as_on_our_own_records(folder, unbroken):
    assert _equal(_train(folder, 2, start=3), unbroken[3:])
    rows = np.array_split(np.arange(len(unbroken[0]["index"])), 2)
    shares = [_train(folder, 5, rows=own) for own in rows]
    joined = [{k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*shares, strict=True)]
    assert _equal(joined, unbroken)


def test_evaluation_sees_every_clip_of_the_asked_table_once(folder):
    batches = _eval(folder, "train@2")
    assert list(np.concatenate([b["index"][b["valid"]] for b in batches])) == list(range(CLIPS))
    (batch,) = _eval(folder, "test")
    assert batch["valid"].tolist() == [True, True, False, False]


def test_a_whole_run_is_planned_from_the_config(folder):
    values = {"dataset": dataclasses.asdict(FORMAT) | {"path": str(folder)}, "modalities": {}}
    values["modalities"] = {k: dataclasses.asdict(m) for k, m in input_clips.both().items()}
    info = description.of(parse.experiment(values).dataset)
    assert info.labels == ("0", "1", "2") and info.split("train@2").clips == CLIPS
    assert list(info.splits) == ["test", "train"]


@pytest.mark.parametrize("complete", [False, True])
def test_a_plan_is_of_batches_as_the_files_give_them(folder, complete):
    """Clips may lack a modality unless the config says that none does."""
    values = {"modalities": {k: dataclasses.asdict(m) for k, m in input_clips.both().items()}}
    values["dataset"] = dataclasses.asdict(_dataset(complete=complete)) | {"path": str(folder)}
    e = parse.experiment(values)
    (real,) = _train(folder, 1, dataset=e.dataset)
    noise = synthetic.batch(e, description.of(e.dataset), 4)
    assert {k: (x.shape, x.dtype) for k, x in noise.items()} == {
        k: (x.shape, x.dtype) for k, x in real.items()
    }
    assert ("audio_present" in noise) is not complete


def test_waveforms_of_48_khz_are_brought_to_16(tmp_path):
    write(tmp_path, "train", [sequence(0, rate=48_000)], shards=1)
    (batch,) = _eval(tmp_path, "train", _dataset(sample_rate=48_000), temporal_views=2)
    (expected,) = _eval(write(tmp_path / "16", "train", [sequence(0)], shards=1), "train",
                        temporal_views=2)  # fmt: skip
    inner = slice(100, -100)
    difference = batch["audio"][0, :, inner].astype(int) - expected["audio"][0, :, inner]
    assert np.abs(difference).max() <= 1


def test_nothing_above_8_khz_is_folded_down(tmp_path):
    made = tf.train.SequenceExample.FromString(sequence(0, sound=False))
    wave = 0.5 * np.sin(2 * np.pi * 10_000 * np.arange(115_200) / 48_000)
    sound = made.feature_lists.feature_list["WAVEFORM/feature/floats"].feature.add()
    sound.float_list.value.extend(wave)
    write(tmp_path, "train", [made.SerializeToString()], shards=1)
    (batch,) = _eval(tmp_path, "train", _dataset(sample_rate=48_000))
    assert 0 < np.abs(batch["audio"][0, 0, 100:-100]).max() < 0.005 * 32768


@pytest.mark.parametrize("late", [-0.5, 0.0, 0.8])
@pytest.mark.parametrize("mels", [0, 16])
def test_time_stamps_put_sound_where_it_was_heard(tmp_path, late, mels):
    made = sequence(1, late=late, mels=mels, columns=240)
    write(tmp_path, "train", [made], shards=1)
    (batch,) = _eval(tmp_path, "train", _dataset(fps=0.0), temporal_views=5)
    _, frames = input_clips.shown(batch["video"][0])
    centres = (frames[:, 0] + frames[:, -1] + 1) / 2 / input_clips.FPS
    sound = batch["audio"][0]
    if mels:
        assert sound.shape == (5, 40, 16) and sound.dtype == np.float32
        heard = sound[:, 20, 0] / 100  # the column in the middle of the window
    else:
        heard = (sound[:, 3200].astype(float) - 1) / 1000
    inside = (centres > 0.2) & (centres < 2.2)  # elsewhere the window stops at the clip's ends
    inside &= (centres > late + 0.01) & (centres < late + 2.39)
    assert inside.sum() >= 2
    assert np.allclose(heard[inside], (centres - late)[inside], atol=0.011)


def test_a_spectrogram_that_ends_early_is_quiet_from_then_on(tmp_path):
    write(tmp_path, "train", [sequence(0, mels=16, columns=25)], shards=1)
    kinds = {"audio": input_clips.both()["audio"]}
    (batch,) = _eval(tmp_path, "train", kinds=kinds)
    assert batch["audio"][0, 0, :, 5].tolist() == [*range(25), *[0.0] * 15]
    again = dataclasses.replace(FORMAT, sampling="dense_cyclic")
    (batch,) = _eval(tmp_path, "train", again, kinds)
    assert batch["audio"][0, 0, :, 5].tolist() == [*range(25), *range(15)]


def test_cyclic_training_windows_begin_at_the_share_of_the_pictures(tmp_path):
    """As Scenic's: round(columns * first frame / frames), read on from the beginning."""
    write(tmp_path, "train", [sequence(0, mels=16, columns=50)], shards=1)
    again = dataclasses.replace(FORMAT, sampling="dense_cyclic")
    starts = set()
    for batch in _train(tmp_path, 6, again, batch_size=2):
        _, frames = input_clips.shown(batch["video"])
        for row, columns in zip(frames, batch["audio"][:, :, 0], strict=True):
            first = round(50 * row[0] / 30)
            assert columns.tolist() == [(first + i) % 50 for i in range(40)]
            starts.add(row[0])
    assert len(starts) > 4


def test_clips_without_sound_are_marked(tmp_path):
    write(tmp_path, "train", [sequence(0, sound=False), sequence(1)], shards=1)
    (batch,) = _eval(tmp_path, "train", batch_size=2)
    assert batch["audio_present"].tolist() == [False, True]
    with pytest.raises(records.DataError, match="has no WAVEFORM/feature/floats, but .*complete"):
        _eval(tmp_path, "train", _dataset(complete=True), batch_size=2)


@pytest.mark.parametrize(
    "change, says",
    [
        (
            {"fps": 0.0, "sound": "melspec"},
            "'melspec', but the first 32 clips .* have waveform",
        ),
        ({"sample_rate": 44_100}, "44100, expected a multiple of 16000"),
        ({"labels": "no/such/file"}, "no file 'no/such/file'"),
    ],
)
def test_settings_that_do_not_fit_the_files_are_refused(folder, change, says):
    with pytest.raises(schema.ConfigError, match=says):
        _eval(folder, "train", _dataset(**change))


def test_label_names_come_from_a_file(folder, tmp_path):
    names = tmp_path / "labels.txt"
    names.write_text("cat\ndog\nowl\n")
    with_names = dataclasses.replace(_dataset(labels=str(names), classes=0), path=str(folder))
    assert description.of(with_names).labels == ("cat", "dog", "owl")
    (batch,) = _eval(folder, "test", with_names)
    assert batch["label"].shape == (4, 3)
    (batch,) = _eval(folder, "test", _dataset(classes=0))
    assert batch["label"].shape == (4, 0)


def test_tables_that_are_not_whole_are_refused_by_name(folder, tmp_path):
    with pytest.raises(schema.ConfigError, match="no split 'val'; it has: test, train"):
        _eval(folder, "val")
    with pytest.raises(schema.ConfigError, match="lacks 3 of 3 shards, the first is train-00000"):
        _eval(folder, "train@3")
    with pytest.raises(schema.ConfigError, match="'train@2x': expected a number of shards"):
        _eval(folder, "train@2x")
    write(tmp_path, "train", [sequence(0)], shards=1)
    write(tmp_path, "train", [sequence(0), sequence(1)], shards=2)
    with pytest.raises(schema.ConfigError, match="more than once: say train@1 and train@2"):
        _eval(tmp_path, "train")
    assert len(_eval(tmp_path, "train@2", batch_size=1)) == 2
    (tmp_path / "train-00001-of-00002").unlink()
    with pytest.raises(schema.ConfigError, match="lacks 1 of 2 .* train-00001-of-00002"):
        _eval(tmp_path, "train@2")


def test_integers_read_as_floats_are_told_from_sound(tmp_path):
    """DMVR's own example script asks ffmpeg for s32le and reads float32."""
    made = tf.train.SequenceExample.FromString(sequence(0, sound=False))
    loud = np.arange(-(2**30), 2**30, 2**16, dtype=np.int32).view(np.float32)
    sound = made.feature_lists.feature_list["WAVEFORM/feature/floats"].feature.add()
    sound.float_list.value.extend(loud)
    write(tmp_path, "train", [made.SerializeToString()], shards=1)
    with pytest.raises(records.DataError, match="not sound between -1 and 1.*f32le"):
        _eval(tmp_path, "train")


def test_offsets_are_found_once_and_kept_beside_the_shard(tmp_path):
    made = [sequence(i, frames=2) for i in range(3)]
    write(tmp_path, "train", made, shards=1)
    shard = tmp_path / "train-00000-of-00001"
    found = mediasequence.offsets(shard)
    assert np.diff(found).tolist() == [len(clip) + 16 for clip in made[:2]]
    kept = records.index_path(shard)
    assert np.array_equal(np.frombuffer(kept.read_bytes(), "<i8"), found)
    write(tmp_path, "train", made[:1], shards=1)  # the index is of the file before
    assert len(mediasequence.offsets(shard)) == 1


def test_offsets_are_kept_in_the_cache_where_the_folder_is_not_to_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "data", "train", [sequence(0, frames=2)], shards=1)
    shard = tmp_path / "data" / "train-00000-of-00001"
    records.index_path(shard).mkdir()  # nothing can be written there, not even by root
    found = mediasequence.offsets(shard)
    (kept,) = (tmp_path / "cache").rglob("*.index")
    assert np.array_equal(np.frombuffer(kept.read_bytes(), "<i8"), found)
    assert np.array_equal(mediasequence.offsets(shard), found)


def test_files_that_cannot_be_read_at_random_are_refused_by_name(tmp_path):
    write(tmp_path, "train", [sequence(0, frames=2)], shards=1)
    shard = tmp_path / "train-00000-of-00001"
    content = shard.read_bytes()
    for damaged, says in (
        (content[:-9], "ends inside the record at byte 0|is not a TFRecord file"),
        (content + content[:50], "ends inside the record at byte"),
        (gzip.compress(content), "is compressed"),
        (b"<html>404</html>" * 10, "is not a TFRecord file"),
    ):
        shard.write_bytes(damaged)
        with pytest.raises(records.DataError, match=f"train-00000-of-00001 .*{says}"):
            mediasequence.offsets(shard)


@pytest.mark.parametrize("melspec", [False, True])
def test_a_clip_is_read_whole(tmp_path, melspec):
    made = [sequence(i, mels=16 if melspec else 0, columns=240) for i in range(3)]
    write(tmp_path, "train", made)
    dataset = dataclasses.replace(FORMAT, path=str(tmp_path))
    (clip,) = pipeline.whole_clips(
        dataset, "train", input_clips.both(), [1], seconds=1.0, short_side=12
    )
    number, frames = input_clips.shown(clip.frames)
    assert clip.frames.shape == (13, 12, 16, 3) and clip.fps == pytest.approx(input_clips.FPS)
    assert set(number) == {2} and frames.tolist() == list(range(13))  # shards hold 0, 2 and 1
    assert clip.sound.shape == ((100, 16) if melspec else (16_000,))


def test_its_clips_are_drawn_by_class(tmp_path):
    """By the labels that the files hold, which nobody counted before."""
    made = [tf.train.SequenceExample.FromString(sequence(3 * i, frames=4)) for i in range(6)]
    made[5].context.feature["clip/label/index"].int64_list.value[:] = [1]
    write(tmp_path, "train", [one.SerializeToString() for one in made])
    dataset = dataclasses.replace(FORMAT, path=str(tmp_path), class_sampling="balanced")
    (batch,) = _train(tmp_path, 1, dataset, batch_size=6)
    assert batch["label"].sum(0).tolist() == [3, 3, 0]
