"""Masks: exact counts, structure, randomness by example, and token moves without scatters."""

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models
import toy_models

from av_mae.config import modality as modality_lib
from av_mae.models import masking

KINDS = [("video", kind) for kind in get_args(modality_lib.VideoMasking)]
KINDS += [("audio", kind) for kind in get_args(modality_lib.AudioMasking)]


def spec(name, kind, ratio=0.6):
    made = {
        "video": modality_lib.Video(frames=6, size=32, patch=(2, 8, 8)),
        "audio": modality_lib.Audio(seconds=0.4, mels=32, patch=(8, 4)),
    }[name]
    return dataclasses.replace(made, masking=kind, mask_ratio=ratio)


@pytest.mark.parametrize("name, kind", KINDS)
@pytest.mark.parametrize("ratio", [0.0, 0.6, 0.9])
def test_counts_are_exact_and_indices_are_complete(name, kind, ratio):
    made = spec(name, kind, ratio)
    mask = masking.draw(toy_models.keys(4), made)
    assert mask.hidden.shape == (4, made.hidden) and mask.visible.shape == (4, made.visible)
    hidden_bn = np.asarray(mask.as_bool())
    assert hidden_bn.shape == (4, made.tokens)
    for row in range(4):
        assert np.array_equal(np.flatnonzero(hidden_bn[row]), mask.hidden[row])
        assert np.array_equal(np.flatnonzero(~hidden_bn[row]), mask.visible[row])


def test_tubes_hide_the_same_places_in_every_slot():
    made = spec("video", "tube")
    mask = masking.draw(toy_models.keys(4), made).as_bool().reshape(4, 3, -1)
    assert np.array_equal(mask[:, :1].repeat(3, axis=1), mask)
    assert len({row.tobytes() for row in np.asarray(mask[:, 0])}) > 1


@pytest.mark.parametrize("kind", ["time", "freq", "time_freq"])
def test_structured_audio_masks_are_whole_columns_and_rows(kind):
    made = spec("audio", kind)
    mask = np.asarray(masking.draw(toy_models.keys(4), made).as_bool()).reshape(4, *made.grid)
    times, freqs = modality_lib.hidden_columns(made.grid, 0.6, kind)
    columns, rows = mask.all(2), mask.all(1)
    assert (columns.sum(1) == times).all() and (rows.sum(1) == freqs).all()
    assert np.array_equal(mask, columns[:, :, None] | rows[:, None, :])


@pytest.mark.parametrize("name, kind", KINDS)
def test_an_example_draws_from_its_own_key_only(name, kind):
    made = spec(name, kind)
    keys_b = toy_models.keys(4)
    together = masking.draw(keys_b, made).as_bool()
    alone = [masking.draw(keys_b[i : i + 1], made).as_bool() for i in range(4)]
    assert np.array_equal(together, jnp.concatenate(alone))
    assert len({row.tobytes() for row in np.asarray(together)}) > 1


def test_every_token_is_hidden_equally_often():
    made = spec("video", "random")
    mask = masking.draw(toy_models.keys(2000), made).as_bool()
    expected = made.hidden / made.tokens
    assert np.abs(mask.mean(0) - expected).max() < 5 * np.sqrt(expected * (1 - expected) / 2000)


def test_a_mask_of_another_count_is_refused():
    mask_bn = jnp.array([[True, False, False], [True, True, False]])
    with pytest.raises(ValueError, match="hides \\[1, 2\\] tokens a row, expected 1"):
        masking.from_bool(mask_bn, 1)


@pytest.mark.parametrize("ordered", [True, False])
def test_merge_and_take_hidden_agree_with_scatters_in_value_and_gradient(ordered):
    rng = np.random.default_rng(0)
    if ordered:
        mask = masking.draw(toy_models.keys(3), spec("video", "random"))
    else:
        order = jnp.asarray(np.stack([rng.permutation(8) for _ in range(3)]))
        mask = tiny_models.ordered_mask(order[:, :3], order[:, 3:])
    (b, v), h = mask.visible.shape, mask.hidden.shape[1]
    visible = jnp.asarray(rng.normal(size=(b, v, 4)), jnp.float32)
    fill = jnp.asarray(rng.normal(size=4), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(b, h, 4)), jnp.float32)
    rows = jnp.arange(b)[:, None]

    def gathered(visible, fill):
        full = masking.merge(visible, fill, mask)
        return (masking.take_hidden(full**2, mask) * weight).sum() + jnp.sin(full).sum()

    def scattered(visible, fill):
        full = jnp.broadcast_to(fill, (b, v + h, 4)).at[rows, mask.visible].set(visible)
        return ((full**2)[rows, mask.hidden] * weight).sum() + jnp.sin(full).sum()

    ours = jax.jit(jax.value_and_grad(gathered, (0, 1)))(visible, fill)
    theirs = jax.jit(jax.value_and_grad(scattered, (0, 1)))(visible, fill)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), ours, theirs)


def test_nothing_hidden_is_the_identity():
    mask = masking.draw(toy_models.keys(2), spec("video", "random", 0.0))
    x = jnp.asarray(
        np.random.default_rng(0).normal(size=(2, mask.visible.shape[1], 3)), jnp.float32
    )
    assert np.array_equal(masking.merge(x, jnp.ones(3), mask), x)
    assert masking.take_hidden(x, mask).shape == (2, 0, 3)
    grad = jax.grad(lambda x: masking.take_hidden(x, mask).sum())(x)
    assert not grad.any()
