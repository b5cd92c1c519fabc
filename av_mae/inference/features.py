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
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float

from av_mae.config.modality import Modality, Video
from av_mae.inference import stream, views
from av_mae.version import __version__

if TYPE_CHECKING:
    from av_mae import api

# Views that are gathered before they go through the model.
_ROWS = 64
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
    start: float | None = None,
    end: float | None = None,
    frame_rate: float | None = None,
) -> Features:
    """Features of one file, read once while little more than a window of it is held.

    Args:
        window: seconds a window; None = what the model sees at once.
        hop: seconds between the starts of windows; None = the window. The last window ends with
            the file.
        layer: as of `av_mae.Model.features`.
        start, end: the part of the file, seconds.
        frame_rate: pictures a second, if the path is a folder of frames.

    Raises:
        ValueError: no media file, or none of the modalities in it.
    """
    known = model.known(modalities)
    length = window or max(m.seconds for m in known.values())
    # Frames as dense as the model samples them and as large as its data sets hold them.
    settings: dict[str, Any] = {"fps": 4.0, "short_side": 64}
    if isinstance(video := known.get("video"), Video):
        side = round(video.size * 256 / 224)
        settings = {"fps": 2 * video.fps / video.stride, "short_side": side}
    settings |= {"kind": stream.kind(path, known), "frame_rate": frame_rate}
    margin = max(m.seconds for m in known.values()) / 2
    found = stream.windows(
        path, length, hop or length, margin=margin, start=start, end=end, **settings
    )
    used: dict[str, Modality] = {}
    parts: list[tuple[Any, ...]] = []
    pending: list[tuple[views.Views, float]] = []

    def embed() -> None:
        cut, begins_w = views.joined([cut for cut, _ in pending]), np.array([b for _, b in pending])
        shape = (len(pending), cut.rows // len(pending))
        tokens = {n: x.reshape(*shape, *x.shape[1:]) for n, x in model.embed(cut, layer).items()}
        seconds = {n: x.reshape(*shape, 2) for n, x in cut.seconds.items()}
        vectors = pooled({n: x.mean(1) for n, x in tokens.items()})
        parts.append((tokens, seconds, vectors, np.stack([begins_w, begins_w + length], axis=1)))
        pending.clear()

    for part, begin in found:
        used = used or model.used(part, modalities)
        count = math.ceil(length / min(m.seconds for m in used.values()) - _ROUNDING)
        centres_v = begin - part.start + (np.arange(count) + 0.5) * (length / count)
        cut = views.at(part, used, centres_v)
        seconds = {name: ends_v2 + part.start for name, ends_v2 in cut.seconds.items()}
        pending.append((views.Views(cut.batch, seconds), begin))
        if len(pending) * count >= _ROWS:
            embed()
    if pending:
        embed()
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
