"""The order of a run depends on its seed and its counters alone, and records are read at random."""

import input_clips
import numpy as np
import pytest
import tensorflow as tf

from av_mae.config import schema
from av_mae.input import order, record, records


def _counters(count: int, **kwargs) -> list[int]:
    dataset = order.counters(8, **({"start": 0, "own": np.arange(8)} | kwargs))
    return list(dataset.take(count).as_numpy_iterator())


def _positions(clips: int, seed: int, epochs: int) -> np.ndarray:
    dataset = tf.data.Dataset.range(clips * epochs).map(lambda c: order.shuffled(c, clips, seed))
    return np.array(list(dataset.as_numpy_iterator())).reshape(epochs, clips)


@pytest.mark.parametrize("own", [[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 5, 7]])
def test_a_host_has_its_own_clips_of_every_batch(own):
    expected = [8 * batch + clip for batch in range(3) for clip in own]
    assert _counters(12, own=np.array(own)) == expected


@pytest.mark.parametrize("own", [range(8), [1, 6]])
def test_starting_later_gives_the_tail(own):
    whole = _counters(5 * len(own), own=np.array(own))
    assert _counters(3 * len(own), own=np.array(own), start=2) == whole[2 * len(own) :]


@pytest.mark.parametrize("clips", [1, 2, 7, 100])
def test_every_clip_comes_once_an_epoch(clips):
    positions = _positions(clips, seed=3, epochs=4)
    assert np.array_equal(np.sort(positions), np.tile(np.arange(clips), (4, 1)))


def test_epochs_and_seeds_have_orders_of_their_own():
    one, other = _positions(50, seed=0, epochs=2), _positions(50, seed=1, epochs=2)
    orders = {tuple(row) for row in np.concatenate([one, other])}
    assert len(orders) == 4 and tuple(range(50)) not in orders


def test_large_and_negative_seeds_work():
    for seed in (2**40 + 1, -5):
        assert sorted(_positions(5, seed, epochs=1)[0]) == [0, 1, 2, 3, 4]


def test_the_order_and_the_draws_are_those_of_earlier_versions():
    """A run continued by a newer version must see what the older one would have."""
    assert _positions(10, seed=42, epochs=1)[0].tolist() == [3, 9, 4, 2, 0, 6, 7, 8, 1, 5]
    key = order.fold(order.key(42, tf.constant(7, tf.int64)), 1)
    assert order.uniform(key).numpy() == pytest.approx(0.90413511, abs=1e-7)
    assert order.integer(key, tf.constant(1000)).numpy() == 302


def test_examples_and_purposes_draw_apart():
    keys = [order.key(5, tf.constant(c, tf.int64)) for c in range(20)]
    draws = {float(order.uniform(order.fold(key, p))) for key in keys for p in range(3)}
    assert len(draws) == 60


def test_any_record_is_read_without_its_neighbours(tmp_path):
    """Every other record of the split is overwritten: only the asked bytes can be right."""
    info = input_clips.write(tmp_path, clips=7, frames=2, shards=3)
    split = info.split("train")
    table = order.Table.load(tmp_path, split)
    ids = [record.decode(table.read(tf.constant(i, tf.int64)).numpy()).id for i in range(7)]
    assert ids == [f"clip{i}" for i in range(7)] and table.clips == 7
    middle = tmp_path / split.shards[1].file
    offsets = records.read_index(tmp_path, split.shards[1])
    content = bytearray(middle.read_bytes())
    content[: offsets[1]] = bytes(int(offsets[1]))
    for path in tmp_path.glob("*.tfrecord*"):
        if path != middle and not path.name.endswith(".index"):
            path.write_bytes(bytes(path.stat().st_size))
    middle.write_bytes(content)
    assert record.decode(table.read(tf.constant(4, tf.int64)).numpy()).id == "clip4"
    with pytest.raises(tf.errors.DataLossError):
        table.read(tf.constant(3, tf.int64))


def test_empty_shards_are_skipped(tmp_path):
    shards = (
        records.write_shard(tmp_path / "a", []),
        records.write_shard(tmp_path / "b", [input_clips.clip(4, frames=1)]),
        records.write_shard(tmp_path / "c", []),
    )
    table = order.Table.load(tmp_path, records.Split("train", shards))
    assert record.decode(table.read(tf.constant(0, tf.int64)).numpy()).id == "clip4"


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_the_hosts_of_an_evaluation_share_any_number_of_clips(hosts):
    """Whatever is left over after whole batches, every clip is of exactly one host."""
    for clips in range(1, 14):
        seen = [
            int(i)
            for host in range(hosts)
            for i in order.counters(6, np.arange(6)[host::hosts], start=0)
            .take_while(lambda i: i < clips)  # noqa: B023
            .as_numpy_iterator()
        ]
        assert sorted(seen) == list(range(clips))


def test_records_at_an_address_are_read(tmp_path):
    pytest.importorskip("upath")
    input_clips.write(tmp_path, clips=5, frames=1, shards=2)
    address = f"file://{tmp_path}"
    table = order.Table.load(address, records.Info.load(address).split("train"))
    assert (
        table.files[0] == f"{address}/{records.Info.load(tmp_path).split('train').shards[0].file}"
    )
    assert record.decode(table.read(tf.constant(4, tf.int64)).numpy()).id == "clip4"


def test_records_in_a_store_that_tensorflow_does_not_know_are_refused():
    with pytest.raises(schema.ConfigError, match="memory://x cannot be trained on: TensorFlow"):
        order.Table.load("memory://x", records.Split("train", ()))
