"""Cuts a clip into the views that a model takes, as evaluation on records does, without TensorFlow.

`av_mae.input.sampling` defines where views lie; a test holds the two together.
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, UInt8

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.config.modality import Audio, Modality, Video
from av_mae.inference.clip import Clip

# As in `av_mae.input.sampling`: absorbs the rounding of sums of steps that are no whole numbers.
_ROUNDING = 1e-3
_CYCLIC = "dense_cyclic"

_DEFAULT = schema.Dataset()


@dataclasses.dataclass(frozen=True)
class Views:
    """Rows for a model and the time that each one shows.

    Attributes:
        batch: `video` uint8 `[v f h w 3]`, `audio` int16 `[v s]`.
        seconds: start and end of each view in the clip `[v 2]`, by modality.
    """

    batch: dict[str, np.ndarray]
    seconds: dict[str, Float[np.ndarray, "v 2"]]


def evaluation(
    clip: Clip,
    modalities: Mapping[str, Modality],
    dataset: schema.Dataset = _DEFAULT,
    *,
    temporal: int = 1,
    spatial: int = 1,
) -> Views:
    """`temporal * spatial` views, spatial ones fastest, where evaluation takes them."""
    video, audio = _kinds(modalities)
    cyclic = dataset.sampling == _CYCLIC
    even_v = None if audio is None else _even(_last_sample(clip, audio, cyclic), temporal)
    cut = functools.partial(
        _views, clip, modalities, spatial=spatial, cyclic=cyclic, short_side=dataset.test_short_side
    )
    if video is None:
        return cut(None, even_v)
    assert clip.frames is not None
    if dataset.sampling.startswith("uniform"):
        frames_vf = _uniform(len(clip.frames), video, temporal)
    else:
        frames_vf = _dense(clip, video, _even(_last_frame(clip, video), temporal), cyclic)
    shown_v = (frames_vf[:, 0] + frames_vf[:, -1] + 1) / clip.fps / 2
    return cut(frames_vf, even_v if cyclic else _centred(clip, audio, shown_v))


def at(clip: Clip, modalities: Mapping[str, Modality], centres_v: Float[np.ndarray, " v"]) -> Views:
    """One view around each time, in seconds; moved inwards where it would leave the clip."""
    video, audio = _kinds(modalities)
    frames_vf = None
    if video is not None:
        starts_v = np.round((centres_v - video.seconds / 2) * clip.fps).astype(np.int64)
        frames_vf = _dense(clip, video, np.clip(starts_v, 0, _last_frame(clip, video)))
    return _views(clip, modalities, frames_vf, _centred(clip, audio, centres_v))


def spans(modalities: Mapping[str, Modality]) -> dict[str, float]:
    """Seconds that one view shows of every modality."""
    return {n: m.seconds for n, m in modalities.items() if isinstance(m, Video | Audio)}


def _views(
    clip: Clip,
    modalities: Mapping[str, Modality],
    frames_vf: Int[np.ndarray, "v f"] | None,
    samples_v: Int[np.ndarray, " v"] | None,
    *,
    spatial: int = 1,
    cyclic: bool = False,
    short_side: int = 0,
) -> Views:
    video, audio = _kinds(modalities)
    batch, seconds = {}, {}
    if video is not None and frames_vf is not None and clip.frames is not None:
        used, place = np.unique(frames_vf, return_inverse=True)
        cut = functools.partial(cropped, short_side=short_side) if short_side else resized
        crops = cut(clip.frames[used], video.size, spatial)  # every frame once
        rows = crops[:, place.reshape(frames_vf.shape)]
        batch["video"] = rows.swapaxes(0, 1).reshape(-1, *video.input_shape)
        ends = np.stack([frames_vf[:, 0], frames_vf[:, -1] + 1], axis=1) / clip.fps
        seconds["video"] = ends.repeat(spatial, axis=0)
    if audio is not None and samples_v is not None and clip.audio is not None:
        wave_s = _repeated(clip.audio, audio.samples) if cyclic else clip.audio
        windows = np.stack([_window(wave_s, start, audio.samples) for start in samples_v])
        batch["audio"] = windows.repeat(spatial, axis=0)
        ends = np.stack([samples_v, samples_v + audio.samples], axis=1) / audio.sample_rate
        seconds["audio"] = ends.repeat(spatial, axis=0)
    return Views(batch, seconds)


def resized(
    frames_thwc: UInt8[np.ndarray, "t h w 3"], size: int, crops: int = 1
) -> UInt8[np.ndarray, "crops t {size} {size} 3"]:
    """Squares of the short side, evenly spaced along the long one, scaled to `size`.

    As `av_mae.input.video.crops`: means of 2, 4 or 8 pixels first, then bilinear between two.
    """
    height, width = frames_thwc.shape[1:3]
    side = min(height, width)
    ratio = next(r for r in (8, 4, 2, 1) if r == 1 or side >= r * size)
    cuts = []
    for y, x in _corners(height - side, width - side, crops):
        square = frames_thwc[:, y : y + side, x : x + side]
        cuts.append(_bilinear(_bilinear(_pooled(square, ratio), size, 1), size, 2))
    return (np.stack(cuts) + 0.5).astype(np.uint8)


def cropped(
    frames_thwc: UInt8[np.ndarray, "t h w 3"], size: int, crops: int = 1, *, short_side: int
) -> UInt8[np.ndarray, "crops t {size} {size} 3"]:
    """Crops of frames resized as a whole; as `av_mae.input.video.whole_views`."""
    shape = np.array(frames_thwc.shape[1:3])
    height, width = shape * short_side // shape.min()
    whole = _bilinear(_bilinear(frames_thwc.astype(np.float32), height, 1), width, 2)
    corners = _corners(height - size, width - size, crops)
    cuts = [whole[:, y : y + size, x : x + size] for y, x in corners]
    return np.stack(cuts).astype(np.uint8)


def _corners(tall: int, wide: int, crops: int) -> list[tuple[int, int]]:
    """Corners (y, x) along the side with more free room, central along the other."""
    if crops == 1:
        return [(tall // 2, wide // 2)]
    shares = range(crops)
    if tall > wide:
        return [(i * tall // (crops - 1), wide // 2) for i in shares]
    return [(tall // 2, i * wide // (crops - 1)) for i in shares]


def _pooled(x_thwc: np.ndarray, ratio: int) -> np.ndarray:
    if ratio == 1:
        return x_thwc.astype(np.float32)
    side = x_thwc.shape[1] // ratio * ratio
    x = x_thwc[:, :side, :side].reshape(-1, side // ratio, ratio, side // ratio, ratio, 3)
    return x.mean((2, 4), dtype=np.float32)


def _bilinear(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation along one axis, pixel centres at (i + 1/2) / n."""
    extent = x.shape[axis]
    position = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(extent / size) - 0.5
    lower = np.floor(position)
    share = (position - lower).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    first = np.take(x, np.clip(lower, 0, extent - 1).astype(int), axis)
    second = np.take(x, np.clip(lower + 1, 0, extent - 1).astype(int), axis)
    return first + (second - first) * share


