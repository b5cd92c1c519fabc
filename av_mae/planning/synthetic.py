"""Clips of noise and a data set that holds them, for plans and measurements without records."""

import numpy as np

from av_mae.config import schema
from av_mae.config.modality import Audio, Video
from av_mae.input import description, records


def info(experiment: schema.Experiment, clips: int, labels: int) -> records.Info:
    """A data set of this size, all clips with pictures and sound, in every split that is named."""
    names = {experiment.dataset.train, *(e.split for e in experiment.evaluators.values())}
    shard = records.Shard("", clips, clips, clips, with_boxes=0, bytes=0, sha256="")
    return records.Info(
        name="synthetic",
        version="0",
        fps=25.0,
        short_side=256,
        labels=tuple(str(k) for k in range(labels)),
        splits={name: records.Split(name, (shard,)) for name in names},
        preprocessing={},
        counts={},
        audio_mean=0.0,
        audio_std=1.0,
    )


def batch(experiment: schema.Experiment, info: records.Info, rows: int) -> dict[str, np.ndarray]:
    """Noise in the shapes and types of a training batch of `rows`.

    No row lacks anything; where some clip of the split does, the batch says who has what. A canvas
    is shown whole by every copy of its clip.
    """
    rng, labels, dataset = np.random.default_rng(0), len(info.labels), experiment.dataset
    classes = rng.integers(0, max(labels, 1), rows)
    made: dict[str, np.ndarray] = {
        "label": np.eye(max(labels, 1), labels, dtype=np.float32)[classes],
        "index": np.arange(rows, dtype=np.int32),
        "valid": np.ones(rows, bool),
    }
    for name in description.lacking(dataset, info.split(dataset.train), experiment.modalities):
        made[f"{name}_present"] = np.ones(rows, bool)
    for name, spec in experiment.modalities.items():
        if isinstance(spec, Video) and any(dataset.canvas):
            clips, (height, width) = rows // dataset.repeat, dataset.canvas
            shape, whole = (clips, spec.frames, height, width, 3), [0, 0, height, width]
            made["canvas"] = rng.integers(0, 256, shape, np.uint8)
            made["crops"] = np.tile(np.array(whole, np.float32), (clips, dataset.repeat, 1))
        elif isinstance(spec, Video):
            made[name] = rng.integers(0, 256, (rows, *spec.input_shape), np.uint8)
        elif isinstance(spec, Audio):
            made[name] = rng.integers(-(2**14), 2**14, (rows, spec.samples)).astype(np.int16)
    return made
