"""From one serialised record to one example: parse, choose frames and sound, crop, label."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import tensorflow as tf

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.input import order, video
from av_mae.input import sampling as sampling_lib

Tensors = dict[str, Any]

# The feature of a record that holds a modality.
_HOLDS = {"video": "frames", "audio": "audio"}

# Purposes of an example's random key.
_WINDOW, _CROP = 0, 1


@dataclasses.dataclass(frozen=True)
class Maker:
    """Builds examples of the asked modalities.

    Attributes:
        sampling: how frames are chosen; see `av_mae.input.sampling`.
        classes: number of label names of the data set.
        lacking: modalities that some clip lacks; examples say in `<modality>_present` who has them.
    """

    modalities: Mapping[str, modality_lib.Modality]
    sampling: str
    classes: int
    lacking: frozenset[str] = frozenset()

    def training(
        self,
        record: tf.Tensor,
        position: tf.Tensor,
        counter: tf.Tensor,
        *,
        augment: schema.Augment,
        copies: int,
        seed: int,
        canvas: tuple[int, int] = (0, 0),
    ) -> Tensors:
        """`copies` rows of one clip, every entry `[copies ...]`: same window, crops of their own.

        Args:
            position: of the clip in its split, int64 [].
            counter: of the clip in the run, int64 []; it and the seed decide every draw.
            canvas: (height, width) of pictures that are cropped later, once for all copies:
                `canvas` uint8 [1 f *canvas 3] and `crops` float32 [1 copies 4] (y, x, h, w) instead
                of `video`; (0, 0) = crop here.
        """
        parsed = self.parse(record)
        key = order.key(seed, counter)
        windows = sampling_lib.random_window(
            _clock(parsed), self.modalities, self.sampling, order.fold(key, _WINDOW)
        )
        crop = order.fold(key, _CROP)
        spec, _ = sampling_lib.kinds(self.modalities)
        size, shape = spec.size if spec else 0, (parsed["height"], parsed["width"])
        boxes = [
            video.random_box(augment, *shape, size, order.fold(crop, copy))
            for copy in range(copies)
        ]
        pictures = self._cut_pictures(parsed, windows, boxes, canvas=canvas)
        facts = {k: tf.repeat(x[None], copies, 0) for k, x in self._facts(parsed, position).items()}
        return pictures | self._cut_sound(parsed, windows, copies) | facts

    def test(
        self,
        record: tf.Tensor,
        position: tf.Tensor,
        *,
        temporal_views: int,
        spatial_views: int,
        short_side: int = 0,
    ) -> Tensors:
        """One row: `video` [v f h w 3], `audio` [v s], spatial views of a temporal one together.

        Args:
            short_side: that whole frames are resized to before they are cut; 0 resamples once,
                from the largest square.
        """
        parsed = self.parse(record)
        windows = sampling_lib.test_windows(
            _clock(parsed), self.modalities, self.sampling, temporal_views
        )
        boxes = video.view_boxes(parsed["height"], parsed["width"], spatial_views)
        pictures = self._cut_pictures(parsed, windows, boxes, short_side=short_side)
        sound = self._cut_sound(parsed, windows, spatial_views)
        return pictures | sound | self._facts(parsed, position)

    def parse(self, record: tf.Tensor) -> Tensors:
        """The features of a record that the asked modalities need; frames stay encoded."""
        strings = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
        features = {
            "height": tf.io.FixedLenFeature([], tf.int64),
            "width": tf.io.FixedLenFeature([], tf.int64),
            "fps": tf.io.FixedLenFeature([], tf.float32),
            "duration": tf.io.FixedLenFeature([], tf.float32),
            "label": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
        }
        if "video" in self.modalities:
            features["frames"] = strings
        if "audio" in self.modalities:
            features["audio"] = tf.io.FixedLenFeature([], tf.string)
        parsed: Tensors = tf.io.parse_single_example(record, features)
        for name in ("height", "width"):
            # No pictures have no size; crops of them are never taken, but must be possible.
            parsed[name] = tf.maximum(tf.cast(parsed[name], tf.int32), 1)
        if "audio" in parsed:
            parsed["audio"] = tf.io.decode_raw(parsed["audio"], tf.int16, little_endian=True)
        return parsed

    def _cut_pictures(
        self,
        parsed: Tensors,
        windows: sampling_lib.Windows,
        boxes: Sequence[tf.Tensor],
        *,
        short_side: int = 0,
        canvas: tuple[int, int] = (0, 0),
    ) -> Tensors:
        """Every window with every crop, windows slowest; or the one window on a canvas."""
        spec, _ = sampling_lib.kinds(self.modalities)
        if spec is None or windows.frames is None:
            return {}
        views, crops = cast(int, windows.frames.shape[0]), len(boxes)
        chosen = (parsed["frames"], windows.frames, boxes, spec.size)
        if any(canvas):
            cut = functools.partial(_canvas, *chosen, canvas)
            pixels = tf.zeros([views, spec.frames, *canvas, 3], tf.uint8)
            nothing = {"canvas": pixels, "crops": tf.zeros([views, crops, 4])}
        else:
            cut = functools.partial(_crops, *chosen, short_side)
            nothing = {"video": tf.zeros([views * crops, *spec.input_shape], tf.uint8)}
        if "video" not in self.lacking:
            return cut()
        return tf.cond(tf.size(parsed["frames"]) > 0, cut, lambda: nothing)

    def _cut_sound(self, parsed: Tensors, windows: sampling_lib.Windows, crops: int) -> Tensors:
        """Every window's sound, repeated for each of its crops."""
        _, audio_spec = sampling_lib.kinds(self.modalities)
        if audio_spec is None or windows.audio is None:
            return {}
        length = sampling_lib.length(audio_spec, _rate(parsed))
        cyclic = self.sampling == sampling_lib.CYCLIC
        waves = sampling_lib.cut(parsed["audio"], windows.audio, length, cyclic=cyclic)
        return {"audio": tf.repeat(waves, crops, axis=0)}

    def _facts(self, parsed: Tensors, position: tf.Tensor) -> Tensors:
        facts = {
            "label": _multi_hot(parsed["label"], self.classes),
            "index": tf.cast(position, tf.int32),
            "valid": tf.constant(True),
        }
        for name in self.modalities:
            if name in self.lacking:
                facts[f"{name}_present"] = tf.size(parsed[_HOLDS[name]]) > 0
        return facts


