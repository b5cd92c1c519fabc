"""Modality dropout: some clips keep one of their modalities, for a classifier's training only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_models

from av_mae import tasks
from av_mae.models import presence

CLIPS = 2000
NAMES = ("video", "audio")
KEYS = jax.random.split(jax.random.key(0), CLIPS)


def drop(probability: float, present=None, keys=KEYS) -> np.ndarray:
    """Bool `[clips, 2]`: what is left of each clip."""
    kept = presence.drop(present, NAMES, probability, keys)
    return np.stack([kept[name] for name in NAMES], axis=1)


def test_the_asked_share_of_clips_keeps_one_modality_and_each_is_as_likely():
    kept = drop(0.3)
    alone = kept.sum(1) == 1
    assert kept.any(1).all()
    assert alone.mean() == pytest.approx(0.3, abs=0.03)
    assert kept[alone, 0].mean() == pytest.approx(0.5, abs=0.06)


def test_one_means_always():
    assert (drop(1.0).sum(1) == 1).all()


def test_a_clip_never_loses_its_only_modality_and_gains_none():
    has_sound = np.arange(CLIPS) % 2 == 0
    has_picture = np.arange(CLIPS) % 3 == 0
    present = {"video": jnp.asarray(has_picture), "audio": jnp.asarray(has_sound)}
    kept = drop(1.0, present)
    before = np.stack([has_picture, has_sound], axis=1)
    assert not (kept & ~before).any()
    np.testing.assert_array_equal(kept.sum(1), before.any(1))


def test_a_clip_fares_alike_in_every_batch():
    np.testing.assert_array_equal(drop(0.5)[700:800], drop(0.5, keys=KEYS[700:800]))


@pytest.mark.parametrize(("names", "probability"), [(NAMES, 0.0), (("audio",), 0.5)])
def test_nothing_is_masked_where_nothing_can_be_dropped(names, probability):
    assert presence.drop(None, names, probability, KEYS) is None


@pytest.mark.parametrize(("probability", "matters"), [(0.0, True), (1.0, False)])
def test_a_dropped_modality_has_no_part_in_the_loss(probability, matters):
    augment = {"crop": "centre", "flip": 0.0, "drop_modality": probability}
    module, experiment = tiny_models.module("classify", 0, {"augment": augment})
    task = tasks.make(experiment, tiny.LABELS)
    keys = KEYS[:8]
    kept = drop(1.0, keys=keys)
    batch = noise(experiment.modalities, rows=8, seed=0)
    other = noise(experiment.modalities, rows=8, seed=1)
    changed = dict(batch)
    for number, name in enumerate(NAMES):
        rows = kept[:, number].reshape(-1, *(1,) * (batch[name].ndim - 1))
        changed[name] = np.where(rows, batch[name], other[name])
    losses = [
        float(task.loss(module, jax.tree.map(jnp.asarray, b), KEYS[0], keys)[0])
        for b in (batch, changed)
    ]
    assert (abs(losses[0] - losses[1]) > 1e-4) == matters


def noise(modalities, rows: int, seed: int) -> dict[str, np.ndarray]:
    """A batch as the input makes it, of clips that have everything."""
    draw = np.random.default_rng(seed)
    sound = draw.normal(0, 3000, (rows, modalities["audio"].samples))
    return {
        "video": draw.integers(0, 256, (rows, *modalities["video"].input_shape), np.uint8),
        "audio": sound.astype(np.int16),
        "label": np.eye(len(tiny.LABELS), dtype=np.float32)[np.arange(rows) % len(tiny.LABELS)],
        "valid": np.ones(rows, bool),
    }
