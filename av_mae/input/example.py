"""From one serialised record to one example: parse, choose frames and sound, crop, label.

A record is a tf.train.Example (`av_mae.input.record`) or DMVR's tf.SequenceExample.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf

from av_mae.config import schema
from av_mae.config.modality import Audio, Modalities, Video, video_and_audio
from av_mae.input import order, pictures, sampling

Tensors = dict[str, Any]

# The feature of a record that holds a modality.
_FEATURES = {"video": "frames", "audio": "audio"}

# Purposes of an example's random key.
_WINDOW, _CROP = 0, 1

# Features of a tf.SequenceExample.
FRAMES, FRAME_TIMES = "image/encoded", "image/timestamp"
FRAME_RATE = "image/frame_rate"
LABELS = "clip/label/index"
SOUNDS = {"waveform": "WAVEFORM/feature/floats", "melspec": "melspec/feature/floats"}
SOUND_TIMES = {"waveform": "WAVEFORM/feature/timestamp", "melspec": "melspec/feature/timestamp"}

COLUMNS = Audio.sample_rate // Audio.hop  # of a spectrogram, a second

_MICROSECONDS = 1e6
# Samples are -1 to 1; rounding and codecs may go a little beyond.
_LOUDEST = 2.0


@dataclasses.dataclass(frozen=True)
class Maker:
    """Builds examples of the requested modalities.

    Attributes:
        dataset: how frames are chosen, clips are repeated and pictures are cut.
        classes: number of label names of the data set.
        lacking: modalities that some clip lacks; examples then have `<modality>_present`.
    """

    modalities: Modalities
    dataset: schema.Dataset
    classes: int
    lacking: frozenset[str] = frozenset()

    def training(
        self,
        record: tf.Tensor,
        position: tf.Tensor,
        counter: tf.Tensor,
        *,
        augment: schema.Augment,
        seed: int,
    ) -> Tensors:
        """`dataset.repeat` rows of one clip, `[r ...]`: the same window, each with its own crop.

        With `dataset.canvas` pictures are cropped later, once for all copies: there are `canvas`
        uint8 [1 f *canvas 3] and `crops` float32 [1 r 4] (y, x, h, w) instead of `video`.

        Args:
            position: of the clip in its split, int64 [].
            counter: of the clip in the run, int64 []; it and the seed decide every draw.
        """
        parsed = self.parse(record)
        key = order.key(seed, counter)
        windows = sampling.random_window(
            _clock(parsed), self.modalities, self.dataset.sampling, order.fold(key, _WINDOW)
        )
        crop, copies = order.fold(key, _CROP), self.dataset.repeat
        spec, _ = video_and_audio(self.modalities)
        size, shape = spec.size if spec else 0, (parsed["height"], parsed["width"])
        keys = [order.fold(crop, copy) for copy in range(copies)]
        boxes = [pictures.random_box(augment, *shape, size, key) for key in keys]
        cut = self._cut_pictures(parsed, windows, boxes, train=True)
        facts = {k: tf.repeat(x[None], copies, 0) for k, x in self._facts(parsed, position).items()}
        return cut | self._cut_sound(parsed, windows, copies) | facts

    def test(
        self, record: tf.Tensor, position: tf.Tensor, *, temporal_views: int, spatial_views: int
    ) -> Tensors:
        """One row: `video` [v f h w 3], `audio` [v s], spatial views of a temporal one together.

        Whole frames are resized to `dataset.test_short_side` before they are cut; 0 resamples
        once, from the largest square.
        """
        parsed = self.parse(record)
        windows = sampling.test_windows(
            _clock(parsed), self.modalities, self.dataset.sampling, temporal_views
        )
        boxes = pictures.view_boxes(parsed["height"], parsed["width"], spatial_views)
        cut = self._cut_pictures(parsed, windows, boxes, train=False)
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
        self, parsed: Tensors, windows: sampling.Windows, boxes: Sequence[tf.Tensor], *, train: bool
    ) -> Tensors:
        """Every window with every crop, windows slowest; or the one window on a canvas."""
        spec, _ = video_and_audio(self.modalities)
        if spec is None or windows.frames is None:
            return {}
        views, crops = cast(int, windows.frames.shape[0]), len(boxes)
        canvas, short_side = self.dataset.canvas, self.dataset.test_short_side
        draw = train and any(canvas)
        shapes = {"video": [views * crops, *spec.input_shape]}
        if draw:
            shapes = {"canvas": [1, spec.frames, *canvas, 3], "crops": [1, crops, 4]}
        chosen = tf.reshape(windows.frames, [-1])

        def cut() -> Tensors:
            frames = tf.gather(parsed["frames"], chosen)
            if draw:
                drawn, inside = pictures.on_canvas(frames, boxes, spec.size, canvas)
                drawn = tf.ensure_shape(drawn[None], shapes["canvas"])
                return {"canvas": drawn, "crops": inside[None]}
            if short_side and not train:
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

    def _cut_sound(self, parsed: Tensors, windows: sampling.Windows, crops: int) -> Tensors:
        """Every window's sound, repeated for each of its crops."""
        _, spec = video_and_audio(self.modalities)
        if spec is None or windows.audio is None:
            return {}
        length = sampling.length(spec, _clock(parsed).rate)
        cyclic = self.dataset.sampling == sampling.CYCLIC
        waves = sampling.cut(parsed["audio"], windows.audio, length, cyclic=cyclic)
        return {"audio": tf.repeat(waves, crops, axis=0)}

    def _facts(self, parsed: Tensors, position: tf.Tensor) -> Tensors:
        """Label float32 [classes], index and present modalities of one row."""
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


