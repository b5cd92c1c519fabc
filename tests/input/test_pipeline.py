"""Batches depend on (seed, batch number) alone, pictures and sound fit, nothing is lost."""

import dataclasses
import itertools
import pathlib
import subprocess
import sys

import input_clips
import numpy as np
import pytest

from av_mae.config import schema
from av_mae.input import pipeline, record, records, skim

ROOT = pathlib.Path(__file__).parents[2]
CLIPS = 11
SILENT, SHORT, LABELLED = 3, 5, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    changes = {
        f"c{SILENT}": {"sound": None},
        f"c{SHORT}": {"frames": 3, "sound": 0.1},
        f"c{LABELLED}": {"label": (0, 2)},
    }
    input_clips.write(folder, CLIPS, **changes)
    return folder


def _train(folder, count: int, *, crop="random_resized", kinds=None, repeat=1, **kwargs):
    dataset = schema.Dataset(repeat=repeat, workers=kwargs.pop("workers", 0))
    batches = pipeline.train_batches(
        folder,
        input_clips.both() if kinds is None else kinds,
        dataset,
        schema.Augment(crop=crop),
        **({"batch_size": 4, "seed": 7} | kwargs),
    )
    return list(itertools.islice(batches, count))


def _eval(folder, **kwargs):
    kinds = kwargs.pop("kinds", input_clips.both())
    dataset = schema.Dataset(sampling=kwargs.pop("sampling", "dense"))
    settings = {"batch_size": 4, "dataset": dataset} | kwargs
    return list(pipeline.eval_batches(folder, "train", kinds, **settings))


def _equal(one, other) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        for a, b in zip(one, other, strict=True)
    )


def _joined(shares, rows):
    """Batches of several hosts, each put where its rows belong."""
    back = np.argsort(np.concatenate(rows))
    return [
        {k: np.concatenate([share[k] for share in parts])[back] for k in parts[0]}
        for parts in zip(*shares, strict=True)
    ]


@pytest.fixture(scope="module")
def unbroken(folder):
    """Seven batches, more than two epochs, with random crops."""
    return _train(folder, 7)


def test_a_training_batch_is_what_it_says(unbroken):
    batch = unbroken[0]
    shapes = {k: (v.shape, v.dtype) for k, v in batch.items()}
    assert shapes == {
        "video": ((4, 4, 16, 16, 3), np.uint8),
        "audio": ((4, 6400), np.int16),
        "audio_present": ((4,), np.bool_),
        "label": ((4, 3), np.float32),
        "index": ((4,), np.int32),
        "valid": ((4,), np.bool_),
    }
    assert batch["valid"].all()


def test_every_clip_comes_once_an_epoch(unbroken):
    seen = np.concatenate([batch["index"] for batch in unbroken])
    first, second = seen[:CLIPS], seen[CLIPS : 2 * CLIPS]
    assert sorted(first) == sorted(second) == list(range(CLIPS)) and list(first) != list(second)


def test_pictures_labels_and_presence_belong_to_their_clip(unbroken):
    for batch in unbroken:
        clips, _ = input_clips.shown(batch["video"])
        assert np.array_equal(clips, np.repeat(batch["index"][:, None], 4, 1))
        for clip, label in zip(batch["index"], batch["label"], strict=True):
            names = [0, 2] if clip == LABELLED else [clip % 3]
            assert list(np.flatnonzero(label)) == names and set(label) <= {0.0, 1.0}
        assert np.array_equal(batch["audio_present"], batch["index"] != SILENT)


def test_sound_and_pictures_are_of_the_same_time(unbroken):
    """The window is centred on the time the frames are shown, or stopped by the clip's ends."""
    for batch in unbroken:
        _, frames = input_clips.shown(batch["video"])
        for row in range(4):
            if batch["index"][row] in (SILENT, SHORT):
                continue
            centre = (frames[row, 0] + frames[row, -1] + 1) / 2 / input_clips.FPS
            expected = np.clip(centre - 0.2, 0.0, 30 / input_clips.FPS - 0.4)
            heard = batch["audio"][row].astype(int) - 1
            assert abs(heard[0] - 1000 * expected) <= 1 and heard[-1] - heard[0] in (399, 400)


