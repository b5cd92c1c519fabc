"""Which frames and which sound a view of a clip holds, on the clip's own clock.

Two ways to choose frames, and two that differ from them in training only:

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

A clip shorter than the span holds its last frame. Its sound does the same by ending in zeros, so
picture and sound stay on one clock (repeating the clip, as Scenic does, would break that).
"""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from av_mae import modality as modality_lib
from av_mae.input import order

SAMPLINGS = ("dense", "dense_linspace", "uniform", "uniform_floor")

# Steps between frames are rarely whole numbers; 1/1000 frame absorbs the rounding of their sums.
_ROUNDING = 1e-3


@dataclasses.dataclass(frozen=True)
class Clock:
    """Length of a clip: frames int32 [] at fps float32 [], sound int32 [] samples, in seconds."""

    frames: tf.Tensor
    fps: tf.Tensor
    samples: tf.Tensor
    duration: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Windows:
    """Views of a clip: frame indices int32 [v, f], first sound sample int32 [v]; None if unused."""

    frames: tf.Tensor | None
    audio: tf.Tensor | None


def random_window(
    clock: Clock, modalities: Mapping[str, modality_lib.Modality], sampling: str, key: tf.Tensor
) -> Windows:
    """The one view (v = 1) that a training example sees."""
    video, audio = kinds(modalities)
    if video is None:
        return Windows(None, order.integer(key, _last_start(clock, audio), (1,)))
    pick = {
        "dense": _dense_random,
        "dense_linspace": _linspace_random,
        "uniform": _uniform_random,
        "uniform_floor": _floor_random,
    }[sampling]
    frames = pick(clock, video, key)
    if audio is None:
        return Windows(frames, None)
    alone = order.integer(key, _last_start(clock, audio), (1,))
    return Windows(frames, _aligned(frames, clock, audio, alone))


def test_windows(
    clock: Clock, modalities: Mapping[str, modality_lib.Modality], sampling: str, views: int
) -> Windows:
    """`views` views that cover a clip evenly; a single one is the middle."""
    video, audio = kinds(modalities)
    if video is None:
        return Windows(None, _even(_last_start(clock, audio), views))
    pick = _uniform_even if sampling.startswith("uniform") else _dense_even
    frames = pick(clock, video, views)
    if audio is None:
        return Windows(frames, None)
    return Windows(frames, _aligned(frames, clock, audio, _even(_last_start(clock, audio), views)))


def kinds(
    modalities: Mapping[str, modality_lib.Modality],
) -> tuple[modality_lib.Video | None, modality_lib.Audio | None]:
    """(video, audio), None where a modality is not asked for."""
    video, audio = modalities.get("video"), modalities.get("audio")
    assert video is None or isinstance(video, modality_lib.Video)
    assert audio is None or isinstance(audio, modality_lib.Audio)
    return video, audio


def cut(wave: tf.Tensor, starts: tf.Tensor, samples: int) -> tf.Tensor:
    """Windows int16 [v, samples] of a waveform [s]; zeros where it has ended."""
    windows = []
    for start in tf.unstack(starts):
        window = wave[start : start + samples]
        windows.append(tf.pad(window, [[0, samples - tf.size(window)]]))
    return tf.ensure_shape(tf.stack(windows), [len(windows), samples])


def _dense_random(clock: Clock, video: modality_lib.Video, key: tf.Tensor) -> tf.Tensor:
    return _dense(clock, video, order.integer(key, _last_dense_start(clock, video), (1,)))


def _dense_even(clock: Clock, video: modality_lib.Video, views: int) -> tf.Tensor:
    return _dense(clock, video, _even(_last_dense_start(clock, video), views))


def _dense(clock: Clock, video: modality_lib.Video, starts: tf.Tensor) -> tf.Tensor:
    steps = tf.range(video.frames, dtype=tf.float32) * _step(clock, video)
    indices = starts[:, None] + tf.cast(tf.floor(steps + _ROUNDING), tf.int32)
    return tf.minimum(indices, clock.frames - 1)