@dataclasses.dataclass(frozen=True)
class SequenceMaker(Maker):
    """Builds examples from tf.SequenceExamples.

    Attributes:
        sound: `waveform` or `melspec`.
    """

    sound: str = "waveform"

    def parse(self, record: tf.Tensor) -> Tensors:
        """As `Maker.parse`; `audio` is int16 [s] at 16 kHz, or a spectrogram float32 [t m]."""
        video, audio = video_and_audio(self.modalities)
        some = tf.io.VarLenFeature
        context = {LABELS: some(tf.int64), FRAME_RATE: some(tf.float32)}
        lists: dict[str, Any] = {FRAME_TIMES: some(tf.int64)}
        if video is not None:
            lists[FRAMES] = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
        if audio is not None:
            lists |= {SOUNDS[self.sound]: some(tf.float32), SOUND_TIMES[self.sound]: some(tf.int64)}
        facts, series = tf.io.parse_single_sequence_example(record, context, lists)
        found = {k: x.values if isinstance(x, tf.SparseTensor) else x for k, x in series.items()}

        parsed = {"label": facts[LABELS].values[: None if self.classes else 0]}
        if video is not None:
            parsed |= self._parse_pictures(video, found, facts[FRAME_RATE].values)
        else:
            one, zero = tf.constant(1), tf.constant(0.0)
            parsed |= {"height": one, "width": one, "fps": zero + 1.0, "duration": zero}
        if audio is not None:
            parsed["audio"] = self._parse_sound(audio, found)
        return parsed

    def _parse_pictures(self, video: Video, found: Tensors, stated: tf.Tensor) -> Tensors:
        frames, times = self._present(found[FRAMES], FRAMES), found[FRAME_TIMES]
        # The rate measured by the times of the frames, else the file's, else the config's.
        seconds = _seconds(times[-1:] - times[:1])
        steps = tf.cast(tf.size(times) - 1, tf.float32)
        measured = tf.where(seconds > 0, steps / seconds, 0.0)
        rates = tf.concat([measured, stated, [self.dataset.mediasequence.fps or video.fps]], axis=0)
        fps = rates[tf.argmax(tf.cast(rates > 0, tf.int32))]

        shape = tf.cond(
            tf.size(frames) > 0,
            lambda: tf.io.extract_jpeg_shape(frames[0])[:2],
            lambda: tf.ones([2], tf.int32),
        )
        duration = tf.cast(tf.size(frames), tf.float32) / fps
        return {
            "frames": frames,
            "height": shape[0],
            "width": shape[1],
            "fps": fps,
            "duration": duration,
        }

    def _parse_sound(self, audio: Audio, found: Tensors) -> tf.Tensor:
        """The sound [s] or [t m] on the clock of the pictures, if there are any."""
        values = self._present(found[SOUNDS[self.sound]], SOUNDS[self.sound])
        if self.sound == "waveform":
            rate = Audio.sample_rate
            sound = _to_int16(values, self.dataset.mediasequence.sample_rate // rate)
        else:
            rate = COLUMNS
            sound = tf.reshape(values, [-1, audio.mels])
        if FRAMES not in found:
            return sound

        # Late sound gets silence in front, early sound is cut; without times it stays as it is.
        # It is taken to begin with the last picture at the latest: later, nobody would hear it.
        zero = tf.zeros([1], tf.int64)
        pictures, sounds = found[FRAME_TIMES], found[SOUND_TIMES[self.sound]]
        first, last, begin = (tf.concat([x, zero], 0)[0] for x in (pictures, pictures[-1:], sounds))
        known = (tf.size(pictures) > 0) & (tf.size(sounds) > 0)
        late = tf.where(known, _seconds(tf.minimum(begin, last) - first), 0.0)
        steps = tf.cast(tf.round(late * rate), tf.int32)
        missing = tf.where(tf.shape(sound)[0] > 0, tf.maximum(steps, 0), 0)
        pad = [[missing, 0]] + [[0, 0]] * (sound.shape.rank - 1)
        padded = tf.pad(sound, pad, constant_values=sampling.quiet(sound))
        return tf.ensure_shape(padded[tf.maximum(-steps, 0) :], sound.shape)

    def _present(self, values: tf.Tensor, name: str) -> tf.Tensor:
        """The values; an error if there are none although every clip should have some."""
        if not self.dataset.mediasequence.complete:
            return values
        says = f"it has no {name}, but dataset.mediasequence.complete is True"
        with tf.control_dependencies([tf.debugging.Assert(tf.size(values) > 0, [says])]):
            return tf.identity(values)


def _clock(parsed: Tensors) -> sampling.Clock:
    spectrogram = "audio" in parsed and parsed["audio"].shape.rank == 2
    return sampling.Clock(
        frames=tf.size(parsed["frames"]) if "frames" in parsed else tf.constant(0),
        fps=parsed["fps"],
        samples=tf.shape(parsed["audio"])[0] if "audio" in parsed else tf.constant(0),
        duration=parsed["duration"],
        rate=COLUMNS if spectrogram else Audio.sample_rate,
    )


def _seconds(times: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(times, tf.float64) / _MICROSECONDS, tf.float32)


def _to_int16(wave: tf.Tensor, factor: int, reach: int = 16) -> tf.Tensor:
    """A waveform float32 [s] in [-1, 1] at a multiple of 16 kHz as int16 at 16 kHz.

    A higher rate is reduced by a low-pass filter first: a Hann-windowed sinc of `reach` new samples
    to either side, 6 dB down at .46 of the new rate.
    """
    plausible = tf.reduce_all(tf.math.is_finite(wave) & (tf.abs(wave) <= _LOUDEST))
    says = (
        f"{SOUNDS['waveform']} is not sound between -1 and 1; DMVR's example script writes "
        "32-bit integers that are read as floats: write it again with format f32le"
    )
    with tf.control_dependencies([tf.debugging.Assert(plausible, [says])]):
        wave = tf.identity(wave)
    if factor > 1:
        n = np.arange(-reach * factor, reach * factor + 1)
        taps = np.sinc(n * 0.92 / factor) * np.hanning(len(n) + 2)[1:-1]
        taps = tf.constant(taps / taps.sum(), tf.float32)[:, None, None]
        padded = tf.pad(wave, [[len(n) // 2, len(n) // 2]])
        wave = tf.nn.conv1d(padded[None, :, None], taps, factor, "VALID")[0, :, 0]
    return tf.cast(tf.clip_by_value(tf.round(wave * 32768.0), -32768, 32767), tf.int16)
