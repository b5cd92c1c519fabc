"""The order of a run as a pure function of (seed, example counter), with random access to records.

Clip number c of a run (counted over all epochs, batches and hosts) is the clip at position
`index_shuffle(c % n)` of the split, keyed by the seed and the epoch c // n. There is no shuffle
buffer and no iterator state: a run continues from its batch number alone, and hosts read disjoint
counters of the same sequence. Where clips are weighted, the same shuffled position is a place on a
line on which every clip has a piece as long as its weight.
"""

import concurrent.futures
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from av_mae.config import schema
from av_mae.input import records, storage

# A store takes milliseconds to answer, and a large data set has thousands of index files.
_READERS = 32

# Purpose of an example's random key, beside those of `example`.
_DRAW = 2

_random: Any = tf.random  # TensorFlow's type stubs know half of this module


@dataclasses.dataclass(frozen=True)
class Table:
    """Where every record of a split lies: position -> (shard file, byte offset)."""

    files: tf.Tensor  # string [shards]
    file: tf.Tensor  # int32 [n], index into files
    offset: tf.Tensor  # int64 [n]

    @classmethod
    def load(cls, folder: str | os.PathLike[str], split: records.Split) -> "Table":
        """Reads the index files of a split, not its shards.

        Raises:
            ValueError: a shard or its index is missing or damaged.
            ConfigError: the folder is on a store from which TensorFlow reads no records.
        """
        known = tf.io.gfile.get_registered_schemes()
        if storage.is_address(folder) and str(folder).partition("://")[0] not in known:
            stores = ", ".join(f"{name}://" for name in known if name)
            raise schema.ConfigError(
                f"records in {folder} cannot be trained on: TensorFlow reads local folders and "
                f"{stores}; mount the store or copy them"
            )
        with concurrent.futures.ThreadPoolExecutor(_READERS) as threads:
            offsets = list(threads.map(lambda s: records.read_index(folder, s), split.shards))
        return cls.of([storage.join(folder, s.file) for s in split.shards], offsets)

    @classmethod
    def of(cls, files: Sequence[str], offsets: Sequence[np.ndarray]) -> "Table":
        """The records of files, given the byte offsets int64 `[records]` in each."""
        sizes = [len(o) for o in offsets]
        with tf.device("CPU"):
            return cls(
                files=tf.constant(files),
                file=tf.constant(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)),
                offset=tf.constant(np.concatenate(offsets)),
            )

    def within(self, ranges: Sequence[tuple[int, int]]) -> "Table":
        """The records at these ranges [start, stop) of positions, in their order."""
        if list(ranges) == [(0, self.clips)]:
            return self
        kept = np.concatenate([np.arange(*r) for r in ranges])
        with tf.device("CPU"):
            return Table(self.files, tf.gather(self.file, kept), tf.gather(self.offset, kept))

    @property
    def clips(self) -> int:
        return len(self.offset)

    def read(self, position: tf.Tensor) -> tf.Tensor:
        """The serialised record string [] at a position int64 []; reads no other record."""
        dataset = tf.data.experimental.from_variant(
            tf.raw_ops.TFRecordDatasetV2(
                filenames=[self.files[self.file[position]]],
                compression_type="",
                buffer_size=0,  # straight into the string: a buffer would be one more copy
                byte_offsets=[self.offset[position]],
            ),
            tf.TensorSpec([], tf.string),
        )
        return dataset.take(1).get_single_element()


@dataclasses.dataclass(frozen=True)
class Weighted:
    """An order in which clips come in proportion to their weights, n draws an epoch.

    Each draw falls into an n-th of the line of its own (stratified sampling): in every epoch a
    group comes as often as its share of the weights says, to within two draws.
    """

    position: tf.Tensor  # int64 [m], of the clips that weigh something
    end: tf.Tensor  # float64 [m], where each one's piece of the line from 0 to n ends
    draws: int  # n

    @classmethod
    def of(cls, weights_n: np.ndarray, groups_n: np.ndarray) -> "Weighted":
        """An order of n clips that weigh 0 or more; those of a group lie side by side."""
        position = np.argsort(groups_n, kind="stable")
        position = position[weights_n[position] > 0]
        end = np.cumsum(weights_n[position], dtype=np.float64)
        with tf.device("CPU"):
            return cls(
                position=tf.constant(position, tf.int64),
                end=tf.constant(end * (len(weights_n) / end[-1]), tf.float64),
                draws=len(weights_n),
            )

    def drawn(self, counter: tf.Tensor, seed: int) -> tf.Tensor:
        """Position int64 [] of a clip counter."""
        part = tf.cast(shuffled(counter, self.draws, seed), tf.float64)
        within = tf.random.stateless_uniform(
            [1], fold(key(seed, counter), _DRAW), dtype=tf.float64, alg="philox"
        )
        index = tf.searchsorted(self.end, part + within, side="right")[0]
        # Rounding may put the end of the line before its last draw.
        return self.position[tf.minimum(index, len(self.position) - 1)]


def counters(clips_per_batch: int, own: np.ndarray, *, start: int) -> tf.data.Dataset:
    """Endless clip counters int64 [] of one host, in order.

    Args:
        own: places in every global batch of `clips_per_batch` that this host fills, ascending.
        start: number of global batches already consumed.
    """
    share = len(own)

    def counter(local: tf.Tensor) -> tf.Tensor:
        batch, place = tf.math.floordiv(local, share), tf.math.floormod(local, share)
        return batch * clips_per_batch + tf.gather(tf.constant(own, tf.int64), place)

    return tf.data.Dataset.range(start * share, np.iinfo(np.int64).max).map(counter)


def shuffled(counter: tf.Tensor, clips: int, seed: int) -> tf.Tensor:
    """Position int64 [] of a clip counter: every position once an epoch, a new order each epoch."""
    epoch, index = tf.math.floordiv(counter, clips), tf.math.floormod(counter, clips)
    key = tf.stack([tf.constant(seed % 2**32, tf.int64), epoch])
    return _random.experimental.index_shuffle(
        index, tf.cast(key, tf.uint32), tf.constant(clips - 1, tf.int64)
    )


def key(seed: int, counter: tf.Tensor) -> tf.Tensor:
    """Seed int64 [2] for the stateless random draws of one example."""
    return tf.stack([tf.constant(seed % 2**63, tf.int64), counter])


def fold(key: tf.Tensor, purpose: int) -> tf.Tensor:
    """A key int64 [2] for one purpose, with draws independent of those for other purposes."""
    return _random.fold_in(key, tf.constant(purpose, tf.int64), alg="philox")


def uniform(
    key: tf.Tensor, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0
) -> tf.Tensor:
    """Stateless float32 draws in [low, high), the same on every machine."""
    return tf.random.stateless_uniform(shape, key, low, high, alg="philox")


def integer(key: tf.Tensor, limit: tf.Tensor, shape: tuple[int, ...] = ()) -> tf.Tensor:
    """Stateless int32 draws in [0, limit]."""
    high = tf.cast(limit, tf.int32) + 1
    return tf.random.stateless_uniform(shape, key, 0, high, tf.int32, alg="philox")
