"""Pixels: normalisation, flips and colour against tf.image."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from av_mae.config import modality
from av_mae.preprocess import inputs, video


def _frames(seed=0, batch=2):
    return np.random.default_rng(seed).uniform(0.15, 0.85, (batch, 2, 6, 8, 3)).astype(np.float32)


def _keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def _augment(x, keys, **chances):
    return jax.jit(functools.partial(video.augment, **chances))(x, keys)


def _on_planes(function, x_fhwc, amount):
    planes = function(jnp.moveaxis(jnp.asarray(x_fhwc), -1, 0), jnp.float32(amount))
    return jnp.moveaxis(planes, 0, -1)


def test_default_normalisation_maps_bytes_to_minus_one_and_one():
    frames = jnp.asarray(np.array([0, 255], np.uint8).repeat(3).reshape(1, 2, 1, 1, 3))
    spec = modality.Video(frames=2, size=1, patch=(1, 1, 1))
    found = inputs.prepare({"video": frames}, {"video": spec})["video"]
    np.testing.assert_allclose(found[0, :, 0, 0, 0], [-1.0, 1.0])


def test_denormalise_is_the_inverse_and_takes_channels_apart():
    x = jnp.asarray(_frames())
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    there = video.normalise(x, mean, std)
    np.testing.assert_allclose(there[..., 2], (x[..., 2] - 0.406) / 0.225, rtol=1e-5)
    np.testing.assert_allclose(video.denormalise(there, mean, std), x, atol=1e-6)


def test_what_stands_still_becomes_one_colour_and_what_moves_stays():
    still = np.random.default_rng(0).uniform(size=(1, 1, 4, 6, 3)).astype(np.float32)
    motion = np.zeros((1, 4, 4, 6, 3), np.float32)
    motion[0, :, 1, 2] = np.array([-0.2, 0.1, 0.3, -0.2], np.float32)[:, None]
    color = (0.6, 0.5, 0.4)
    moved = video.remove_still(jnp.asarray(still + motion), color)
    np.testing.assert_allclose(moved, motion + np.asarray(color), atol=1e-6)


def test_flip_mirrors_whole_clips():
    x = jnp.asarray(_frames(batch=64))
    found = np.asarray(_augment(x, _keys(64), flip=0.5))
    mirrored = (found == np.asarray(x)[:, :, :, ::-1]).all((1, 2, 3, 4))
    same = (found == np.asarray(x)).all((1, 2, 3, 4))
    assert (mirrored ^ same).all() and 16 < mirrored.sum() < 48


def test_probabilities_of_zero_change_nothing():
    x = jnp.asarray(_frames())
    np.testing.assert_array_equal(video.augment(x, _keys(2)), x)


def test_gray_clips_have_three_equal_channels():
    x = jnp.asarray(_frames(batch=64))
    found = np.asarray(_augment(x, _keys(64), gray=0.25))
    gray = (found == found[..., :1]).all((1, 2, 3, 4))
    assert 6 < gray.sum() < 28
    np.testing.assert_array_equal(found[~gray], np.asarray(x)[~gray])
    luma = np.asarray(x)[gray] @ np.array([0.2989, 0.5870, 0.1140], np.float32)
    np.testing.assert_allclose(found[gray][..., 0], luma, atol=1e-6)


@pytest.mark.parametrize(
    "name, factor", [("saturation", 0.6), ("saturation", 1.4), ("saturation", 3.0)]
)
def test_saturation_is_tf_images(name, factor):
    tf = pytest.importorskip("tensorflow")
    x = _frames()[0]
    expected = tf.image.adjust_saturation(x, factor).numpy()
    np.testing.assert_allclose(_on_planes(video.adjust_saturation, x, factor), expected, atol=1e-5)


@pytest.mark.parametrize("turns", [-0.2, -0.05, 0.0, 0.1, 0.2])
def test_hue_is_tf_images(turns):
    tf = pytest.importorskip("tensorflow")
    x = _frames()[0]
    expected = tf.image.adjust_hue(x, turns).numpy()
    np.testing.assert_allclose(_on_planes(video.rotate_hue, x, turns), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_contrast_is_tf_images(factor):
    tf = pytest.importorskip("tensorflow")
    x = _frames()[0]
    expected = tf.image.adjust_contrast(x, factor).numpy()
    np.testing.assert_allclose(_on_planes(video.adjust_contrast, x, factor), expected, atol=1e-5)


def test_gray_pixels_have_no_hue_to_turn():
    x = np.full((1, 2, 2, 3), 0.4, np.float32)
    np.testing.assert_allclose(_on_planes(video.rotate_hue, x, 0.2), x, atol=1e-6)
    np.testing.assert_allclose(_on_planes(video.adjust_saturation, x, 1.4), x, atol=1e-6)


def test_jitter_stays_in_range_and_treats_all_frames_alike():
    frame = np.random.default_rng(0).uniform(size=(8, 1, 6, 8, 3)).astype(np.float32)
    clip = jnp.asarray(frame.repeat(3, axis=1))
    found = np.asarray(_augment(clip, _keys(8), color=1.0))
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(found, found[:, :1].repeat(3, axis=1))
    change = np.abs(found - clip).mean((1, 2, 3, 4))
    assert (change > 0.01).all() and np.unique(change).size == 8


def test_a_row_is_augmented_alike_wherever_it_stands():
    x, keys, order = jnp.asarray(_frames(batch=4)), _keys(4), np.array([2, 0, 3, 1])
    augment = jax.jit(lambda x, k: video.augment(x, k, flip=0.5, color=0.8, gray=0.2))
    np.testing.assert_allclose(augment(x, keys)[order], augment(x[order], keys[order]), atol=1e-6)
