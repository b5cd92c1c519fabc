"""Batches for training and evaluation: numpy arrays that depend on (seed, batch number) alone.

Everything between the files and the batch is tf.data without Python functions, shuffle buffers or
stateful random ops, so neither readers, cores, hosts nor a restart change a value.
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf
from absl import logging

from av_mae.config import limits, schema
from av_mae.config.modality import Modalities, video_and_audio
from av_mae.input import balance, cores, description, mediasequence, order, records
from av_mae.input import example as example_lib

Batch = dict[str, np.ndarray]

# Finished batches that wait for the consumer: what bounds memory, beside one example a core.
_PREFETCH = 2
_DEFAULT = schema.Dataset()
_CALLED = {"video": "pictures", "audio": "sound"}

# A build of TensorFlow that knows GPUs would take the memory that the model needs.
tf.config.set_visible_devices([], "GPU")


def train_batches(
    folder: str | os.PathLike[str],
    modalities: Modalities,
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
        `crops` float32 `[c r 4]`, c = b / r, instead of `video`; see `av_mae.preprocess.video`.

    Raises:
        ValueError: no such data set or split, nothing in it to train on, no label where clips are
            drawn by class, or rows that part the copies of a clip; while iterating: a damaged
            record.
    """
    own = _own_clips(batch_size, rows, dataset.repeat)
    source = _open(folder, dataset, dataset.train, modalities)

    weighted = None
    if dataset.class_sampling != "natural":
        weighted = _weighted(dataclasses.replace(dataset, path=os.fspath(folder)))

    def read(counter: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        if weighted:
            position = weighted.drawn(counter, seed)
        else:
            position = order.shuffled(counter, source.table.clips, seed)
        return source.table.read(position), position, counter

    example = functools.partial(source.maker.training, augment=augment, seed=seed)
    counters = order.counters(batch_size // dataset.repeat, own, start=start)
    examples = _examples(counters, read, example, dataset.workers).batch(len(own))
    return (
        # Copies become rows; not -1: labels of a data set without labels are of size 0.
        {k: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]) for k, x in batch.items()}
        for batch in _Arrays(source, examples)
    )


