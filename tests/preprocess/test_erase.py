"""Random erasing: one box a clip, of the published sizes, filled with noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from av_mae.preprocess import augment

FRAMES, HEIGHT, WIDTH, ROWS = 3, 40, 48, 256
UNTOUCHED = 9.0  # farther out than the noise gets


@functools.partial(jax.jit, static_argnames="probability")
def _erase(keys, probability):
    clips = jnp.full((ROWS, FRAMES, HEIGHT, WIDTH, 3), UNTOUCHED)
    return augment.erase(clips, keys, probability)


@functools.cache
def erased(probability: float = 1.0) -> np.ndarray:
    return np.asarray(_erase(keys(), probability))


def keys() -> jax.Array:
    return jax.random.split(jax.random.key(3), ROWS)


def boxes() -> np.ndarray:
    """True `[b h w]` where the clips were erased."""
    return (erased() != UNTOUCHED)[:, 0, :, :, 0]


def test_the_box_is_the_same_in_all_frames_and_channels():
    inside = erased() != UNTOUCHED
    np.testing.assert_array_equal(inside, inside[:, :1, :, :, :1].repeat(3, 1).repeat(3, 4))
    for box in boxes():
        np.testing.assert_array_equal(box, np.outer(box.any(1), box.any(0)))
    assert len({box.tobytes() for box in boxes()}) > ROWS - 5


def test_areas_and_aspects_lie_in_the_published_range():
    h, w = boxes().any(2).sum(1), boxes().any(1).sum(1)
    area, aspect = h * w / (HEIGHT * WIDTH), h / w
    assert area.min() > 0.015 and area.max() < 0.36  # sides are whole pixels
    assert area.min() < 0.04 and area.max() > 0.3
    assert aspect.min() > 0.24 and aspect.max() < 4.1
    assert aspect.min() < 0.4 and aspect.max() > 2.5
    assert 0.4 < (aspect > 1).mean() < 0.6


def test_boxes_reach_every_edge():
    somewhere = boxes().any(0)
    assert all(edge.any() for edge in (somewhere[0], somewhere[-1]))
    assert all(edge.any() for edge in (somewhere[:, 0], somewhere[:, -1]))


def test_the_noise_is_standard_and_differs_everywhere():
    noise = erased()[erased() != UNTOUCHED]
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    first = erased()[0][:, boxes()[0]]  # frames, pixels, channels
    assert len(np.unique(first)) > 0.99 * first.size


def test_as_many_clips_as_asked_for():
    hit = (erased(0.25) != UNTOUCHED).any((1, 2, 3, 4))
    assert 40 < hit.sum() < 90
    assert (erased(0.0) == UNTOUCHED).all()


def test_a_clip_is_erased_alike_wherever_it_stands():
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_array_equal(erased()[order], _erase(keys()[order], 1.0))
