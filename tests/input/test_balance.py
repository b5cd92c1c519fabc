"""Weights by class: of clips that are drawn, of terms in the loss; labels read past the media."""

import itertools

import input_clips
import numpy as np
import pytest
import tensorflow as tf
import tiny

from av_mae.config import parse, schema
from av_mae.input import balance, mediasequence, order, pipeline, records, skim

# Two clips of "low", ten of "high", none of "both".
UNEQUAL = {f"c{i}": {"label": (0,) if i in (3, 7) else (1,)} for i in range(12)}


@pytest.fixture(scope="module")
def unequal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unequal")
    input_clips.write(folder, clips=12, frames=2, **UNEQUAL)
    return folder


def draws(weights, groups, seed=0, epochs=1) -> np.ndarray:
    """Positions int `[epochs n]`."""
    order_ = order.Weighted.of(np.asarray(weights, float), np.asarray(groups))
    counters = tf.data.Dataset.range(len(weights) * epochs)
    found = counters.map(lambda c: order_.drawn(c, seed)).as_numpy_iterator()
    return np.array(list(found)).reshape(epochs, -1)


@pytest.mark.parametrize("how", ["balanced", "sqrt"])
@pytest.mark.parametrize("clips", [(1, 99), (5, 20, 75), (40, 30, 30), (1, 1, 398)])
def test_every_epoch_has_the_classes_in_their_shares(how, clips):
    labels = [(c,) for c, count in enumerate(clips) for _ in range(count)]
    labels = [labels[i] for i in np.random.default_rng(0).permutation(len(labels))]
    weights, groups = balance.clip_weights(how, labels, len(clips))
    share = np.ones(len(clips)) if how == "balanced" else np.sqrt(clips)
    expected = len(labels) * share / share.sum()
    classes = np.array([own[0] for own in labels])
    for positions in draws(weights, groups, epochs=3):
        found = np.bincount(classes[positions], minlength=len(clips))
        assert np.all(np.abs(found - expected) < 2), (found, expected)


def test_within_a_class_all_clips_come_equally_often():
    labels = [(0,)] * 5 + [(1,)] * 95
    weights, groups = balance.clip_weights("balanced", labels, 2)
    positions = draws(weights, groups, epochs=40)
    count = np.bincount(positions.ravel(), minlength=100)
    assert np.allclose(count[:5], 400, atol=40) and len(set(positions[0][positions[0] < 5])) == 5
    assert count[5:].min() > 5 and count[5:].mean() == pytest.approx(2000 / 95, rel=0.01)


def test_equal_weights_are_the_natural_order():
    for epoch, positions in enumerate(draws(np.ones(20), np.zeros(20, int), seed=3, epochs=2)):
        counters = [tf.constant(20 * epoch + i, tf.int64) for i in range(20)]
        assert positions.tolist() == [int(order.shuffled(c, 20, seed=3)) for c in counters]


def test_a_clip_of_several_labels_weighs_the_sum_of_their_inverse_counts():
    labels = [(0,), (0, 1), (), (0, 2), (2,)]
    weights, rarest = balance.clip_weights("balanced", labels, 4)
    np.testing.assert_allclose(weights, [1 / 3, 1 / 3 + 1, 0, 1 / 3 + 1 / 2, 1 / 2])
    assert rarest.tolist() == [0, 1, -1, 2, 2]
    assert 2 not in draws(weights, rarest, epochs=5)
    roots, _ = balance.clip_weights("sqrt", labels, 4)
    np.testing.assert_allclose(roots[1], 3**-0.5 + 1)


def _batches(folder, count, sampling="balanced", batch_size=6, **kwargs):
    dataset = schema.Dataset(class_sampling=sampling)
    found = pipeline.train_batches(
        folder, {"video": input_clips.both()["video"]}, dataset, schema.Augment(crop="centre"),
        batch_size=batch_size, **({"seed": 1} | kwargs),
    )  # fmt: skip
    return list(itertools.islice(found, count))


