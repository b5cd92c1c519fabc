"""Cuts a clip into the views that a model takes, as evaluation on records does, without TensorFlow.

`av_mae.input.sampling` defines where views lie; a test holds the two together.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from av_mae.config import schema
from av_mae.config.modality import Audio, Modalities, Video, video_and_audio
from av_mae.inference.clip import Clip

# As in `av_mae.input.sampling`: absorbs the rounding of sums of steps that are no whole numbers.
_ROUNDING = 1e-3

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

    @property
    def rows(self) -> int:
        return len(next(iter(self.batch.values())))


def evaluation(
    clip: Clip,
    modalities: Modalities,
    dataset: schema.Dataset = _DEFAULT,
    *,
    temporal: int = 1,
    spatial: int = 1,
) -> Views:
    """`temporal * spatial` views, spatial ones fastest, where evaluation takes them."""
    video, audio = video_and_audio(modalities)
    cyclic = dataset.sampling == "dense_cyclic"
    frames_vf = samples_v = None
    if video is not None:
        assert clip.frames is not None
        if dataset.sampling.startswith("uniform"):
            shares_v = [0.5] if temporal == 1 else [v / temporal for v in range(temporal)]
            position_vf = np.arange(video.frames) + np.array(shares_v)[:, None]
            position_vf = position_vf * len(clip.frames) / video.frames
            frames_vf = np.floor(position_vf + _ROUNDING).astype(np.int64)
        else:
            frames_vf = _dense(clip, video, _even(_last_frame(clip, video), temporal), cyclic)
    if audio is not None and (frames_vf is None or cyclic):
        samples_v = _even(_last_sample(clip, audio, cyclic), temporal)
    elif audio is not None and frames_vf is not None:
        shown_v = (frames_vf[:, 0] + frames_vf[:, -1] + 1) / clip.fps / 2
        samples_v = _centred(clip, audio, shown_v)
    return _views(clip, modalities, frames_vf, samples_v, dataset, spatial)


def at(
    clip: Clip,
    modalities: Modalities,
    centres_v: Float[np.ndarray, " v"],
    dataset: schema.Dataset = _DEFAULT,
    spatial: int = 1,
) -> Views:
    """`spatial` views around each time, in seconds; moved inwards where one would leave it."""
    video, audio = video_and_audio(modalities)
    frames_vf = None
    if video is not None:
        starts_v = np.round((centres_v - video.seconds / 2) * clip.fps).astype(np.int64)
        frames_vf = _dense(clip, video, np.clip(starts_v, 0, _last_frame(clip, video)))
    samples_v = None if audio is None else _centred(clip, audio, centres_v)
    return _views(clip, modalities, frames_vf, samples_v, dataset, spatial)


def joined(parts: Sequence[Views]) -> Views:
    """The views of several clips, which have the same modalities, one after the other."""
    batch, seconds = (
        {name: np.concatenate([of[name] for of in every]) for name in every[0]}
        for every in ([p.batch for p in parts], [p.seconds for p in parts])
    )
    return Views(batch, seconds)


def _views(
    clip: Clip,
    modalities: Modalities,
    frames_vf: Int[np.ndarray, "v f"] | None,
    samples_v: Int[np.ndarray, " v"] | None,
    dataset: schema.Dataset = _DEFAULT,
    spatial: int = 1,
) -> Views:
    """Cuts the views that show these frames, and the sound from these samples on.

    Sound that is too short for a window starts again if `dataset.sampling` is cyclic; otherwise
    silence follows.
    """
    video, audio = video_and_audio(modalities)
    batch, seconds = {}, {}
    if video is not None and frames_vf is not None and clip.frames is not None:
        used, place = np.unique(frames_vf, return_inverse=True)  # every frame is resized once
        if dataset.test_short_side:
            short_side = dataset.test_short_side
            crops = cropped(clip.frames[used], video.size, spatial, short_side=short_side)
        else:
            crops = resized(clip.frames[used], video.size, spatial)
        rows = crops[:, place.reshape(frames_vf.shape)]
        batch["video"] = rows.swapaxes(0, 1).reshape(-1, *video.input_shape)
        ends = np.stack([frames_vf[:, 0], frames_vf[:, -1] + 1], axis=1) / clip.fps
        seconds["video"] = ends.repeat(spatial, axis=0)
    if audio is not None and samples_v is not None and clip.audio is not None:
        wave_s = np.round(np.clip(clip.audio, -1.0, 1.0) * 32768.0)
        wave_s = wave_s.clip(-32768, 32767).astype(np.int16)
        if dataset.sampling == "dense_cyclic" and len(wave_s):
            wave_s = np.resize(wave_s, max(len(wave_s), audio.samples))
        index_vs = samples_v[:, None] + np.arange(audio.samples)
        silence = max(index_vs.max() + 1 - len(wave_s), 0)
        batch["audio"] = np.pad(wave_s, (0, silence))[index_vs].repeat(spatial, axis=0)
        ends = np.stack([samples_v, samples_v + audio.samples], axis=1) / audio.sample_rate
        seconds["audio"] = ends.repeat(spatial, axis=0)
    return Views(batch, seconds)


def resized(
    frames_thwc: UInt8[np.ndarray, "t h w 3"], size: int, crops: int = 1
) -> UInt8[np.ndarray, "crops t {size} {size} 3"]:
    """Squares of the short side, evenly spaced along the long one, scaled to `size`.

    As `av_mae.input.pictures.crops`: means of 2, 4 or 8 pixels first, then bilinear between two.
    """
    height, width = frames_thwc.shape[1:3]
    side = min(height, width)
    ratio = next(r for r in (8, 4, 2, 1) if r == 1 or side >= r * size)
    small = side // ratio
    cuts = []
    for y, x in _corners(height - side, width - side, crops):
        whole = frames_thwc[:, y : y + small * ratio, x : x + small * ratio]
        pooled = whole.reshape(-1, small, ratio, small, ratio, 3).mean((2, 4), dtype=np.float32)
        cuts.append(_bilinear(_bilinear(pooled, size, 1), size, 2))
    return (np.stack(cuts) + 0.5).astype(np.uint8)


def cropped(
    frames_thwc: UInt8[np.ndarray, "t h w 3"], size: int, crops: int = 1, *, short_side: int
) -> UInt8[np.ndarray, "crops t {size} {size} 3"]:
    """Crops of frames resized as a whole; as `av_mae.input.pictures.whole_views`."""
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
    if tall > wide:
        return [(i * tall // (crops - 1), wide // 2) for i in range(crops)]
    return [(tall // 2, i * wide // (crops - 1)) for i in range(crops)]


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
    """Frames `[v f]` at the model's rate, from each start on; the last one is held, or the first
    follows it (`cyclic`)."""
    assert clip.frames is not None
    step = clip.fps * (video.stride / video.fps)
    steps_f = np.floor(np.arange(video.frames) * step + _ROUNDING).astype(np.int64)
    frames_vf, count = starts_v[:, None] + steps_f, len(clip.frames)
    return frames_vf % count if cyclic else np.minimum(frames_vf, count - 1)


def _last_frame(clip: Clip, video: Video) -> int:
    """The last frame that a dense view may start with."""
    assert clip.frames is not None
    step = clip.fps * (video.stride / video.fps)
    return max(len(clip.frames) - int(np.ceil(video.frames * step - _ROUNDING)), 0)


def _centred(clip: Clip, audio: Audio, centres_v: np.ndarray) -> np.ndarray:
    """First samples of windows around each time, in seconds, moved into the clip."""
    starts_v = np.round(centres_v * audio.sample_rate).astype(np.int64) - audio.samples // 2
    return np.clip(starts_v, 0, _last_sample(clip, audio))


def _last_sample(clip: Clip, audio: Audio, cyclic: bool = False) -> int:
    """The last sample that a window may start with."""
    if cyclic and clip.audio is not None:
        return max(len(clip.audio) - audio.samples, 0)
    return max(round(clip.seconds * audio.sample_rate) - audio.samples, 0)


def _even(last: int, views: int) -> np.ndarray:
    return np.array([last // 2]) if views == 1 else np.arange(views) * last // (views - 1)
