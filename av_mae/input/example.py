"""From one serialised record to one example: parse, choose frames and sound, crop, label."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import tensorflow as tf

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.input import order, pictures
from av_mae.input import sampling as sampling_lib

Tensors = dict[str, Any]

# The feature of a record that holds a modality.
_FEATURES = {"video": "frames", "audio": "audio"}

# Purposes of an example's random key.
_WINDOW, _CROP = 0, 1


@dataclasses.dataclass(frozen=True)
class Maker:
    """Builds examples of the requested modalities.

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
        spec, _ = modality_lib.video_and_audio(self.modalities)
        size, shape = spec.size if spec else 0, (parsed["height"], parsed["width"])
        keys = [order.fold(crop, copy) for copy in range(copies)]
        boxes = [pictures.random_box(augment, *shape, size, key) for key in keys]
        cut = self._cut_pictures(parsed, windows, boxes, canvas=canvas)
        facts = {k: tf.repeat(x[None], copies, 0) for k, x in self._facts(parsed, position).items()}
        return cut | self._cut_sound(parsed, windows, copies) | facts

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
        boxes = pictures.view_boxes(parsed["height"], parsed["width"], spatial_views)
        cut = self._cut_pictures(parsed, windows, boxes, short_side=short_side)
        return cut | self._cut_sound(parsed, windows, spatial_views) | self._facts(parsed, position)

    def parse(self, record: tf.Tensor) -> Tensors:
        """The features of a record that the requested modalities need; frames stay encoded."""
        several = tf.io.FixedLenSequenceFeature
        features = {
            "height": tf.io.FixedLenFeature([], tf.int64),
            "width": tf.io.FixedLenFeature([], tf.int64),
            "fps": tf.io.FixedLenFeature([], tf.float32),
            "duration": tf.io.FixedLenFeature([], tf.float32),
            "label": several([], tf.int64, allow_missing=True),
        }
        if "video" in self.modalities:
            features["frames"] = several([], tf.string, allow_missing=True)
        if "audio" in self.modalities:
            features["audio"] = tf.io.FixedLenFeature([], tf.string)
        parsed: Tensors = tf.io.parse_single_example(record, features)
        for name in ("height", "width"):
            # A clip of sound alone has size 0: never cropped, but the graph of its crops is built.
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
        spec, _ = modality_lib.video_and_audio(self.modalities)
        if spec is None or windows.frames is None:
            return {}
        views, crops = cast(int, windows.frames.shape[0]), len(boxes)
        shapes = {"video": [views * crops, *spec.input_shape]}
        if any(canvas):
            shapes = {"canvas": [1, spec.frames, *canvas, 3], "crops": [1, crops, 4]}
        chosen = tf.reshape(windows.frames, [-1])

        def cut() -> Tensors:
            frames = tf.gather(parsed["frames"], chosen)
            if any(canvas):
                drawn, inside = pictures.on_canvas(frames, boxes, spec.size, canvas)
                return {
                    "canvas": tf.ensure_shape(drawn[None], shapes["canvas"]),
                    "crops": inside[None],
                }
            if short_side:
                cuts = pictures.whole_views(frames, crops, short_side, spec.size)
            else:
                cuts = pictures.crops(frames, boxes, spec.size)
            by_view = [tf.reshape(x, [views, *spec.input_shape]) for x in cuts]
            return {"video": tf.reshape(tf.stack(by_view, axis=1), shapes["video"])}

        if "video" not in self.lacking:
            return cut()
        kinds = {"crops": tf.float32}
        nothing = {k: tf.zeros(shape, kinds.get(k, tf.uint8)) for k, shape in shapes.items()}
        return tf.cond(tf.size(parsed["frames"]) > 0, cut, lambda: nothing)

    def _cut_sound(self, parsed: Tensors, windows: sampling_lib.Windows, crops: int) -> Tensors:
        """Every window's sound, repeated for each of its crops."""
        _, spec = modality_lib.video_and_audio(self.modalities)
        if spec is None or windows.audio is None:
            return {}
        length = sampling_lib.length(spec, _rate(parsed))
        cyclic = self.sampling == sampling_lib.CYCLIC
        waves = sampling_lib.cut(parsed["audio"], windows.audio, length, cyclic=cyclic)
        return {"audio": tf.repeat(waves, crops, axis=0)}

    def _facts(self, parsed: Tensors, position: tf.Tensor) -> Tensors:
        """The label float32 [classes], the index and who is present, of one row."""
        labels, classes = parsed["label"], self.classes
        known = tf.reduce_all((labels >= 0) & (labels < classes))
        check = tf.debugging.Assert(known, [f"a label is none of the {classes} names:", labels])
        with tf.control_dependencies([check]):
            hot = tf.minimum(tf.reduce_sum(tf.one_hot(labels, classes), axis=0), 1.0)
        facts = {"label": hot, "index": tf.cast(position, tf.int32), "valid": tf.constant(True)}
        for name in self.modalities:
            if name in self.lacking:
                facts[f"{name}_present"] = tf.size(parsed[_FEATURES[name]]) > 0
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