def test_a_silent_clip_is_zeros_and_a_short_one_ends_in_them(unbroken):
    rows = {
        int(clip): (batch["audio"][i], batch["video"][i])
        for batch in unbroken
        for i, clip in enumerate(batch["index"])
    }
    assert not rows[SILENT][0].any()
    sound, pictures = rows[SHORT]
    assert np.array_equal(sound[:1600], input_clips.clock(0.1)) and not sound[1600:].any()
    assert list(input_clips.shown(pictures)[1]) == [0, 2, 2, 2]


@pytest.mark.parametrize("rows", [[[0, 1], [2, 3]], [[0, 2], [1, 3]], [[2], [0], [3], [1]]])
def test_hosts_together_see_the_batches_of_one_host(folder, unbroken, rows):
    shares = [_train(folder, 7, rows=own) for own in rows]
    assert _equal(_joined(shares, rows), unbroken)


@pytest.mark.parametrize("start", [1, 4])
def test_starting_later_gives_the_tail_bit_for_bit(folder, unbroken, start):
    assert _equal(_train(folder, 7 - start, start=start), unbroken[start:])


@pytest.mark.parametrize("workers", [1, 5])
def test_the_number_of_readers_changes_nothing(folder, unbroken, workers):
    assert _equal(_train(folder, 7, workers=workers), unbroken)


def test_another_seed_is_another_run(folder, unbroken):
    other = _train(folder, 7, seed=8)
    assert not any(_equal([a], [b]) for a, b in zip(unbroken, other, strict=True))


def test_an_epoch_far_away_is_reached_at_once(folder):
    """The position is a number: 2^40 batches on costs what the first one does."""
    batches = _train(folder, 1, start=2**40, crop="centre")
    assert batches[0]["video"].shape == (4, 4, 16, 16, 3)


@pytest.fixture(scope="module")
def textured(tmp_path_factory):
    """Clips whose pictures are not flat, so that crops can be told apart."""
    folder = tmp_path_factory.mktemp("textured")
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    clips = [input_clips.clip(i, frames=1) for i in range(4)]
    picture = input_clips.jpeg(noise)
    clips = [record.Clip(**(vars(c) | {"frames": (picture,) * 12})) for c in clips]
    shard = records.write_shard(folder / "toy-train", clips)
    info = records.Info("toy", "1", 12.5, 24, ("a", "b", "c"), {}, {}, {}, None, None)
    info.splits["train"] = records.Split("train", (shard,))
    info.save(folder)
    return folder


def test_copies_of_a_clip_differ_in_their_crop_only(textured):
    batches = _train(textured, 2, repeat=2, batch_size=4)
    for batch in batches:
        first, second = ({k: v[i::2] for k, v in batch.items()} for i in range(2))
        assert not np.array_equal(first["video"], second["video"])
        assert all(np.array_equal(first[k], second[k]) for k in first if k != "video")
    assert sorted(np.concatenate([b["index"] for b in batches])) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_copies_show_the_same_frames(folder):
    (batch,) = _train(folder, 1, repeat=4, batch_size=8, crop="centre")
    clips, frames = input_clips.shown(batch["video"])
    for group in (slice(0, 4), slice(4, 8)):
        assert len({tuple(r) for r in frames[group]}) == len({tuple(r) for r in clips[group]}) == 1


def test_copies_are_shared_over_hosts(textured):
    same = {"repeat": 2, "crop": "multi_scale"}
    whole = _train(textured, 3, **same)
    rows = [[2, 3], [0, 1]]
    shares = [_train(textured, 3, rows=own, **same) for own in rows]
    assert _equal(_joined(shares, rows), whole)


