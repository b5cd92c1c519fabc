"""What a loader without records does for every clip: open the media file, seek, decode, resample.

The same output as that of the records' input, in as few steps as PyAV and decord allow: only the
packets from the key frame before the window to its end are decoded, pictures are scaled and
converted in one step, and all of it runs in one thread.
"""

import dataclasses
import importlib.util
import itertools
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np

from av_mae.config import modality, schema

SAMPLE_RATE = 16_000

Clip = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Input:
    """What is made of a file: a window of its first `seconds`, cropped at random."""

    video: modality.Video
    audio: modality.Audio | None
    augment: schema.Augment
    seconds: float


def readers() -> dict[str, Callable[[pathlib.Path, Input, np.random.Generator], Clip]]:
    """The ways to read a clip that are installed here, by name."""
    found = {"pyav": pyav_clip}
    if importlib.util.find_spec("decord"):
        found["decord"] = decord_clip
    return found


def pyav_clip(path: pathlib.Path, wanted: Input, rng: np.random.Generator) -> Clip:
    """One clip by PyAV: `video` uint8 `[f h w 3]`, `audio` int16 `[s]`."""
    clip = {}
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "NONE"
        length = min(float(file.duration or 0) / av.time_base, wanted.seconds)
        times = _times(length, wanted.video, rng)
        x, y, width, height = _crop(stream.width, stream.height, wanted, rng)
        pictures = [
            frame.reformat(width, height, "rgb24").to_ndarray()
            for frame in _shown(file, stream, times)
        ]
        size = wanted.video.size
        clip["video"] = np.stack([picture[y : y + size, x : x + size] for picture in pictures])
        if wanted.audio is not None and file.streams.audio:
            clip["audio"] = _fitted(_sound(file, wanted.audio.seconds), wanted.audio.samples)
    return clip


def decord_clip(path: pathlib.Path, wanted: Input, rng: np.random.Generator) -> Clip:
    """One clip by decord, as `pyav_clip`."""
    import decord  # pyright: ignore[reportMissingImports]

    clip = {}
    # The size of the pictures is needed first; the header is read twice, the frames once.
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        x, y, width, height = _crop(stream.width, stream.height, wanted, rng)
        has_sound = bool(file.streams.audio)
    reader = decord.VideoReader(str(path), width=width, height=height, num_threads=1)
    fps = reader.get_avg_fps()
    times = _times(min(len(reader) / fps, wanted.seconds), wanted.video, rng)
    chosen = np.minimum((times * fps + 1e-3).astype(int), len(reader) - 1)
    size = wanted.video.size
    frames = reader.get_batch(list(chosen)).asnumpy()
    clip["video"] = np.ascontiguousarray(frames[:, y : y + size, x : x + size])
    if wanted.audio is not None and has_sound:
        sound = decord.AudioReader(str(path), sample_rate=SAMPLE_RATE, mono=True)
        wave = sound[: min(wanted.audio.samples, sound.shape[1])].asnumpy()[0]
        integers = np.clip(wave * 32768.0, -32768, 32767).astype(np.int16)
        clip["audio"] = _fitted(integers, wanted.audio.samples)
    return clip


def _times(length: float, video: modality.Video, rng: np.random.Generator) -> np.ndarray:
    """Seconds at which pictures are taken, from a random start."""
    start = rng.uniform(0, max(length - video.seconds, 0))
    return start + np.arange(video.frames) * video.stride / video.fps


def _crop(
    width: int, height: int, wanted: Input, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(x, y, width, height): the crop's corner in a picture scaled so that the crop fits."""
    area = width * height * rng.uniform(*wanted.augment.crop_area)
    aspect = math.exp(rng.uniform(*np.log(wanted.augment.crop_aspect)))
    crop_width = min(max(round(math.sqrt(area * aspect)), 1), width)
    crop_height = min(max(round(math.sqrt(area / aspect)), 1), height)
    size = wanted.video.size
    wide = max(round(width * size / crop_width), size)
    high = max(round(height * size / crop_height), size)
    x, y = (int(rng.integers(0, extent - size + 1)) for extent in (wide, high))
    return x, y, wide, high


def _shown(file: Any, stream: Any, times: np.ndarray) -> Iterator[Any]:
    """The frame that is on show at each of the times; the last one stays."""
    begin = float((stream.start_time or 0) * stream.time_base)
    file.seek(round((times[0] + begin) / float(stream.time_base)), stream=stream)
    frames = itertools.chain(file.decode(stream), [None])
    held = next(frames)
    following = next(frames)
    for time in times:
        while following is not None and following.time - begin <= time + 1e-3:
            held, following = following, next(frames)
        yield held


def _sound(file: Any, seconds: float) -> np.ndarray:
    file.seek(0)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    pieces, samples = [], 0
    for frame in file.decode(file.streams.audio[0]):
        for made in resampler.resample(frame):
            pieces.append(made.to_ndarray().reshape(-1))
            samples += len(pieces[-1])
        if samples >= seconds * SAMPLE_RATE:
            break
    return np.concatenate(pieces)


def _fitted(wave: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(wave[:samples], (0, max(samples - len(wave), 0)))
