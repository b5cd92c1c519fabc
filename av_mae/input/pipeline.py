"""Batches for training and evaluation: numpy arrays that depend on (seed, batch number) alone.

Everything between the files and the batch is tf.data without Python functions, shuffle buffers or
stateful random ops, so neither readers, cores, hosts nor a restart change a value.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.input import cores, order, records, source
from av_mae.input import example as example_lib

Batch = dict[str, np.ndarray]

# Finished batches that wait for the consumer: what bounds memory, beside one example a core.
_PREFETCH = 2

_DEFAULT = schema.Dataset()

# A build of TensorFlow that knows GPUs would take the memory that the model needs.
tf.config.set_visible_devices([], "GPU")


def train_batches(
    folder: str | os.PathLike[str],
    modalities: Mapping[str, modality_lib.Modality],
    dataset: schema.Dataset,
    augment: schema.Augment,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    rows: Sequence[int] | np.ndarray | None = None,
) -> Iterator[Batch]:
    """Endless batches of the training split, each host its rows of every one.

    Args:
        batch_size: rows of the global batch. With dataset.repeat = r it holds batch_size / r
            clips, the r copies of a clip side by side: the same frames and sound, decoded once,
            each copy cropped anew.
        start: number of batches already consumed; continuing there costs nothing.
        rows: those of the global batch that this host feeds, ascending; None: all of them.

    Yields:
        `video` uint8 `[b f h w 3]`, `audio` int16 `[b s]` at 16 kHz (zeros where a clip has none),
        `label` float32 `[b k]` multi-hot, `index` int32 `[b]` (position in the split), `valid`
        bool `[b]` (all true); b = len(rows). `video_present` or `audio_present` bool
        `[b]` if some clip of the split has no pictures or no sound, so that complete data sets
        need no attention masks. With dataset.canvas there are `canvas` uint8 `[c f H W 3]` and
        `crops` float32 `[c r 4]`, c = b / r, instead of `video`; see `av_mae.preprocess.canvas`.

    Raises:
        ValueError: no such data set or split, nothing in it to train on, or rows that part the
            copies of a clip; while iterating: a damaged record.
    """
    own = _own_clips(batch_size, rows, dataset.repeat)
    opened = source.open_split(folder, dataset, dataset.train, modalities)
    clips_per_batch = batch_size // dataset.repeat

    def read(counter: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        position = order.shuffled(counter, opened.table.clips, seed)
        return opened.table.read(position), position, counter

    def example(record: tf.Tensor, position: tf.Tensor, counter: tf.Tensor) -> example_lib.Tensors:
        return opened.maker.training(
            record,
            position,
            counter,
            augment=augment,
            copies=dataset.repeat,
            seed=seed,
            canvas=dataset.canvas,
        )

    counters = order.counters(clips_per_batch, own, start=start)
    found = _each(counters, read, dataset.workers or cores.count())
    examples = _each(found, example, cores.count()).batch(len(own))
    return (
        # Copies become rows; not -1: labels of a data set without labels are of size 0.
        {k: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]) for k, x in batch.items()}
        for batch in _Arrays(examples, folder, opened.advice)
    )


def eval_batches(
    folder: str | os.PathLike[str],
    split: str,
    modalities: Mapping[str, modality_lib.Modality],
    *,
    batch_size: int,
    temporal_views: int = 1,
    spatial_views: int = 1,
    dataset: schema.Dataset = _DEFAULT,
    rows: Sequence[int] | np.ndarray | None = None,
) -> Iterator[Batch]:
    """Every clip of a split once over all hosts, in order, in equally many batches a host.

    Args:
        dataset: its format, sampling and test_short_side are those of the batches.
        rows: as `train_batches`.

    Yields:
        As `train_batches`, with views: `video` `[b v f h w 3]`, `audio` `[b v s]`, view t * S + s
        being temporal view t and crop s of S. The last batch is filled with rows of zeros whose
        `valid` is False.

    Raises:
        ValueError: as `train_batches`; or fewer than one view is asked for.
    """
    own = _own_clips(batch_size, rows, copies=1)
    if min(temporal_views, spatial_views) < 1:
        raise schema.ConfigError(
            f"{temporal_views} temporal and {spatial_views} spatial views; expected 1 or more"
        )
    opened = source.open_split(folder, dataset, split, modalities)
    clips = opened.table.clips

    def read(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return opened.table.read(position), position

    def example(record: tf.Tensor, position: tf.Tensor) -> example_lib.Tensors:
        return opened.maker.test(
            record,
            position,
            temporal_views=temporal_views,
            spatial_views=spatial_views,
            short_side=dataset.test_short_side,
        )

    counters = order.counters(batch_size, own, start=0)
    found = _each(counters.take_while(lambda i: i < clips), read, cores.count())
    examples = _each(found, example, cores.count()).batch(len(own))
    real = _Arrays(examples, folder, opened.advice)
    return _padded(real, examples, math.ceil(clips / batch_size), len(own))


def options() -> tf.data.Options:
    """Options of every input pipeline: fixed order, fixed parallelism."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    # Examples already run in parallel; splitting one op over the cores only adds hand-overs.
    options.threading.max_intra_op_parallelism = 1
    return options


