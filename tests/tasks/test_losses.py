"""Losses: targets, global means over what counts, smoothing."""

import dataclasses
from typing import get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.tasks import losses

VIDEO = modality_lib.Video(
    frames=2, size=4, patch=(2, 2, 2), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), weight=2.0
)
AUDIO = modality_lib.Audio(seconds=0.04, mels=4, patch=(2, 2), mean=-4.0, std=2.0, weight=0.5)
MODALITIES = {"video": VIDEO, "audio": AUDIO}
EVERYONE = jnp.ones(3, bool)


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def inputs():
    return {name: random(3, *m.input_shape) for name, m in MODALITIES.items()}


def test_patch_targets_have_mean_zero_and_unit_variance():
    x = 5.0 + 3.0 * random(2, 4, VIDEO.patch_dim)
    y = losses.targets(x, VIDEO, "patch")
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(-1), 1, atol=1e-5)
    constant = losses.targets(jnp.full((1, 1, VIDEO.patch_dim), 7.0), VIDEO, "patch")
    assert not constant.any()


def test_channel_targets_are_standardised_by_channel_before_normalisation():
    x = random(2, 4, VIDEO.patch_dim)
    y = losses.targets(x, VIDEO, "patch_channel").reshape(2, 4, -1, 3)
    raw = np.asarray(x).reshape(2, 4, -1, 3) * VIDEO.std + VIDEO.mean
    expected = (raw - raw.mean(2, keepdims=True)) / (raw.std(2, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(y, expected, atol=2e-5)


def test_raw_targets_undo_the_normalisation():
    x = random(2, 4, VIDEO.patch_dim)
    raw = np.asarray(x).reshape(2, 4, -1, 3) * VIDEO.std + VIDEO.mean
    np.testing.assert_allclose(losses.targets(x, VIDEO, "raw"), raw.reshape(2, 4, -1), atol=1e-6)
    with pytest.raises(ValueError, match="modalities.audio.*need its mean and std"):
        losses.targets(random(2, 4, 4), dataclasses.replace(AUDIO, mean=None), "raw")


@pytest.mark.parametrize("normalise", ["none", "patch", "patch_channel", "raw"])
@pytest.mark.parametrize("name", ["video", "audio"])
def test_denormalise_undoes_targets(normalise, name):
    patches = MODALITIES[name].patchify(inputs()[name])
    y = losses.targets(patches, MODALITIES[name], normalise)
    back = losses.denormalise(y, patches, MODALITIES[name], normalise)
    np.testing.assert_allclose(back, patches, atol=1e-5)


@pytest.mark.parametrize("normalise", get_args(get_type_hints(schema.Model)["normalise_targets"]))
def test_a_modality_that_hides_nothing_has_no_targets(normalise):
    """Sound that only helps has a mask ratio of 0."""
    x = jnp.zeros((2, 0, VIDEO.patch_dim))
    assert losses.targets(x, VIDEO, normalise).shape == x.shape


def test_reconstruction_is_a_weighted_mean_over_what_counts():
    x = inputs()
    hidden = {"video": jnp.array([[0, 2], [1, 3], [0, 1]]), "audio": jnp.array([[3], [0], [2]])}
    predictions = {
        "video": random(3, 2, VIDEO.patch_dim, seed=1),
        "audio": random(3, 1, AUDIO.patch_dim, seed=2),
    }
    valid_b, here_b = jnp.array([True, True, False]), jnp.array([True, False, True])
    loss, errors = losses.reconstruction(
        predictions,
        x,
        hidden,
        MODALITIES,
        normalise="none",
        valid_b=valid_b,
        present={"audio": here_b},
    )
    expected = {}
    for name, rows in (("video", [0, 1]), ("audio", [0])):
        patches = np.asarray(MODALITIES[name].patchify(x[name]))
        wanted = np.take_along_axis(patches, np.asarray(hidden[name])[..., None], 1)
        expected[name] = np.square(predictions[name] - wanted)[rows].mean()
        np.testing.assert_allclose(errors[name].mean, expected[name], rtol=1e-5)
    assert errors["video"].weight == 4 and errors["audio"].weight == 1
    np.testing.assert_allclose(loss, 2.0 * expected["video"] + 0.5 * expected["audio"], rtol=1e-5)


def test_rows_that_do_not_count_may_hold_anything():
    x = inputs()
    spoiled = {name: v.at[2].set(jnp.nan) for name, v in x.items()}
    predictions = {name: m.patchify(spoiled[name]) + 1.0 for name, m in MODALITIES.items()}
    loss, _ = losses.reconstruction(
        predictions,
        spoiled,
        None,
        MODALITIES,
        normalise="none",
        valid_b=jnp.array([True, True, False]),
    )
    np.testing.assert_allclose(loss, 2.5, rtol=1e-5)
    nothing, _ = losses.reconstruction(
        predictions, spoiled, None, MODALITIES, normalise="none", valid_b=jnp.zeros(3, bool)
    )
    assert nothing == 0.0


def test_sums_of_parts_give_the_mean_of_the_whole():
    logits, labels = {"video": random(4, 5)}, {"video": jnp.eye(5)[jnp.array([0, 1, 2, 4])]}
    everyone = jnp.ones(4, bool)
    _, whole = losses.classification(logits, labels, multilabel=False, valid_b=everyone)
    parts = []
    for rows in (slice(0, 1), slice(1, 4)):
        cut = [{"video": x["video"][rows]} for x in (logits, labels)]
        parts.append(losses.classification(*cut, multilabel=False, valid_b=everyone[rows])[1])
    total, weight = (sum(getattr(p["video"], k) for p in parts) for k in ("total", "weight"))
    np.testing.assert_allclose(losses.Sum(total, weight).mean, whole["video"].mean, rtol=1e-6)


@pytest.mark.parametrize("multilabel", [True, False])
def test_cross_entropies_agree_with_their_definitions(multilabel):
    logits, labels = random(3, 4), jnp.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]])
    smooth = np.asarray(labels) * 0.8 + 0.2 / 4
    if multilabel:
        p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
        expected = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).sum(1)
        ours = losses.sigmoid_cross_entropy(logits, labels, 0.2)
    else:
        e = np.exp(np.asarray(logits, np.float64))
        expected = -(smooth * np.log(e / e.sum(1, keepdims=True))).sum(1)
        ours = losses.softmax_cross_entropy(logits, labels, 0.2)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_extreme_logits_stay_finite():
    logits = jnp.array([[1e4, -1e4]])
    labels = jnp.array([[0.0, 1.0]])
    assert losses.softmax_cross_entropy(logits, labels) == 2e4
    assert losses.sigmoid_cross_entropy(logits, labels) == 2e4