def _clock(parsed: Tensors) -> sampling_lib.Clock:
    return sampling_lib.Clock(
        frames=tf.size(parsed["frames"]) if "frames" in parsed else tf.constant(0),
        fps=parsed["fps"],
        samples=tf.shape(parsed["audio"])[0] if "audio" in parsed else tf.constant(0),
        duration=parsed["duration"],
        rate=_rate(parsed),
    )


def _rate(parsed: Tensors) -> int:
    """Samples of sound a second, columns where it is a spectrogram."""
    audio = modality_lib.Audio
    spectrogram = "audio" in parsed and parsed["audio"].shape.rank == 2
    return audio.sample_rate // audio.hop if spectrogram else audio.sample_rate


def _crops(
    frames: tf.Tensor,
    chosen_vf: tf.Tensor,
    boxes: Sequence[tf.Tensor],
    size: int,
    short_side: int,
) -> Tensors:
    """Chosen frames of a record in every crop: `video` uint8 [v * k, f, size, size, 3]."""
    views, length = cast(tuple[int, int], tuple(chosen_vf.shape))
    chosen = tf.gather(frames, tf.reshape(chosen_vf, [-1]))
    if short_side:
        cuts = video.whole_views(chosen, len(boxes), short_side, size)
    else:
        cuts = video.crops(chosen, boxes, size)
    pictures_vk = tf.stack([tf.reshape(x, [views, length, size, size, 3]) for x in cuts], axis=1)
    return {"video": tf.reshape(pictures_vk, [views * len(boxes), length, size, size, 3])}


def _canvas(
    frames: tf.Tensor,
    chosen_1f: tf.Tensor,
    boxes: Sequence[tf.Tensor],
    size: int,
    canvas: tuple[int, int],
) -> Tensors:
    """Chosen frames as far as crops need them, `canvas` [1 f *canvas 3], and `crops` [1 k 4]."""
    pictures, crops = video.on_canvas(tf.gather(frames, chosen_1f[0]), boxes, size, canvas)
    pictures = tf.ensure_shape(pictures, [chosen_1f.shape[1], *canvas, 3])
    return {"canvas": pictures[None], "crops": crops[None]}


def _multi_hot(labels: tf.Tensor, classes: int) -> tf.Tensor:
    """Label indices [n] as float32 [classes]."""
    known = tf.reduce_all((labels >= 0) & (labels < classes))
    check = tf.debugging.Assert(known, [f"a label is none of the {classes} names:", labels])
    with tf.control_dependencies([check]):
        return tf.minimum(tf.reduce_sum(tf.one_hot(labels, classes), axis=0), 1.0)
