"""What a classifier says of a file of any length: window by window, and of all of it."""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from av_mae.config.modality import Modality, Video
from av_mae.inference import clip as clip_lib
from av_mae.inference import stream, views

if TYPE_CHECKING:
    from av_mae import api

# Files up to this many seconds are judged as evaluation judges a clip. Of longer ones every so
# many seconds get a window, up to so many windows.
_WHOLE, _EACH, _MOST = 20.0, 10.0, 10
# Windows with a longer gap between them, in seconds, are sought.
_FAR = 5.0
# Rows that are gathered before they go through the model.
_ROWS = 8
_ROUNDING = 1e-3


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Probabilities of k labels in w windows of a file.

    Attributes:
        labels: in index order.
        windows: start and end of every window, seconds in the file.
        probabilities: of the labels in every window.
        overall: of the labels in all windows together, merged as views are in evaluation.
        seconds: length of the file.
    """

    labels: tuple[str, ...]
    windows: Float[np.ndarray, "w 2"]
    probabilities: Float[np.ndarray, "w k"]
    overall: Float[np.ndarray, " k"]
    seconds: float

    def top(self, count: int = 5, window: int | None = None) -> dict[str, float]:
        """The most probable labels and their probabilities, best first: overall, or of a window."""
        chances_k = self.overall if window is None else self.probabilities[window]
        best = np.argsort(-chances_k, kind="stable")[:count]
        return {self.labels[k]: float(chances_k[k]) for k in best}

    @property
    def share(self) -> float:
        """How much of the file lies in windows; of a picture all."""
        edges = [0.0, 0.0]  # what is seen, and up to where
        for start, end in sorted(self.windows.tolist()):
            edges = [edges[0] + max(0.0, end - max(start, edges[1])), max(end, edges[1])]
        return edges[0] / self.seconds if self.seconds else 1.0

    def said(self) -> str:
        """One line on what was seen."""
        if not self.seconds:
            return "judged one picture"
        starts_w, ends_w = self.windows.T
        count, length = len(starts_w), float((ends_w - starts_w).mean())
        spread = ", evenly spread" if (starts_w[1:] > ends_w[:-1] + _ROUNDING).any() else ""
        begin, end, total = map(stream.moment, (starts_w.min(), ends_w.max(), self.seconds))
        windows = "window" if count == 1 else "windows"
        return (
            f"judged {count} {windows} of {length:.1f} s{spread}, from {begin} to {end} of {total}"
        )

    def rows(self, count: int = 5) -> Iterator[tuple[float, float, int, str, float]]:
        """(start, end, rank from 1 on, label, probability) of the best labels of every window."""
        for number, (start, end) in enumerate(self.windows.tolist()):
            for rank, (label, chance) in enumerate(self.top(count, number).items(), 1):
                yield round(start, 3), round(end, 3), rank, label, round(chance, 6)


def judge(
    model: "api.Model",
    path: str | os.PathLike[str],
    *,
    window: float | None = None,
    hop: float | None = None,
    modalities: Sequence[str] = (),
    start: float | None = None,
    end: float | None = None,
    frame_rate: float | None = None,
) -> Timeline:
    """Reads a file once, or the parts that it needs, and holds little more than a window of it.

    With `window` or `hop`, windows slide over the whole part. With neither, a part of up to 20 s is
    judged as evaluation judges a clip, and a longer one by windows that are evenly spread: one for
    each 10 s up to ten, and at least as many as evaluation takes.

    Raises:
        ValueError: no classifier, an unknown modality, or no media file.
    """
    known = model.known(modalities)
    total = stream.seconds(path, frame_rate)
    begin, stop = start or 0.0, total if end is None else min(end, total)
    settings: dict[str, Any] = {"fps": 4.0, "short_side": 64}
    if isinstance(video := known.get("video"), Video):
        settings = {"fps": video.fps, "short_side": 256}  # of that size data sets are prepared
    settings |= {"kind": stream.kind(path, known), "frame_rate": frame_rate}
    length = max(m.seconds for m in known.values())
    slides, step = window is not None or hop is not None, hop or window or length
    length = window or length
    if slides and (step <= length + _FAR or stop - begin <= length):
        # What views near the ends of a window see beside it.
        margin = 0.0 if _is_uniform(model) else max(m.seconds for m in known.values()) / 2
        settings |= {"start": start, "end": end, "margin": margin}
        parts = stream.windows(path, length, step, **settings)
        cuts = _slid(model, parts, length, modalities)
    elif slides or stop - begin > max(_WHOLE, length):
        last = stop - length
        count = max(model.evaluator.temporal_views, min(_MOST, int((stop - begin) / _EACH)))
        begins_w = np.linspace(begin, last, count)
        if slides:
            begins_w = np.append(np.arange(begin, last - _ROUNDING, step), last)
        parts = stream.spread(path, begins_w.tolist(), length, **settings)
        cuts = _slid(model, parts, length, modalities)
    else:
        settings["fps"] = None  # as any clip is read
        cuts = _whole(model, clip_lib.read(path, **settings, start=start, end=end), modalities)

    windows, logits, pending = [], [], []
    for cut, spans in cuts:
        windows.append(spans)
        pending.append(cut)
        if sum(p.rows for p in pending) >= _ROWS:
            logits.append(model.logits(views.joined(pending)))
            pending.clear()
    logits += [model.logits(views.joined(pending))] if pending else []
    windows_w2, logits_rk = np.concatenate(windows), np.concatenate(logits)
    logits_wvk = logits_rk.reshape(len(windows_w2), -1, logits_rk.shape[-1])
    (overall_k,) = model.probabilities(logits_rk[None])
    chances_wk = model.probabilities(logits_wvk)
    seconds = max(total, windows_w2.max()) if total else 0.0
    return Timeline(model.labels, windows_w2, chances_wk, overall_k, seconds)


def _whole(
    model: "api.Model", clip: clip_lib.Clip, modalities: Sequence[str]
) -> Iterator[tuple[views.Views, np.ndarray]]:
    """All views of a clip as evaluation takes them, and `[w 2]` where in the file they are."""
    temporal, spatial = model.evaluator.temporal_views, model.evaluator.spatial_views
    used, dataset = model.used(clip, modalities), model.experiment.dataset
    cut = views.evaluation(clip, used, dataset, temporal=temporal, spatial=spatial)
    ends_mw2 = np.stack([*cut.seconds.values()])[:, ::spatial] + clip.start
    yield cut, np.stack([ends_mw2[..., 0].min(0), ends_mw2[..., 1].max(0)], axis=1)


def _slid(
    model: "api.Model",
    parts: Iterator[tuple[clip_lib.Clip, float]],
    length: float,
    modalities: Sequence[str],
) -> Iterator[tuple[views.Views, np.ndarray]]:
    """The views that see all of a window of `length` seconds, and `[1 2]` where it is, of each."""
    dataset, spatial = model.experiment.dataset, model.evaluator.spatial_views
    used: dict[str, Modality] = {}
    for clip, begin in parts:
        used = used or model.used(clip, modalities)
        spans = np.array([[begin, min(begin + length, clip.start + clip.seconds)]])
        if _is_uniform(model):
            yield views.evaluation(clip, used, dataset, spatial=spatial), spans
            continue
        count = max(1, math.ceil(length / min(m.seconds for m in used.values()) - _ROUNDING))
        centres_v = begin - clip.start + (np.arange(count) + 0.5) * (length / count)
        yield views.at(clip, used, centres_v, dataset, spatial), spans


def _is_uniform(model: "api.Model") -> bool:
    """Whether one view sees all of a clip, whatever its length."""
    return model.experiment.dataset.sampling.startswith("uniform")
