"""One clip from a tf.SequenceExample with DMVR's names of features, for the maker of examples."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.input import example, records
from av_mae.input import sampling as sampling_lib

FRAMES, FRAME_TIMES = "image/encoded", "image/timestamp"
FRAME_RATE = "image/frame_rate"
LABELS = "clip/label/index"
SOUNDS = {"waveform": "WAVEFORM/feature/floats", "melspec": "melspec/feature/floats"}
SOUND_TIMES = {"waveform": "WAVEFORM/feature/timestamp", "melspec": "melspec/feature/timestamp"}

COLUMNS = 100  # of a spectrogram, a second

_MICROSECONDS = 1e6
_DEFAULT = schema.MediaSequence()
# Samples are -1 to 1; rounding and codecs may go a little beyond.
_LOUDEST = 2.0


@dataclasses.dataclass(frozen=True)
class SequenceMaker(example.Maker):
    """Builds examples from tf.SequenceExamples.

    Attributes:
        sound: `waveform` or `melspec`.
    """

    settings: schema.MediaSequence = _DEFAULT
    sound: str = "waveform"

    def parse(self, record: tf.Tensor) -> example.Tensors:
        """As `Maker.parse`; `audio` is int16 [s] at 16 kHz, or a spectrogram float32 [t m]."""
        pictures, sound = sampling_lib.kinds(self.modalities)
        some = tf.io.VarLenFeature
        context = {LABELS: some(tf.int64), FRAME_RATE: some(tf.float32)}
        lists: dict[str, Any] = {FRAME_TIMES: some(tf.int64)}
        if pictures is not None:
            lists[FRAMES] = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
        if sound is not None:
            lists |= {SOUNDS[self.sound]: some(tf.float32), SOUND_TIMES[self.sound]: some(tf.int64)}
        facts, series = tf.io.parse_single_sequence_example(record, context, lists)
        found = {k: x.values if isinstance(x, tf.SparseTensor) else x for k, x in series.items()}
        stated = facts[FRAME_RATE].values
        parsed = self._pictures(pictures, found, stated) | self._heard(sound, found)
        return parsed | {"label": facts[LABELS].values[: None if self.classes else 0]}

    def _pictures(
        self, pictures: modality_lib.Video | None, found: example.Tensors, stated: tf.Tensor
    ) -> example.Tensors:
        if pictures is None:
            one, zero = tf.constant(1), tf.constant(0.0)
            return {"height": one, "width": one, "fps": zero + 1.0, "duration": zero}
        frames = self._present(found[FRAMES], FRAMES)
        fps = _rate(found[FRAME_TIMES], stated, self.settings.fps or pictures.fps)
        height, width = _size(frames)
        duration = tf.cast(tf.size(frames), tf.float32) / fps
        return {
            "frames": frames, "height": height, "width": width, "fps": fps, "duration": duration,
        }  # fmt: skip

    def _heard(self, sound: modality_lib.Audio | None, found: example.Tensors) -> example.Tensors:
        if sound is None:
            return {}
        values = self._present(found[SOUNDS[self.sound]], SOUNDS[self.sound])
        if self.sound == "waveform":
            heard = _integers(values, self.settings.sample_rate // records.SAMPLE_RATE)
        else:
            heard = tf.reshape(values, [-1, sound.mels])
        if FRAMES in found:
            rate = records.SAMPLE_RATE if self.sound == "waveform" else COLUMNS
            heard = _shifted(heard, _late(found[FRAME_TIMES], found[SOUND_TIMES[self.sound]]), rate)
        return {"audio": heard}

    def _present(self, values: tf.Tensor, name: str) -> tf.Tensor:
        """The values; an error where there are none, though every clip is said to have some."""
        if not self.settings.complete:
            return values
        says = f"it has no {name}, but dataset.mediasequence.complete is True"
        with tf.control_dependencies([tf.debugging.Assert(tf.size(values) > 0, [says])]):
            return tf.identity(values)


def _rate(times: tf.Tensor, stated: tf.Tensor, nominal: float) -> tf.Tensor:
    """Frames a second: by the times of the frames, else as the file says, else the nominal rate."""
    seconds = _seconds(times[-1:] - times[:1])
    steps = tf.cast(tf.size(times) - 1, tf.float32)
    measured = tf.where(seconds > 0, steps / seconds, 0.0)
    rates = tf.concat([measured, stated, [nominal]], axis=0)
    return rates[tf.argmax(tf.cast(rates > 0, tf.int32))]


def _seconds(times: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(times, tf.float64) / _MICROSECONDS, tf.float32)


def _late(picture_times: tf.Tensor, sound_times: tf.Tensor) -> tf.Tensor:
    """Seconds float32 [] from the first picture to the first sound; 0 where times are not known.

    No later than the last picture: nobody would hear it.
    """
    zero = tf.zeros([1], tf.int64)
    first, last = (tf.concat([x, zero], 0)[0] for x in (picture_times, picture_times[-1:]))
    begin = tf.concat([sound_times, zero], 0)[0]
    known = (tf.size(picture_times) > 0) & (tf.size(sound_times) > 0)
    return tf.where(known, _seconds(tf.minimum(begin, last) - first), 0.0)


def _shifted(sound: tf.Tensor, late: tf.Tensor, rate: int) -> tf.Tensor:
    """Sound [s ...] on the clock of the pictures: quiet in front of late sound, early sound cut."""
    steps = tf.cast(tf.round(late * rate), tf.int32)
    # Without any sound there is nothing to place.
    missing = tf.where(tf.shape(sound)[0] > 0, tf.maximum(steps, 0), 0)
    pad = [[missing, 0]] + [[0, 0]] * (sound.shape.rank - 1)
    front = tf.pad(sound, pad, constant_values=sampling_lib.quiet(sound))
    return tf.ensure_shape(front[tf.maximum(-steps, 0) :], sound.shape)


def _integers(values: tf.Tensor, factor: int) -> tf.Tensor:
    """A waveform float32 [s] in [-1, 1] at a multiple of 16 kHz as int16 at 16 kHz."""
    whole = tf.reduce_all(tf.math.is_finite(values) & (tf.abs(values) <= _LOUDEST))
    says = (
        f"{SOUNDS['waveform']} is not sound between -1 and 1; DMVR's example script writes "
        "32-bit integers that are read as floats: write it again with format f32le"
    )
    with tf.control_dependencies([tf.debugging.Assert(whole, [says])]):
        wave = _reduce_rate(values, factor)
    return tf.cast(tf.clip_by_value(tf.round(wave * 32768.0), -32768, 32767), tf.int16)


def _size(frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width int32 [] of the first frame; 1 where there is none."""
    shape = tf.cond(
        tf.size(frames) > 0,
        lambda: tf.io.extract_jpeg_shape(frames[0])[:2],
        lambda: tf.ones([2], tf.int32),
    )
    return shape[0], shape[1]


def _reduce_rate(wave: tf.Tensor, factor: int, reach: int = 16) -> tf.Tensor:
    """Every `factor`-th sample of a waveform [s], after a low-pass below half the new rate.

    A Hann-windowed sinc of `reach` new samples to either side, 6 dB down at .46 of the new rate.
    """
    if factor == 1:
        return wave
    n = np.arange(-reach * factor, reach * factor + 1)
    taps = np.sinc(n * 0.92 / factor) * np.hanning(len(n) + 2)[1:-1]
    taps = tf.constant(taps / taps.sum(), tf.float32)
    padded = tf.pad(wave, [[len(n) // 2, len(n) // 2]])
    return tf.nn.conv1d(padded[None, :, None], taps[:, None, None], factor, "VALID")[0, :, 0]
