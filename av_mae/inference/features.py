"""Features of media files of any length, by windows that slide over them, and the npz of them.

Each window is covered by as many views as the model needs to see all of it. The npz holds, W
windows and R views in all files together:

    files [F], pooled [F d]             a vector a file, the mean of its windows
    window_file [W], window_seconds [W 2], window_pooled [W d]
    view_window [R]                     the window that a view belongs to
    video [R n d], video_seconds [R 2]  tokens, and the time they come from; the same for audio,
                                        NaN where a file lacks the modality
    video_grid (t, h, w), audio_grid (t, m)     tokens along each axis, last axis fastest
    model, step, layer, config (JSON), labels, version
"""

import dataclasses
import json
import math
import operator
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from absl import logging
from jaxtyping import Float

from av_mae.config.modality import Video
from av_mae.inference import clip, views
from av_mae.version import __version__

if TYPE_CHECKING:
    from av_mae import api

# Seconds of a file in memory at once.
_PIECE = 60.0
# Absorbs the rounding of times that should be whole numbers of windows.
_ROUNDING = 1e-3


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of w windows, v views each; times are seconds in the file.

    Attributes:
        tokens: `[w v n d]` by modality.
        seconds: `[w v 2]` by modality.
        pooled: mean over modalities of the mean over views and tokens.
        windows: start and end of every window.
    """

    tokens: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]
    pooled: Float[np.ndarray, "w d"]
    windows: Float[np.ndarray, "w 2"]


def extract(
    model: "api.Model",
    path: str | os.PathLike[str],
    *,
    window: float | None = None,
    hop: float | None = None,
    modalities: Sequence[str] = (),
    layer: int | None = None,
) -> Features:
    """Features of one file, read a minute at a time.

    Args:
        window: seconds a window; None = what the model sees at once.
        hop: seconds between the starts of windows; None = the window. The last window ends with
            the file.
        layer: as of `av_mae.Model.features`.

    Raises:
        ValueError: no media file, or none of the modalities in it.
    """
    parts: list[tuple[Any, ...]] = []
    for piece, starts_w, length in _pieces(model, path, window, hop, modalities):
        used = model.used(piece, modalities)
        count = math.ceil(length / min(m.seconds for m in used.values()) - _ROUNDING)
        offsets_v = (np.arange(count) + 0.5) * (length / count)
        cut = views.at(piece, used, (starts_w[:, None] + offsets_v).reshape(-1))
        shape = (len(starts_w), count)
        tokens = {n: x.reshape(*shape, *x.shape[1:]) for n, x in model.embed(cut, layer).items()}
        seconds = {n: x.reshape(*shape, 2) + piece.start for n, x in cut.seconds.items()}
        vectors = pooled({n: x.mean(1) for n, x in tokens.items()})
        windows_w2 = np.stack([starts_w, starts_w + length], axis=1) + piece.start
        parts.append((tokens, seconds, vectors, windows_w2))
    return Features(*jax.tree.map(lambda *x: np.concatenate(x), *parts))


def write(
    out: pathlib.Path, found: Mapping[str, Features], model: "api.Model", layer: int | None = None
) -> None:
    """Writes the features of several files as the npz described above, in one move."""
    every = list(found.values())
    windows = [len(f.windows) for f in every]
    views_each = [next(iter(f.seconds.values())).shape[1] for f in every]
    arrays: dict[str, Any] = {
        "files": np.array(list(found)),
        "pooled": np.stack([f.pooled.mean(0) for f in every]),
        "window_file": np.repeat(np.arange(len(every)), windows),
        "window_seconds": np.concatenate([f.windows for f in every]),
        "window_pooled": np.concatenate([f.pooled for f in every]),
        "view_window": np.repeat(np.arange(sum(windows)), np.repeat(views_each, windows)),
        "model": model.source,
        "step": model.step,
        "layer": "output" if layer is None else layer,
        "config": json.dumps(model.experiment.to_dict()),
        "labels": np.array(model.labels),
        "version": __version__,
    }
    rows = list(map(operator.mul, windows, views_each))
    for name, spec in model.experiment.modalities.items():
        seconds, tokens = [f.seconds.get(name) for f in every], [f.tokens.get(name) for f in every]
        if any(x is not None for x in seconds):
            arrays[f"{name}_seconds"] = _rows(seconds, rows)
            arrays[f"{name}_grid"] = np.array(spec.grid)
        if any(x is not None for x in tokens):
            arrays[name] = _rows(tokens, rows)
    unfinished = out.with_name(out.name + ".tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("wb") as stream:
        np.savez(stream, **arrays)
    unfinished.replace(out)


def pooled(tokens: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean over modalities of the mean over tokens: `{name: [... n d]}` -> `[... d]`."""
    return np.mean([x.mean(-2) for x in tokens.values()], axis=0)


def _rows(files: Sequence[np.ndarray | None], rows: Sequence[int]) -> np.ndarray:
    """`[w v ...]` of several files as `[rows ...]`, NaN for a file that has none."""
    shape = next(x.shape[2:] for x in files if x is not None)
    parts = []
    for x, count in zip(files, rows, strict=True):
        absent = np.full((count, *shape), np.nan, np.float32)
        parts.append(absent if x is None else x.reshape(count, *shape))
    return np.concatenate(parts)


def _pieces(
    model: "api.Model",
    path: str | os.PathLike[str],
    window: float | None,
    hop: float | None,
    modalities: Sequence[str],
) -> Iterator[tuple[clip.Clip, np.ndarray, float]]:
    """Parts of a file, the starts of the windows to take from each, and their length.

    Parts overlap by a window, so that windows near a seam see what they would see in one part.
    """
    model.check_modalities(modalities)
    known = {
        n: m for n, m in model.experiment.modalities.items() if n in modalities or not modalities
    }
    length = window or max(m.seconds for m in known.values())
    step = hop or length
    # Frames as dense as the model samples them and as large as its data sets hold them.
    settings: dict[str, Any] = {"fps": 4.0, "short_side": 64}
    video = known.get("video")
    if isinstance(video, Video):
        side = round(video.size * 256 / 224)
        settings = {"fps": 2 * video.fps / video.stride, "short_side": side}
    origin, sound, done, last = 0.0, False, 0, False
    while not last:
        lead = min(length, done * step)
        begin = origin + done * step - lead
        asked = max(_PIECE, 2 * length) + lead
        try:
            piece = clip.read(path, **settings, start=begin or None, end=begin + asked)
        except ValueError as error:
            if not done:
                raise
            logging.warning("%s: features end at %.1f s", error, begin + lead)
            return
        if not done:
            origin, sound = piece.start, piece.audio is not None
        # Where the sound of a file ends before its pictures, silence goes on.
        silence = np.zeros(0, np.float32)
        audio = (silence if piece.audio is None else piece.audio) if sound else None
        piece = dataclasses.replace(piece, audio=audio)
        last = piece.seconds < asked - 1.0
        reached = done * step - lead + piece.seconds
        # Windows that end inside; at the end of the file one more, which is moved inwards.
        total = (reached - length) / step + 1
        total = max(1, math.ceil(total - _ROUNDING)) if last else math.floor(total + _ROUNDING)
        starts_w = np.arange(done, total) * step - (done * step - lead)
        if last:
            starts_w = np.clip(starts_w, 0.0, max(piece.seconds - length, 0.0))
        if total > done:
            yield piece, starts_w, length
        done = total
