"""Several clips that go through a model together."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from av_mae.inference import clip as clip_lib
from av_mae.inference import views
from av_mae.inference.clip import Clip

if TYPE_CHECKING:
    from av_mae import api


def best_labels(
    model: "api.Model",
    clips: Sequence[Clip | str | os.PathLike[str]],
    top: int,
    modalities: Sequence[str] = (),
    temporal: int = 0,
    spatial: int = 0,
) -> list[dict[str, float]]:
    """`{label: probability}` of each clip; those of the same modalities go through together.

    Args:
        temporal, spatial: views averaged; 0 = as the run's evaluation does.

    Raises:
        ValueError: no classifier, an unknown modality, or a clip without any of them.
    """
    temporal = temporal or model.evaluator.temporal_views
    spatial = spatial or model.evaluator.spatial_views
    groups: dict[tuple[str, ...], dict[int, views.Views]] = {}
    for place, source in enumerate(clips):
        clip = source if isinstance(source, Clip) else clip_lib.read(source)
        known, dataset = model.used(clip, modalities), model.experiment.dataset
        cut = views.evaluation(clip, known, dataset, temporal=temporal, spatial=spatial)
        groups.setdefault(tuple(known), {})[place] = cut
    found: dict[int, dict[str, float]] = {}
    for cuts in groups.values():
        logits_rk = model.logits(views.joined([*cuts.values()]))
        logits_bvk = logits_rk.reshape(len(cuts), temporal * spatial, -1)
        for place, chances_k in zip(cuts, model.probabilities(logits_bvk), strict=True):
            order = np.argsort(-chances_k, kind="stable")[:top]
            found[place] = {model.labels[k]: float(chances_k[k]) for k in order}
    return [found[place] for place in range(len(clips))]


def stacked(
    model: "api.Model", clips: Sequence[Clip | str | os.PathLike[str]], modalities: Sequence[str]
) -> views.Views:
    """What the model sees of the middle of each clip.

    Raises:
        ValueError: an unknown modality, or clips that have not the same ones.
    """
    found = [model.seen(clip, modalities) for clip in clips]
    used = [model.used(clip, modalities) for clip in found]
    for clip, known in zip(found, used, strict=True):
        if known.keys() != used[0].keys():
            raise ValueError(
                f"{clip.source} has {' and '.join(known)}, {found[0].source} has "
                f"{' and '.join(used[0])}; a batch needs the same of every clip"
            )
    return views.joined(
        [views.evaluation(clip, used[0], model.experiment.dataset) for clip in found]
    )