def test_each_modality_has_its_own_labels_and_rows():
    logits = {"video": random(3, 4), "audio": random(3, 4, seed=1)}
    labels = {"video": jnp.eye(4)[jnp.arange(3)], "audio": jnp.eye(4)[jnp.arange(3) + 1]}
    present = {"audio": jnp.array([True, False, True])}
    loss, _ = losses.classification(
        logits, labels, multilabel=False, valid_b=EVERYONE, present=present
    )
    rows = {k: losses.softmax_cross_entropy(logits[k], labels[k]) for k in logits}
    expected = (rows["video"].mean() + rows["audio"][::2].mean()) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_weighted_classes_give_pytorchs_mean():
    """Of CrossEntropyLoss(weight, label_smoothing=s): summed weights of the labels divide."""
    logits, weights, s = random(3, 4), np.array([0.5, 1.0, 2.0, 4.0]), 0.2
    labels = np.eye(4)[[0, 2, 3]]
    log = np.asarray(logits, np.float64)
    log = log - np.log(np.exp(log).sum(1, keepdims=True))
    smooth = labels * (1 - s) + s / 4
    expected = -(weights * smooth * log).sum() / (labels @ weights).sum()
    loss, sums = losses.classification(
        {"video": logits}, {"video": jnp.asarray(labels)}, multilabel=False, smoothing=s,
        class_weights=tuple(weights), valid_b=EVERYONE,
    )  # fmt: skip
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert sums["video"].weight == 6.5


def test_weighted_rows_that_are_mixed_weigh_the_mean_of_their_classes():
    logits, weights = random(3, 4), np.array([0.5, 1.0, 2.0, 4.0])
    labels = np.array([[0.7, 0, 0.3, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5]])
    valid = jnp.array([True, True, False])
    log = np.asarray(jax.nn.log_softmax(logits), np.float64)
    expected = -(weights * labels * log)[:2].sum() / (labels[:2] @ weights).sum()
    loss, _ = losses.classification(
        {"video": logits.at[2].set(jnp.nan)}, {"video": jnp.asarray(labels)}, multilabel=False,
        class_weights=tuple(weights), valid_b=valid,
    )  # fmt: skip
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_weights_of_several_labels_are_of_their_positive_terms():
    logits, weights = random(3, 4), np.array([0.5, 1.0, 2.0, 4.0])
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1.0]])
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    expected = -(weights * labels * np.log(p) + (1 - labels) * np.log(1 - p)).sum(1).mean()
    loss, _ = losses.classification(
        {"video": logits}, {"video": jnp.asarray(labels)}, multilabel=True,
        class_weights=tuple(weights), valid_b=EVERYONE,
    )  # fmt: skip
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("multilabel", [True, False])
def test_equal_weights_change_nothing(multilabel):
    logits, labels = {"video": random(3, 4)}, {"video": jnp.eye(4)[jnp.array([0, 2, 3])]}
    plain, equal = (
        losses.classification(
            logits, labels, multilabel=multilabel, smoothing=0.1, class_weights=weights,
            valid_b=EVERYONE,
        )[0]
        for weights in ((), (1.0,) * 4)
    )  # fmt: skip
    np.testing.assert_allclose(plain, equal, rtol=1e-6)