@pytest.mark.parametrize("name", ["video", "audio"])
def test_one_modality_alone(folder, name):
    (batch,) = _train(folder, 1, kinds={name: input_clips.both()[name]}, crop="multi_scale")
    extra = {"audio_present"} if name == "audio" else set()
    assert batch.keys() == {name, "label", "index", "valid"} | extra


def test_clips_without_labels_can_be_trained_on(tmp_path):
    info = input_clips.write(tmp_path, clips=2, shards=1, c0={"label": ()}, c1={"label": ()})
    dataclasses.replace(info, labels=()).save(tmp_path)
    (batch,) = _train(tmp_path, 1, batch_size=2)
    assert batch["label"].shape == (2, 0) and batch["video"].shape == (2, 4, 16, 16, 3)


@pytest.fixture(scope="module")
def evaluated(folder):
    return _eval(folder)


def test_evaluation_sees_every_clip_once_in_order(evaluated):
    assert [b["valid"].sum() for b in evaluated] == [4, 4, 3]
    index = np.concatenate([b["index"][b["valid"]] for b in evaluated])
    assert list(index) == list(range(CLIPS))
    assert evaluated[0]["video"].shape == (4, 1, 4, 16, 16, 3)
    assert evaluated[0]["audio"].shape == (4, 1, 6400)
    assert not any(x[3:].any() for x in evaluated[-1].values())


@pytest.mark.parametrize("rows", [[[0, 1], [2, 3]], [[0, 3], [1, 4], [2, 5]]])
def test_evaluation_over_hosts_equals_one_host(folder, evaluated, rows):
    batch_size = sum(map(len, rows))
    shares = [_eval(folder, batch_size=batch_size, rows=own) for own in rows]
    whole = evaluated if batch_size == 4 else _eval(folder, batch_size=batch_size)
    assert len({len(share) for share in shares}) == 1 and _equal(_joined(shares, rows), whole)


def test_a_host_without_rows_in_the_last_batch_gives_padding(folder):
    last = _eval(folder, kinds={"audio": input_clips.both()["audio"]}, rows=[3])
    assert [b["valid"].tolist() for b in last] == [[True], [True], [False]]
    assert last[2]["audio"].shape == (1, 1, 6400) and not last[2]["audio"].any()


def test_views_are_temporal_first(folder):
    (batch, *_) = _eval(folder, temporal_views=3, spatial_views=2)
    assert batch["video"].shape == (4, 6, 4, 16, 16, 3) and batch["audio"].shape == (4, 6, 6400)
    _, frames = input_clips.shown(batch["video"])
    assert [row[0] for row in frames[0]] == [0, 0, 11, 11, 22, 22]
    audio = batch["audio"].reshape(4, 3, 2, -1)
    assert np.array_equal(audio[:, :, 0], audio[:, :, 1])
    assert len({int(view[0]) for view in audio[0, :, 0]}) == 3


def test_spatial_views_lie_along_the_long_side(textured):
    (batch,) = _eval(textured, spatial_views=3)
    views = batch["video"][0, :, 0].astype(int)
    assert all(np.abs(a - b).max() > 20 for a, b in itertools.combinations(views, 2))
    (centre,) = _eval(textured)
    assert np.abs(centre["video"][0, 0, 0].astype(int) - views[1]).max() <= 6


def test_uniform_evaluation_covers_the_clip(folder):
    (batch, *_) = _eval(folder, sampling="uniform")
    assert list(input_clips.shown(batch["video"][0, 0])[1]) == [3, 11, 18, 26]


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        (
            {"batch_size": 6, "repeat": 4},
            "batch_size of 6 are not all.* multiple of dataset.repeat 4",
        ),
        ({"batch_size": 0}, "0 rows of a batch_size of 0"),
        ({"repeat": 2, "rows": [0, 2]}, "2 rows of a batch_size of 4 are not all copies of some"),
        ({"kinds": {}}, "modalities is empty"),
    ],
)
def test_what_cannot_be_fed_is_refused_at_once(folder, kwargs, says):
    with pytest.raises(schema.ConfigError, match=says):
        _train(folder, 0, **kwargs)