def _dense(clip: Clip, video: Video, starts_v: np.ndarray, cyclic: bool = False) -> np.ndarray:
    assert clip.frames is not None
    steps = np.floor(np.arange(video.frames) * _step(clip, video) + _ROUNDING).astype(np.int64)
    frames_vf = starts_v[:, None] + steps
    if cyclic:
        return frames_vf % len(clip.frames)
    return np.minimum(frames_vf, len(clip.frames) - 1)


def _uniform(frames: int, video: Video, views: int) -> np.ndarray:
    shares_v1 = np.array([0.5] if views == 1 else [v / views for v in range(views)])[:, None]
    position = np.arange(video.frames) + shares_v1
    return np.floor(position * frames / video.frames + _ROUNDING).astype(np.int64)


def _last_frame(clip: Clip, video: Video) -> int:
    assert clip.frames is not None
    needed = int(np.ceil(video.frames * _step(clip, video) - _ROUNDING))
    return max(len(clip.frames) - needed, 0)


def _step(clip: Clip, video: Video) -> float:
    """Frames of the clip between two sampled ones."""
    return clip.fps * (video.stride / video.fps)


def _centred(clip: Clip, audio: Audio | None, centres_v: np.ndarray) -> np.ndarray | None:
    if audio is None:
        return None
    starts_v = np.round(centres_v * audio.sample_rate).astype(np.int64) - audio.samples // 2
    return np.clip(starts_v, 0, _last_sample(clip, audio))


def _last_sample(clip: Clip, audio: Audio | None, cyclic: bool = False) -> int:
    assert audio is not None
    if cyclic and clip.audio is not None:
        return max(len(clip.audio) - audio.samples, 0)
    return max(round(clip.seconds * audio.sample_rate) - audio.samples, 0)


def _even(last: int, views: int) -> np.ndarray:
    return np.array([last // 2]) if views == 1 else np.arange(views) * last // (views - 1)


def _repeated(wave_s: np.ndarray, samples: int) -> np.ndarray:
    """The sound again and again until it fills a window."""
    return np.resize(wave_s, max(len(wave_s), samples)) if len(wave_s) else wave_s


def _window(wave_s: np.ndarray, start: int, samples: int) -> np.ndarray:
    """int16 `[samples]` from `start`; zeros where the sound has ended."""
    part = wave_s[start : start + samples]
    whole = np.round(np.clip(part, -1.0, 1.0) * 32768.0).clip(-32768, 32767).astype(np.int16)
    return np.pad(whole, (0, samples - len(whole)))


def _kinds(modalities: Mapping[str, Modality]) -> tuple[Video | None, Audio | None]:
    video, audio = modalities.get("video"), modalities.get("audio")
    assert video is None or isinstance(video, modality_lib.Video)
    assert audio is None or isinstance(audio, modality_lib.Audio)
    return video, audio