def _linspace_random(clock: Clock, video: modality_lib.Video, key: tf.Tensor) -> tf.Tensor:
    step, frames = _step(clock, video), tf.cast(clock.frames, tf.float32)
    span = tf.minimum(video.frames * step, frames)
    points = tf.minimum(tf.floor(frames / step + _ROUNDING), video.frames)
    place = tf.range(video.frames, dtype=tf.float32)
    reached = tf.where(place < points, place * span / tf.maximum(points - 1, 1), span)
    last = tf.cast(tf.math.ceil(span - _ROUNDING), tf.int32) - 1
    indices = tf.minimum(tf.cast(tf.floor(reached + _ROUNDING), tf.int32), last)
    # The span never ends with the clip, unless it is all of it.
    latest = tf.maximum(_last_dense_start(clock, video) - 1, 0)
    return order.integer(key, latest, (1,))[:, None] + indices


def _uniform_random(clock: Clock, video: modality_lib.Video, key: tf.Tensor) -> tf.Tensor:
    edges = _segments(clock, video, tf.range(video.frames + 1, dtype=tf.float32))
    lengths = tf.maximum(edges[1:] - edges[:-1], 1)
    offsets = order.uniform(key, (video.frames,)) * tf.cast(lengths, tf.float32)
    return (edges[:-1] + tf.minimum(tf.cast(offsets, tf.int32), lengths - 1))[None]


def _floor_random(clock: Clock, video: modality_lib.Video, key: tf.Tensor) -> tf.Tensor:
    length = clock.frames // video.frames
    offsets = order.uniform(key, (video.frames,)) * tf.cast(length, tf.float32)
    offsets = tf.minimum(tf.cast(offsets, tf.int32), tf.maximum(length - 1, 0))
    return (tf.range(video.frames) * length + offsets)[None]


def _uniform_even(clock: Clock, video: modality_lib.Video, views: int) -> tf.Tensor:
    shares = tf.constant([0.5] if views == 1 else [v / views for v in range(views)])
    position = tf.range(video.frames, dtype=tf.float32) + shares[:, None]
    return tf.minimum(_segments(clock, video, position), clock.frames - 1)


def _segments(clock: Clock, video: modality_lib.Video, position: tf.Tensor) -> tf.Tensor:
    """Frame index at `position`, measured in segments from the start of the clip."""
    frames = tf.cast(clock.frames, tf.float32)
    return tf.cast(tf.floor(position * frames / video.frames + _ROUNDING), tf.int32)


def _step(clock: Clock, video: modality_lib.Video) -> tf.Tensor:
    """Record frames between two sampled frames, float32 []."""
    return clock.fps * (video.stride / video.fps)


def _last_dense_start(clock: Clock, video: modality_lib.Video) -> tf.Tensor:
    span = tf.math.ceil(video.frames * _step(clock, video) - _ROUNDING)
    return tf.maximum(clock.frames - tf.cast(span, tf.int32), 0)


def _aligned(
    frames_vf: tf.Tensor, clock: Clock, audio: modality_lib.Audio, alone: tf.Tensor
) -> tf.Tensor:
    """Start of the sound window centred on the time that the sampled frames are shown.

    A clip without frames has its sound window where it would be `alone`.
    """
    shown = tf.cast(frames_vf[:, 0] + frames_vf[:, -1] + 1, tf.float32) / clock.fps
    start = tf.cast(tf.round(shown * (audio.sample_rate / 2)), tf.int32) - audio.samples // 2
    return tf.where(clock.frames > 0, tf.clip_by_value(start, 0, _last_start(clock, audio)), alone)


def _last_start(clock: Clock, audio: modality_lib.Audio | None) -> tf.Tensor:
    """Latest start that keeps the window inside the clip; 0 if the clip is no longer than it."""
    if audio is None:
        raise ValueError("modalities is empty; expected video, audio or both")
    end = tf.cast(tf.round(clock.duration * audio.sample_rate), tf.int32)
    return tf.maximum(tf.maximum(end, clock.samples) - audio.samples, 0)


def _even(last: tf.Tensor, views: int) -> tf.Tensor:
    """`views` integers int32 [v] evenly spaced over [0, last]; a single one is the middle."""
    if views == 1:
        return last[None] // 2
    return tf.range(views) * last // (views - 1)