def test_unknown_splits_samplings_and_views_are_refused_at_once(folder, tmp_path):
    kinds = input_clips.both()
    with pytest.raises(ValueError, match="no split 'test'; it has: train"):
        pipeline.eval_batches(folder, "test", kinds, batch_size=4)
    with pytest.raises(schema.ConfigError, match="'tsn', expected one of dense, "):
        _eval(folder, sampling="tsn")
    with pytest.raises(schema.ConfigError, match="0 temporal"):
        pipeline.eval_batches(folder, "train", kinds, batch_size=4, temporal_views=0)
    with pytest.raises(ValueError, match="no data set in"):
        pipeline.eval_batches(tmp_path, "train", kinds, batch_size=4)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two clips with both, one of sound alone, one of pictures alone."""
    folder = tmp_path_factory.mktemp("mixed")
    changes = {"c1": {"frames": 0, "sound": 1.2}, "c2": {"sound": None}}
    input_clips.write(folder, clips=4, shards=2, **changes)
    return folder


def test_who_has_what_is_said_where_some_clip_lacks_it(mixed):
    (batch,) = _eval(mixed)
    assert list(batch["video_present"]) == [True, False, True, True]
    assert list(batch["audio_present"]) == [True, True, False, True]
    assert not batch["video"][1].any() and not batch["audio"][2].any()
    assert list(input_clips.shown(batch["video"][:, 0, 0])[0]) == [0, 0, 2, 3]


@pytest.mark.parametrize("crop", ["random_resized", "multi_scale", "jitter", "centre"])
def test_a_clip_without_pictures_gives_its_sound_in_training(mixed, crop):
    kinds = input_clips.both()
    batches = _train(mixed, 3, crop=crop, kinds=kinds)
    rows = [row for batch in batches for row in batch["audio"][~batch["video_present"]]]
    assert len(rows) == 3
    assert all(row[0] > 0 and row[-1] <= 1200 for row in rows)  # a window inside, not padding
    assert len({int(row[0]) for row in rows}) == 3  # at random


def test_sound_alone_is_tested_in_the_middle(mixed):
    (batch,) = _eval(mixed)
    assert batch["audio"][1, 0, 0] == pytest.approx(400, abs=2)


def test_complete_data_sets_do_not_speak_of_presence(textured, mixed):
    assert not any(key.endswith("_present") for key in _eval(textured)[0])
    (batch,) = _eval(mixed, kinds={"video": input_clips.both()["video"]})
    assert "video_present" in batch and "audio_present" not in batch


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        ({"sound": None}, "modalities.audio is set, but no clip of split 'train'.*has sound"),
        ({"frames": 0, "sound": 1.0}, "modalities.video is set, .*has pictures; leave video out"),
    ],
)
def test_what_no_clip_of_a_split_has_is_refused_at_once(tmp_path, clip, says):
    input_clips.write(tmp_path, clips=2, shards=1, c0=clip, c1=clip)
    with pytest.raises(schema.ConfigError, match=says):
        _train(tmp_path, 0)


def test_a_split_without_clips_is_refused_at_once(tmp_path):
    input_clips.write(tmp_path / "empty", clips=0, shards=1)
    with pytest.raises(ValueError, match="'train' of .*empty' holds no clip"):
        _train(tmp_path / "empty", 0)


def test_damage_found_while_reading_names_the_data_set(tmp_path):
    info = input_clips.write(tmp_path, clips=2, frames=2, shards=1)
    path = tmp_path / info.split("train").shards[0].file
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a record of '.*' cannot be used: corrupted .*sha256"):
        _eval(tmp_path)


def test_a_label_beyond_the_names_is_refused(tmp_path):
    input_clips.write(tmp_path, clips=1, frames=1, shards=1, c0={"label": (3,)})
    with pytest.raises(ValueError, match="a label is none of the 3 names"):
        _eval(tmp_path)


def test_a_process_with_open_iterators_ends(folder):
    """At exit the iterators still hold running readers; the process must neither hang nor moan."""
    program = (
        "import sys; sys.path.insert(0, 'tests/input'); import input_clips\n"
        "from av_mae.config import schema; from av_mae.input import pipeline\n"
        "args = (input_clips.both(), schema.Dataset(), schema.Augment(crop='centre'))\n"
        f"train = pipeline.train_batches({str(folder)!r}, *args, batch_size=4, seed=0)\n"
        f"test = pipeline.eval_batches({str(folder)!r}, 'train', args[0], batch_size=4)\n"
        "print(len(next(train)['index']) + len(next(test)['index']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.strip() == "8", done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_selections_of_splits_are_the_clips_they_name(folder):
    whole = _eval(folder)
    everything = {k: np.concatenate([b[k][b["valid"]] for b in whole]) for k in whole[0]}
    info = records.Info.load(folder)
    for name, places in {
        "train[:3]": [0, 1, 2],
        "train[-2:]": [9, 10],
        "train[27%:46%]": [3, 4],
        "train[8:]+train[:2]": [8, 9, 10, 0, 1],
    }.items():
        assert info.split(name).clips == len(places)
        batches = _eval_of(folder, name)
        selected = {k: np.concatenate([b[k][b["valid"]] for b in batches]) for k in batches[0]}
        assert selected.keys() == everything.keys()  # who has sound is said, too
        for key in selected.keys() - {"index"}:
            assert np.array_equal(selected[key], everything[key][places]), (name, key)
        facts = skim.clips(schema.Dataset(path=str(folder)), info.split(name), len(info.labels))
        assert [clip.name for clip in facts] == [f"clip{place}" for place in places]

    dataset = schema.Dataset(train="train[4:6]")
    batches = pipeline.train_batches(
        folder, input_clips.both(), dataset, schema.Augment(crop="centre"), batch_size=2, seed=7
    )
    for batch in itertools.islice(batches, 3):  # every epoch the two, in some order
        assert sorted(batch["index"]) == [0, 1]
        in_order = np.argsort(batch["index"])
        assert np.array_equal(batch["label"][in_order], everything["label"][[4, 5]])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("train[:0]", "holds no clip"),
        ("train[50%:]+train[:60%]", "has some clips twice"),
        ("train[:1:2]", "no split 'train\\[:1:2\\]'; it has: train .and selections"),
        ("train+extra", "no split 'train\\+extra'"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(folder, name, says):
    with pytest.raises(schema.ConfigError, match=says):
        _eval_of(folder, name)


def _eval_of(folder, split):
    return list(pipeline.eval_batches(folder, split, input_clips.both(), batch_size=4))


def test_clips_are_read_whole_for_people_to_look_at(tmp_path):
    """With pictures alone, with sound alone, and cut where they are long."""
    kinds = {"c1": {"sound": None}, "c2": {"frames": 0, "sound": 3.0}}
    input_clips.write(tmp_path, clips=4, **kinds)
    dataset = schema.Dataset(path=str(tmp_path))
    found = list(
        pipeline.whole_clips(
            dataset, "train", input_clips.both(), [2, 0, 1], seconds=2.0, short_side=100
        )
    )
    assert [len(clip.frames) for clip in found] == [0, 25, 25]
    assert [len(clip.sound) for clip in found] == [32_000, 32_000, 0]
    assert np.array_equal(found[1].sound, input_clips.clock(2.0))
    assert found[1].frames.shape[1:] == (24, 32, 3)  # not enlarged
    assert input_clips.shown(found[1].frames)[1].tolist() == list(range(25))