def _own_clips(batch_size: int, rows: Sequence[int] | np.ndarray | None, copies: int) -> np.ndarray:
    """Which clips of a global batch the rows hold, int `[len(rows) / copies]` ascending."""
    fed = np.arange(batch_size) if rows is None else np.asarray(rows)
    own = np.unique(fed // copies)
    whole = np.array_equal((own[:, None] * copies + np.arange(copies)).ravel(), fed)
    if not (whole and len(own)):
        raise schema.ConfigError(
            f"{len(fed)} rows of a batch_size of {batch_size} are not all copies of some clips; "
            f"expected a multiple of dataset.repeat {copies}, copies side by side"
        )
    return own


def _each(dataset: tf.data.Dataset, function: Callable[..., Any], parallel: int) -> tf.data.Dataset:
    """Maps in parallel and keeps the order; no AutoGraph, so that errors name our own lines."""
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=parallel, deterministic=True)


class _Arrays(Iterator[Batch]):
    """Batches as read-only numpy views of TensorFlow's memory."""

    def __init__(self, examples: tf.data.Dataset, folder: str | os.PathLike[str], advice: str):
        self._batches = examples.prefetch(_PREFETCH).with_options(options()).as_numpy_iterator()
        self._folder, self._advice = os.fspath(folder), advice

    def __next__(self) -> Batch:
        try:
            return cast(Batch, next(self._batches))
        except tf.errors.OpError as error:
            # Without the names of graph nodes and of tf.data's stages.
            reason = re.sub(r"\{\{.*?\}\} *", "", error.message).splitlines()[0]
            reason = re.sub(r"^Error in .*Iterator::\S+ ", "", reason)
            raise records.DataError(
                f"a record of {self._folder!r} cannot be used: {reason}; {self._advice}"
            ) from error


def _padded(
    real: Iterator[Batch], examples: tf.data.Dataset, batches: int, rows: int
) -> Iterator[Batch]:
    """Exactly `batches` batches of `rows` rows; rows that the split does not fill are zeros."""
    spec = cast(dict[str, Any], examples.element_spec)
    shapes = {k: (s.shape[1:], s.dtype.as_numpy_dtype) for k, s in spec.items()}
    none = {k: np.zeros((0, *shape), dtype) for k, (shape, dtype) in shapes.items()}
    for _ in range(batches):
        batch = next(real, none)
        missing = rows - len(batch["valid"])
        if missing:
            tail = {k: np.zeros((missing, *shape), dtype) for k, (shape, dtype) in shapes.items()}
            batch = {name: np.concatenate([x, tail[name]]) for name, x in batch.items()}
        yield batch