def test_batches_are_balanced_and_a_function_of_the_seed_and_their_number(unequal):
    whole = _batches(unequal, 4)
    labels = np.concatenate([x["label"] for x in whole])
    assert labels.sum(0).tolist() == [12, 12, 0]
    for later, batch in zip(_batches(unequal, 2, start=2), whole[2:], strict=True):
        assert all(np.array_equal(later[k], batch[k]) for k in batch)
    hosts = [_batches(unequal, 2, rows=rows) for rows in ([0, 2, 4], [1, 3, 5])]
    for number in range(2):
        for host, first in ((0, 0), (1, 1)):
            rows = whole[number]["index"][first::2]
            assert hosts[host][number]["index"].tolist() == rows.tolist()
    other = np.concatenate([x["index"] for x in _batches(unequal, 4, seed=2)])
    assert not np.array_equal(other, np.concatenate([x["index"] for x in whole]))


def test_a_clip_that_comes_again_is_cut_anew(tmp_path):
    input_clips.write(tmp_path, clips=4, **{f"c{i}": {"label": (min(i, 1),)} for i in range(4)})
    (batch,) = _batches(tmp_path, 1, batch_size=12)
    first = batch["video"][batch["index"] == 0]
    assert len(first) == 6 and len({x.tobytes() for x in first}) > 1


def test_clips_without_a_label_are_not_drawn_and_this_is_said(tmp_path, caplog):
    kinds = {f"c{i}": {"label": (0,) if i < 2 else ()} for i in range(5)}
    input_clips.write(tmp_path, clips=5, frames=2, **kinds)
    (batch,) = _batches(tmp_path, 1)
    assert set(batch["index"]) <= {0, 1}
    assert "the 3 of 5 clips of split train without a label are never drawn" in caplog.text
    input_clips.write(
        tmp_path / "none", clips=3, frames=2, **{f"c{i}": {"label": ()} for i in range(3)}
    )
    with pytest.raises(schema.ConfigError, match="class_sampling is balanced, but no clip"):
        _batches(tmp_path / "none", 1)


def test_facts_are_read_past_the_media(tmp_path):
    """Of every kind of record; the media may even be damaged."""
    made = [
        input_clips.clip(1, frames=30, label=(2, 0, 2)),
        input_clips.clip(2, frames=0, sound=3.0, label=()),
        input_clips.clip(3, frames=1, sound=None, label=(1,)),
    ]
    shard = records.write_shard(tmp_path / "x", made)
    split, dataset = records.Split("train", (shard,)), schema.Dataset(path=str(tmp_path))
    expected = [(f"clip{i}", f"{i}.mp4") for i in (1, 2, 3)]
    found = list(skim.clips(dataset, split, 3))
    assert [(clip.name, clip.source) for clip in found] == expected
    assert [clip.labels for clip in found] == [(0, 2), (), (1,)]
    assert not any(clip.labels for clip in skim.clips(dataset, split, 0))

    content = bytearray((tmp_path / "x").read_bytes())
    content[0] ^= 1  # the length of the first record
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(records.DataError, match="x, byte 0 is no record of a clip"):
        list(skim.clips(dataset, split, 3))


def test_facts_of_sequence_examples(tmp_path):
    made = tf.train.SequenceExample()
    made.context.feature["clip/label/index"].int64_list.value.extend([1, 0])
    made.context.feature["clip/media_id"].bytes_list.value.append(b"abc")
    made.feature_lists.feature_list["image/encoded"].feature.add().bytes_list.value.append(b"x" * 9)
    name = "train-00000-of-00001"
    with tf.io.TFRecordWriter(str(tmp_path / name)) as file:
        file.write(made.SerializeToString())
        file.write(tf.train.SequenceExample().SerializeToString())
    dataset = schema.Dataset(path=str(tmp_path), format="mediasequence")
    size = (tmp_path / name).stat().st_size
    split = records.Split("train", (records.Shard(name, 2, 2, 0, 0, size, ""),))
    found = list(skim.clips(dataset, split, 3))
    assert [(clip.name, clip.labels) for clip in found] == [
        ("abc", (0, 1)), (f"{name}, clip 1", ()),
    ]  # fmt: skip
    assert mediasequence.offsets(tmp_path / name).tolist()[0] == 0


