"""Tiny models with random weights, the clips they run on, and media files made on the spot."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tiny
from flax import nnx

from av_mae import api, tasks
from av_mae.config import parse, schema
from av_mae.experiment import checkpoint
from av_mae.experiment.step import TrainState, split
from av_mae.inference.clip import Clip
from av_mae.models import masking


def model(task: str = "classify", seed: int = 0, **changes: Any) -> api.Model:
    """The tiny experiment's model, as if it was loaded."""
    net, experiment = module(task, seed, changes)
    return api.Model(net, experiment, tiny.LABELS)


def write_run(
    workdir: pathlib.Path, task: str = "classify", seed: int = 0, **changes: Any
) -> pathlib.Path:
    """Writes the same model as a run's checkpoint of step 7."""
    net, experiment = module(task, seed, changes)
    _, params, rest = split(net)
    saved = checkpoint.Checkpoints(workdir / "checkpoints", experiment, tiny.LABELS, keep=1)
    saved.save(7, TrainState(jnp.int32(7), params, rest, (), {}))
    saved.close()
    return workdir


def module(task: str, seed: int, changes: dict[str, Any]) -> tuple[nnx.Module, schema.Experiment]:
    """The task's own module; no weight is zero, so that every input has an effect."""
    values = tiny.experiment("", task)
    audio = values["modalities"]["audio"] | {"mean": -6.0, "std": 3.0}
    values["modalities"] |= {"audio": audio}
    experiment = parse.experiment(values | changes)
    net = tasks.make(experiment, tiny.LABELS).init(nnx.Rngs(seed))
    draw = np.random.default_rng(seed)
    params = nnx.state(net, nnx.Param)
    nnx.update(
        net,
        jax.tree.map(lambda x: x + draw.normal(0, 0.2, x.shape).astype(np.float32), params),
    )
    return net, experiment


def ordered_mask(visible_bv: jax.Array, hidden_bh: jax.Array) -> masking.Mask:
    """A mask whose tokens come in a given order, as Scenic draws them."""
    order_bn = jnp.concatenate([visible_bv, hidden_bh], axis=1).astype(jnp.int32)
    place_bn = jnp.argsort(order_bn, axis=1).astype(jnp.int32)
    visible = visible_bv.shape[1]
    return masking.Mask(order_bn[:, :visible], order_bn[:, visible:], place_bn)


def clip(seconds: float = 2.0, seed: int = 0, fps: float = 12.5) -> Clip:
    """Moving noise with a tone in it."""
    draw = np.random.default_rng(seed)
    count = round(seconds * fps)
    still = draw.integers(0, 256, (40, 48, 3), np.uint8)
    frames = np.stack([np.roll(still, i, axis=1) for i in range(count)])
    time = np.arange(round(seconds * 16_000)) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * (300 + 200 * seed) * time) + 0.02 * draw.normal(size=time.size)
    return Clip(frames, fps, wave.astype(np.float32), f"clip{seed}")


def media_file(path: pathlib.Path, *, sound: bool = True, **kwargs: Any) -> pathlib.Path:
    """Writes `clip(**kwargs)` as an mp4."""
    from av_mae.report import media

    made = clip(**kwargs)
    assert made.frames is not None
    media.write_mp4(path, made.frames, made.fps, made.audio if sound else None)
    return path
