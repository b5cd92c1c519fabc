"""One clip from a tf.SequenceExample with DMVR's feature names, parsed as a record of ours is."""

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
# Samples are -1 to 1; rounding and codecs may go a little beyond.
_LOUDEST = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceMaker(example.Maker):
    """Builds examples from tf.SequenceExamples.

    Attributes:
        sound: `waveform` or `melspec`.
    """

    settings: schema.MediaSequence
    sound: str

    def parse(self, record: tf.Tensor) -> example.Tensors:
        """As `Maker.parse`; `audio` is int16 [s] at 16 kHz, or a spectrogram float32 [t m]."""
        video, audio = modality_lib.video_and_audio(self.modalities)
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

    def _parse_pictures(
        self, video: modality_lib.Video, found: example.Tensors, stated: tf.Tensor
    ) -> example.Tensors:
        frames, times = self._present(found[FRAMES], FRAMES), found[FRAME_TIMES]
        # The rate measured by the times of the frames, else the file's, else the config's.
        seconds = _seconds(times[-1:] - times[:1])
        steps = tf.cast(tf.size(times) - 1, tf.float32)
        measured = tf.where(seconds > 0, steps / seconds, 0.0)
        rates = tf.concat([measured, stated, [self.settings.fps or video.fps]], axis=0)
        fps = rates[tf.argmax(tf.cast(rates > 0, tf.int32))]

        shape = tf.cond(
            tf.size(frames) > 0,
            lambda: tf.io.extract_jpeg_shape(frames[0])[:2],
            lambda: tf.ones([2], tf.int32),
        )
        duration = tf.cast(tf.size(frames), tf.float32) / fps
        return {
            "frames": frames, "height": shape[0], "width": shape[1], "fps": fps,
            "duration": duration,
        }  # fmt: skip

    def _parse_sound(self, audio: modality_lib.Audio, found: example.Tensors) -> tf.Tensor:
        """The sound [s] or [t m] on the clock of the pictures, if there are any."""
        values = self._present(found[SOUNDS[self.sound]], SOUNDS[self.sound])
        if self.sound == "waveform":
            rate = records.SAMPLE_RATE
            sound = _to_int16(values, self.settings.sample_rate // rate)
        else:
            rate = COLUMNS
            sound = tf.reshape(values, [-1, audio.mels])
        if FRAMES not in found:
            return sound

        # Late sound gets silence in front, early sound is cut; without any there is nothing to do.
        late = _late(found[FRAME_TIMES], found[SOUND_TIMES[self.sound]])
        steps = tf.cast(tf.round(late * rate), tf.int32)
        missing = tf.where(tf.shape(sound)[0] > 0, tf.maximum(steps, 0), 0)
        pad = [[missing, 0]] + [[0, 0]] * (sound.shape.rank - 1)
        padded = tf.pad(sound, pad, constant_values=sampling_lib.quiet(sound))
        return tf.ensure_shape(padded[tf.maximum(-steps, 0) :], sound.shape)

    def _present(self, values: tf.Tensor, name: str) -> tf.Tensor:
        """The values; an error if there are none although every clip should have some."""
        if not self.settings.complete:
            return values
        says = f"it has no {name}, but dataset.mediasequence.complete is True"
        with tf.control_dependencies([tf.debugging.Assert(tf.size(values) > 0, [says])]):
            return tf.identity(values)


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