def _info(clips, labels=("a", "b", "c")) -> records.Info:
    counts = {"labels": {"train": {"most": 1, "clips": clips}}}
    splits = {"train": records.Split("train", ())}
    return records.Info("x", "", 1.0, 1, labels, splits, {}, counts, None, None)


def _weights(how, clips=(10, 30, 60), **changes):
    e = schema.Experiment(optim=schema.Optim(class_weights=how, **changes))
    return np.array(balance.class_weights(e, _info(clips)))


def test_class_weights_follow_their_formulas():
    np.testing.assert_allclose(_weights("balanced"), [100 / 30, 100 / 90, 100 / 180])
    np.testing.assert_allclose(_weights("sqrt"), np.sqrt([100 / 30, 100 / 90, 100 / 180]))
    raw = (1 - 0.99) / (1 - 0.99 ** np.array([10.0, 30, 60]))
    effective = _weights("effective", class_weights_beta=0.99)
    np.testing.assert_allclose(effective, raw * 3 / raw.sum())
    np.testing.assert_allclose(_weights("effective", class_weights_beta=0.0), 1.0)
    assert len(_weights("none")) == 0


@pytest.mark.parametrize("how", ["balanced", "sqrt", "effective"])
def test_a_class_without_a_clip_is_named_and_weighs_one(how, caplog):
    found = _weights(how, (10, 0, 30))
    assert found[1] == 1.0 and np.isfinite(found).all() and found[0] > found[2]
    assert "1 labels have no clip in split train: b" in caplog.text
    with pytest.raises(schema.ConfigError, match="no clip of split 'train' has a label"):
        _weights(how, (0, 0, 0))


def test_weights_of_a_file(tmp_path):
    path = tmp_path / "w.csv"
    for text, wrong in {
        "label,weight\nc,3\na,1\nb,0.5\n": "",
        "label,weight\nc,3\na,1\n": "'b' has no weight; every label needs one",
        "label,weight\nc,3\na,1\nbb,1\n": "line 4: unknown label 'bb'; ",
        "label,weight\nc,3\na,1\nb,much\n": "line 4: the weight is 'much', expected a number",
        "label,weight\nc,3\na,1\nb,-1\n": "line 4: the weight is '-1'",
        "label,weight\nc,3\nc,1\n": "line 3: 'c' has a weight already",
        "label,weight\nc,0\na,0\nb,0\n": "every weight is 0",
        "c,3\n": "first line has to name label and weight",
    }.items():
        path.write_text(text)
        if not wrong:
            assert _weights(str(path)).tolist() == [1.0, 0.5, 3.0]
            continue
        with pytest.raises(schema.ConfigError, match=wrong):
            _weights(str(path))
    with pytest.raises(schema.ConfigError, match="there is no such file"):
        _weights(str(tmp_path / "other.csv"))
    values = tiny.experiment("", "classify", optim={"class_weights": "balancd"})
    with pytest.raises(schema.ConfigError, match="one of none, balanced, sqrt, effective, or a"):
        parse.experiment(values)


def test_records_that_nobody_counted_are_counted_from_what_they_hold(unequal):
    values = {"class_weights": "balanced"}
    e = schema.Experiment(dataset=schema.Dataset(path=str(unequal)), optim=schema.Optim(**values))
    info = records.Info.load(unequal)
    assert info.clips_by_label("train") is None and info.most_labels("train") is None
    np.testing.assert_allclose(balance.class_weights(e, info), [12 / 4, 12 / 20, 1.0])
