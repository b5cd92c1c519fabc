"""Which frames and which sound a view of a clip holds, on the clip's own clock.

How frames are chosen, by `dataset.sampling`; the ones after `uniform` differ in training only:

* dense: `frames` pictures, `stride / fps` seconds apart. Training starts at a random frame, test
  views start evenly spaced (one view: in the middle).
* uniform: the clip is cut into `frames` equal segments and each gives one frame: a random one in
  training (TSN, Wang et al. 2016); at test the middle one, or with v views the one at the share
  i / v of the segment (VideoMAE's test views on Something-Something).
* dense_linspace: as VideoMAE finetunes on Kinetics, `frames` points spread from the first frame to
  the end of the span, truncated: 16 of them lie 64 / 15 apart instead of 4. A clip shorter than
  the span is covered whole, by as many points as it has strides.
* uniform_floor: as VideoMAE finetunes on Something-Something. Segments hold a whole number of
  frames, so what is left over at the end is never seen; a clip of fewer frames than segments
  gives its first frame only.
* dense_cyclic: as Scenic's AV-MAE, also at test. Short clips repeat instead of holding their last
  frame, and sound does not follow the clock: in training it starts at the same fraction of its
  length as the pictures and wraps around, at test its windows are spaced evenly.

Otherwise a clip shorter than the span holds its last frame, and its sound is padded with zeros, so
that pictures and sound stay on one clock (repeating the clip would break that).
"""

import dataclasses

import tensorflow as tf

from av_mae.config.modality import Audio, Modalities, Video, video_and_audio
from av_mae.input import order

CYCLIC = "dense_cyclic"

# Steps between frames are rarely whole numbers; 1/1000 frame absorbs the rounding of their sums.
_ROUNDING = 1e-3


@dataclasses.dataclass(frozen=True)
class Clock:
    """Length of a clip: frames int32 [] at fps float32 [], sound int32 [] samples, in seconds.

    Attributes:
        rate: samples a second; where the sound is a spectrogram, its columns are the samples.
    """

    frames: tf.Tensor
    fps: tf.Tensor
    samples: tf.Tensor
    duration: tf.Tensor
    rate: int = Audio.sample_rate


@dataclasses.dataclass(frozen=True)
class Windows:
    """Views of a clip: frame indices int32 [v, f], first sound sample int32 [v]; None if unused."""

    frames: tf.Tensor | None
    audio: tf.Tensor | None


def random_window(clock: Clock, modalities: Modalities, sampling: str, key: tf.Tensor) -> Windows:
    """The one view (v = 1) that a training example sees."""
    video, audio = video_and_audio(modalities)
    sound = None
    if audio is not None:
        sound = order.integer(key, _last_sound_start(clock, audio, cyclic=sampling == CYCLIC), (1,))
    if video is None:
        return Windows(None, sound)
    if sampling in ("dense", CYCLIC):
        last = _last_start(clock, video)
        if sampling == CYCLIC:
            reach = tf.math.ceil((video.frames - 1) * _step(clock, video) - _ROUNDING)
            last = tf.maximum(clock.frames - 1 - tf.cast(reach, tf.int32), 0)
        frames = _dense(clock, video, order.integer(key, last, (1,)), cyclic=sampling == CYCLIC)
    elif sampling == "dense_linspace":
        frames = _linspace_random(clock, video, key)
    else:  # a random frame of each segment; uniform_floor: of a whole number of frames each
        if sampling == "uniform_floor":
            lengths = clock.frames // video.frames
            first = tf.range(video.frames) * lengths
        else:
            edges = _segments(clock, video, tf.range(video.frames + 1, dtype=tf.float32))
            first, lengths = edges[:-1], edges[1:] - edges[:-1]
        offsets = order.uniform(key, (video.frames,)) * tf.cast(lengths, tf.float32)
        offsets = tf.minimum(tf.cast(offsets, tf.int32), tf.maximum(lengths - 1, 0))
        frames = (first + offsets)[None]
    if audio is not None and sampling == CYCLIC:
        # The sample at the same share of the sound as the first frame is of the pictures.
        total = tf.cast(tf.maximum(clock.frames, 1), tf.float32)
        place = tf.cast(frames[:, 0], tf.float32) / total * tf.cast(clock.samples, tf.float32)
        return Windows(frames, tf.cast(tf.round(place), tf.int32))
    return Windows(frames, _aligned(frames, clock, audio, sound))


def test_windows(clock: Clock, modalities: Modalities, sampling: str, views: int) -> Windows:
    """`views` views that cover a clip evenly; a single one is the middle."""
    video, audio = video_and_audio(modalities)
    sound = None
    if audio is not None:
        sound = _even(_last_sound_start(clock, audio, cyclic=sampling == CYCLIC), views)
    if video is None:
        return Windows(None, sound)
    if sampling.startswith("uniform"):
        shares = tf.constant([0.5] if views == 1 else [v / views for v in range(views)])
        position = tf.range(video.frames, dtype=tf.float32) + shares[:, None]
        frames = tf.minimum(_segments(clock, video, position), clock.frames - 1)
    else:
        starts = _even(_last_start(clock, video), views)
        frames = _dense(clock, video, starts, cyclic=sampling == CYCLIC)
    return Windows(frames, sound if sampling == CYCLIC else _aligned(frames, clock, audio, sound))