def eval_batches(
    folder: str | os.PathLike[str],
    split: str,
    modalities: Modalities,
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
    source = _open(folder, dataset, split, modalities)
    clips = source.table.clips

    def read(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return source.table.read(position), position

    example = functools.partial(
        source.maker.test, temporal_views=temporal_views, spatial_views=spatial_views
    )
    positions = order.counters(batch_size, own, start=0).take_while(lambda i: i < clips)
    examples = _examples(positions, read, example).batch(len(own))
    return _padded(_Arrays(source, examples), examples, math.ceil(clips / batch_size), len(own))


@dataclasses.dataclass(frozen=True)
class Whole:
    """A clip to look at and listen to.

    Attributes:
        frames: uint8 `[f h w 3]` at `fps` a second; none without pictures.
        sound: int16 `[s]` at 16 kHz, or a spectrogram float32 `[t m]`; empty without.
    """

    frames: np.ndarray
    fps: float
    sound: np.ndarray


def whole_clips(
    dataset: schema.Dataset,
    split: str,
    modalities: Modalities,
    positions: Sequence[int],
    *,
    seconds: float,
    short_side: int,
) -> Iterator[Whole]:
    """Clips at some positions of a split, each from its beginning.

    Args:
        seconds: what is longer is cut.
        short_side: of pictures; larger ones are scaled down to it.

    Raises:
        ValueError: as `train_batches`.
    """
    source = _open(dataset.path, dataset, split, modalities)
    for position in positions:
        parsed = source.maker.parse(source.table.read(tf.constant(position, tf.int64)))
        fps, frames = float(parsed["fps"]), np.zeros((0, 1, 1, 3), np.uint8)
        encoded = parsed["frames"].numpy()[: math.ceil(seconds * fps)] if "frames" in parsed else ()
        if len(encoded):
            height, width = int(parsed["height"]), int(parsed["width"])
            scale = min(short_side / min(height, width), 1.0)
            size = [max(round(scale * height), 1), max(round(scale * width), 1)]
            shown = [
                tf.image.resize(tf.io.decode_jpeg(x, channels=3)[None], size, "area")[0]
                for x in encoded
            ]
            frames = tf.saturate_cast(tf.round(tf.stack(shown)), tf.uint8).numpy()
        sound = parsed["audio"].numpy() if "audio" in parsed else np.zeros(0, np.int16)
        rate = records.SAMPLE_RATE if sound.ndim == 1 else example_lib.COLUMNS
        yield Whole(frames, fps, sound[: round(seconds * rate)])


def options() -> tf.data.Options:
    """Options of every input pipeline: fixed order, fixed parallelism."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    # Examples already run in parallel; splitting one op over the cores only adds hand-overs.
    options.threading.max_intra_op_parallelism = 1
    return options


@dataclasses.dataclass(frozen=True)
class _Source:
    """A split of either format whose records can be read.

    Attributes:
        advice: what to do about a record that cannot be used, for error messages.
    """

    folder: str
    table: order.Table
    maker: example_lib.Maker
    advice: str


class _Arrays(Iterator[Batch]):
    """Batches as read-only numpy views of TensorFlow's memory; readers start at once.

    No generator: one that still runs when the process exits complains.
    """

    def __init__(self, source: _Source, examples: tf.data.Dataset):
        self._batches = examples.prefetch(_PREFETCH).with_options(options()).as_numpy_iterator()
        self._source = source

    def __next__(self) -> Batch:
        try:
            return cast(Batch, next(self._batches))
        except tf.errors.OpError as error:
            # Without the names of graph nodes and of tf.data's stages.
            reason = re.sub(r"\{\{.*?\}\} *", "", error.message).splitlines()[0]
            reason = re.sub(r"^Error in .*Iterator::\S+ ", "", reason)
            source = self._source
            raise records.DataError(
                f"a record of {source.folder!r} cannot be used: {reason}; {source.advice}"
            ) from error


def _open(
    folder: str | os.PathLike[str], dataset: schema.Dataset, split_name: str, modalities: Modalities
) -> _Source:
    """Checks that the data set in `folder` has what is requested and finds its records.

    Raises:
        ConfigError: no such data set or split, or nothing in it that is requested.
        DataError: a shard or its index is missing or damaged.
    """
    folder = os.fspath(folder)
    dataset = dataclasses.replace(dataset, path=folder)
    if not modalities:
        raise schema.ConfigError("modalities is empty, expected video, audio or both")
    limits.check(schema.Sampling, dataset.sampling, "dataset.sampling")
    video, _ = video_and_audio(modalities)
    if video is not None and 0 < dataset.test_short_side < video.size:
        raise schema.ConfigError(
            f"dataset.test_short_side is {dataset.test_short_side}, which holds no crop of "
            f"modalities.video.size ({video.size}); use {video.size} or more, or 0"
        )

    info = description.of(dataset)
    split = info.split(split_name)
    if split.clips == 0:
        raise schema.ConfigError(
            f"split {split.name!r} of {folder!r} holds no clip; "
            "see the rejected.csv of its preparation"
        )
    for name in modalities:
        if split.having[name] == 0:
            raise schema.ConfigError(
                f"modalities.{name} is set, but no clip of split {split.name!r} in {folder!r} has "
                f"{_CALLED[name]}; leave {name} out or choose another data set"
            )

    classes, lacking = len(info.labels), description.lacking(dataset, split, modalities)
    maker = example_lib.Maker(modalities, dataset, classes, lacking)
    if dataset.format == "mediasequence":
        table, maker = mediasequence.opened(maker, split)
        return _Source(folder, table.within(split.ranges), maker, mediasequence.ADVICE)
    advice = f"compare its shards with the sha256 in {records.INFO_FILE} and prepare them again"
    table = order.Table.load(folder, split).within(split.ranges)
    return _Source(folder, table, maker, advice)


def _weighted(dataset: schema.Dataset) -> order.Weighted:
    """The order of the training split by `dataset.class_sampling`."""
    info, how = description.of(dataset), dataset.class_sampling
    labels = balance.labels_of(dataset, info, info.split(dataset.train))
    weights_n, rarest_n = balance.clip_weights(how, labels, len(info.labels))
    if not weights_n.any():
        raise schema.ConfigError(
            f"dataset.class_sampling is {how}, but no clip of split {dataset.train!r} has a "
            "label; use natural"
        )
    if never := int((weights_n == 0).sum()):
        logging.warning(
            "dataset.class_sampling=%s: the %d of %d clips of split %s without a label are never "
            "drawn", how, never, len(weights_n), dataset.train,
        )  # fmt: skip
    return order.Weighted.of(weights_n, rarest_n)


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


def _examples(
    found: tf.data.Dataset, read: Callable[..., Any], example: Callable[..., Any], readers: int = 0
) -> tf.data.Dataset:
    """Records and then examples of clip counters, in order; `readers` at once, 0 = one a core."""
    for function, parallel in ((read, readers or cores.count()), (example, cores.count())):
        # No AutoGraph, so that errors name lines of this package.
        function = tf.autograph.experimental.do_not_convert(function)
        found = found.map(function, num_parallel_calls=parallel, deterministic=True)
    return found


def _padded(
    real: Iterator[Batch], examples: tf.data.Dataset, batches: int, rows: int
) -> Iterator[Batch]:
    """Exactly `batches` batches of `rows` rows; rows that the split does not fill are zeros."""
    spec = cast(dict[str, Any], examples.element_spec)
    zeros = {k: np.zeros((rows, *s.shape[1:]), s.dtype.as_numpy_dtype) for k, s in spec.items()}
    none = {k: x[:0] for k, x in zeros.items()}
    for _ in range(batches):
        batch = next(real, none)
        count = len(batch["valid"])
        if count < rows:
            batch = {k: np.concatenate([x, zeros[k][count:]]) for k, x in batch.items()}
        yield batch