def length(audio: Audio, rate: int) -> int:
    """Samples of a sound window, or columns of its spectrogram."""
    return audio.samples * rate // audio.sample_rate


def cut(sound: tf.Tensor, starts: tf.Tensor, samples: int, *, cyclic: bool = False) -> tf.Tensor:
    """Windows [v, samples ...] of a waveform [s], or of a spectrogram [s, m].

    Behind its end a waveform is padded with zeros and a spectrogram with its smallest value; with
    `cyclic` both wrap around.
    """
    windows = []
    for start in tf.unstack(starts):
        window = sound[start : start + samples]
        if cyclic:
            size = tf.maximum(tf.shape(sound)[0], 1)
            window = tf.gather(_not_empty(sound), (start + tf.range(samples)) % size)
        pad = [[0, samples - tf.shape(window)[0]]] + [[0, 0]] * (sound.shape.rank - 1)
        windows.append(tf.pad(window, pad, constant_values=quiet(sound)))
    return tf.ensure_shape(tf.stack(windows), [len(windows), samples, *sound.shape[1:]])


def quiet(sound: tf.Tensor) -> tf.Tensor:
    """The value of silence in a waveform [s], or in a spectrogram [s, m]."""
    if sound.shape.rank == 1:
        return tf.zeros([], sound.dtype)
    return tf.reduce_min(_not_empty(sound))


def _not_empty(sound: tf.Tensor) -> tf.Tensor:
    """The sound, or one sample of zeros if it is empty."""
    missing = tf.maximum(1 - tf.shape(sound)[0], 0)
    return tf.pad(sound, [[0, missing]] + [[0, 0]] * (sound.shape.rank - 1))


def _dense(clock: Clock, video: Video, starts: tf.Tensor, *, cyclic: bool) -> tf.Tensor:
    """Frames int32 [v, f] a step apart; after the last one it is held, or the clip repeats."""
    steps = tf.range(video.frames, dtype=tf.float32) * _step(clock, video)
    frames = starts[:, None] + tf.cast(tf.floor(steps + _ROUNDING), tf.int32)
    if cyclic:
        return tf.math.floormod(frames, tf.maximum(clock.frames, 1))
    return tf.minimum(frames, clock.frames - 1)


def _linspace_random(clock: Clock, video: Video, key: tf.Tensor) -> tf.Tensor:
    step, frames = _step(clock, video), tf.cast(clock.frames, tf.float32)
    span = tf.minimum(video.frames * step, frames)
    points = tf.minimum(tf.floor(frames / step + _ROUNDING), video.frames)
    place = tf.range(video.frames, dtype=tf.float32)
    reached = tf.where(place < points, place * span / tf.maximum(points - 1, 1), span)
    last = tf.cast(tf.math.ceil(span - _ROUNDING), tf.int32) - 1
    indices = tf.minimum(tf.cast(tf.floor(reached + _ROUNDING), tf.int32), last)
    # The span never ends with the clip, unless it is all of it.
    latest = tf.maximum(_last_start(clock, video) - 1, 0)
    return order.integer(key, latest, (1,))[:, None] + indices


def _segments(clock: Clock, video: Video, position: tf.Tensor) -> tf.Tensor:
    """Frame index at `position`, measured in segments from the start of the clip."""
    frames = tf.cast(clock.frames, tf.float32)
    return tf.cast(tf.floor(position * frames / video.frames + _ROUNDING), tf.int32)


def _step(clock: Clock, video: Video) -> tf.Tensor:
    """Record frames between two sampled frames, float32 []."""
    return clock.fps * (video.stride / video.fps)


def _last_start(clock: Clock, video: Video) -> tf.Tensor:
    """Latest first frame whose span still lies inside the clip; 0 if the clip is no longer."""
    span = tf.math.ceil(video.frames * _step(clock, video) - _ROUNDING)
    return tf.maximum(clock.frames - tf.cast(span, tf.int32), 0)


def _last_sound_start(clock: Clock, audio: Audio, *, cyclic: bool) -> tf.Tensor:
    """Latest start of a window inside the clip, cyclic ones inside the sound; 0 if it is longer."""
    end = clock.samples
    if not cyclic:
        end = tf.maximum(tf.cast(tf.round(clock.duration * clock.rate), tf.int32), end)
    return tf.maximum(end - length(audio, clock.rate), 0)


def _aligned(
    frames_vf: tf.Tensor, clock: Clock, audio: Audio | None, alone: tf.Tensor | None
) -> tf.Tensor | None:
    """Start of the sound window centred on the time that the sampled frames are shown.

    A clip without frames has its sound window where it would be `alone`.
    """
    if audio is None:
        return None
    shown = tf.cast(frames_vf[:, 0] + frames_vf[:, -1] + 1, tf.float32) / clock.fps
    middle = tf.cast(tf.round(shown * (clock.rate / 2)), tf.int32)
    start = middle - length(audio, clock.rate) // 2
    inside = tf.clip_by_value(start, 0, _last_sound_start(clock, audio, cyclic=False))
    return tf.where(clock.frames > 0, inside, alone)


def _even(last: tf.Tensor, views: int) -> tf.Tensor:
    """`views` integers int32 [v] evenly spaced over [0, last]; a single one is the middle."""
    return last[None] // 2 if views == 1 else tf.range(views) * last // (views - 1)
