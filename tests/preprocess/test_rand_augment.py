"""RandAugment: every operation is Pillow's, and a clip's draws are its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from sklearn import datasets

from av_mae.experiment import sharding
from av_mae.preprocess import augment

SIZE = (60, 84)  # height, width
VIDEOMAE = {"layers": 4, "magnitude": 7.0, "deviation": 0.5}


@functools.cache
def pictures() -> list[Image.Image]:
    """Real photographs, one of them with few tones and a channel of one value."""
    found = [Image.fromarray(x).resize(SIZE[::-1]) for x in datasets.load_sample_images().images]
    flat = np.asarray(found[0]) // 4 + 90
    flat[..., 2] = 77
    return [*found, Image.fromarray(flat)]


@functools.cache
def clip() -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures()])


def warped(picture: Image.Image, *matrix: float) -> Image.Image:
    bicubic, grey = Image.Resampling.BICUBIC, (128, 128, 128)
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, resample=bicubic, fillcolor=grey
    )


def expected(name: str, strength: float, sign: int, picture: Image.Image) -> Image.Image:
    """What timm's operation of this name does, said with Pillow."""
    share, width, height = strength / 10, *picture.size
    both = sign * share
    bicubic, grey = Image.Resampling.BICUBIC, (128, 128, 128)
    threshold, added = 256 - int(share * 256), int(share * 110)
    black = Image.new("RGB", picture.size)  # no bits are left, which Pillow refuses to do
    brighter = [min(255, i + added) if i < 128 else i for i in range(256)]
    return {
        "rotate": lambda p: p.rotate(30 * both, resample=bicubic, fillcolor=grey),
        "shear_x": lambda p: warped(p, 1, 0.3 * both, 0, 0, 1, 0),
        "shear_y": lambda p: warped(p, 1, 0, 0, 0.3 * both, 1, 0),
        "translate_x": lambda p: warped(p, 1, 0, 0.45 * both * width, 0, 1, 0),
        "translate_y": lambda p: warped(p, 1, 0, 0, 0, 1, 0.45 * both * height),
        "color": lambda p: ImageEnhance.Color(p).enhance(1 + 0.9 * both),
        "contrast": lambda p: ImageEnhance.Contrast(p).enhance(1 + 0.9 * both),
        "brightness": lambda p: ImageEnhance.Brightness(p).enhance(1 + 0.9 * both),
        "sharpness": lambda p: ImageEnhance.Sharpness(p).enhance(1 + 0.9 * both),
        "auto_contrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "invert": ImageOps.invert,
        "posterize": lambda p: ImageOps.posterize(p, 4 - int(share * 4)) if share < 1 else black,
        "solarize": lambda p: ImageOps.solarize(p, threshold),
        "solarize_add": lambda p: p.point(brighter * 3),
    }[name](picture)


@jax.jit
def _apply(x_fhwc, op, strength, sign):
    found = augment.apply(x_fhwc.transpose(1, 2, 3, 0), op, strength, sign)
    return found.transpose(3, 0, 1, 2)


def apply(name: str, strength: float, sign: int) -> np.ndarray:
    op = augment.OPS.index(name) if name else augment.NONE
    found = _apply(clip(), jnp.int32(op), jnp.float32(strength), jnp.float32(sign))
    return np.asarray(found).astype(int)


@pytest.mark.parametrize("name", augment.OPS)
def test_every_operation_is_pillows(name):
    for strength, sign in ((7.3, 1), (7.3, -1), (1.7, 1), (10.0, -1)):
        found = apply(name, strength, sign)
        wanted = np.stack([np.asarray(expected(name, strength, sign, p)) for p in pictures()])
        difference = np.abs(found - wanted)
        # Float32 against Pillow's float64: now and then a value falls to the other side of a
        # whole number, and at the border of a warp a pixel to the other side of the picture.
        assert (difference > 1).mean() < (1e-3 if name in augment.GEOMETRIC else 1e-9), name
        assert (difference > 0).mean() < 0.01, (name, strength, sign)
        assert strength == 1.7 or (found != clip()).mean() > 0.1


def test_there_are_fifteen_operations_and_one_that_changes_nothing():
    assert len(set(augment.OPS)) == 15
    np.testing.assert_array_equal(apply("", 7.0, 1), clip())


@pytest.mark.parametrize("name", [*augment.GEOMETRIC, *augment.BLENDS, "solarize", "solarize_add"])
def test_a_magnitude_of_zero_is_no_change(name):
    for sign in (1, -1):
        np.testing.assert_array_equal(apply(name, 0.0, sign), clip())


@functools.partial(jax.jit, static_argnames=("layers", "magnitude", "deviation"))
def augmented(frames, keys, **options):
    return augment.rand_augment(frames, keys, **options)


def batch(rows=24, frames=3) -> jax.Array:
    """Clips that stand still, each of another photograph."""
    row = clip()[np.arange(rows) % len(clip())][:, None]
    return jnp.asarray(row.repeat(frames, axis=1))


def keys(rows=24, seed=0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), rows)


def test_all_frames_of_a_clip_are_treated_alike_and_clips_differently():
    found = np.asarray(augmented(batch(), keys(), **VIDEOMAE))
    np.testing.assert_array_equal(found, found[:, :1].repeat(3, axis=1))
    kinds = {row.tobytes() for row in found}
    assert len(kinds) > 18


def test_operations_strengths_and_signs_are_drawn_as_published():
    draw = jax.vmap(lambda key: augment.draw(key, 4, 7.0, 0.5))
    ops, strengths, signs = map(np.asarray, draw(keys(4000)))
    counts = np.bincount(ops.reshape(-1), minlength=16) / ops.size
    np.testing.assert_allclose(counts, [*[1 / 30] * 15, 1 / 2], atol=0.01)
    np.testing.assert_allclose([strengths.mean(), strengths.std()], [7.0, 0.5], atol=0.02)
    assert abs(signs.mean()) < 0.03 and set(np.unique(signs)) == {-1, 1}
    # Every layer draws anew.
    assert abs(np.corrcoef(strengths.T) - np.eye(4)).max() < 0.1
    assert abs(np.corrcoef((ops == augment.NONE).T) - np.eye(4)).max() < 0.1


def test_strengths_stay_within_the_ranges():
    for magnitude in (0.0, 10.0):
        _, strengths, _ = augment.draw(jax.random.key(0), 500, magnitude, 3.0)
        assert strengths.min() >= 0 and strengths.max() <= 10


def test_a_clip_is_augmented_alike_wherever_it_stands():
    order = np.random.default_rng(0).permutation(24)
    found = augmented(batch(), keys(), **VIDEOMAE)
    moved = augmented(batch()[order], keys()[order], **VIDEOMAE)
    np.testing.assert_array_equal(np.asarray(found)[order], moved)
    alone = augmented(batch()[5:6], keys()[5:6], **VIDEOMAE)
    np.testing.assert_array_equal(found[5:6], alone)


def test_no_layers_is_no_change():
    nothing = {"layers": 0, "magnitude": 7.0, "deviation": 0.5}
    np.testing.assert_array_equal(augmented(batch(), keys(), **nothing), batch())


def test_devices_augment_their_own_clips_only():
    layout = sharding.batch_sharding(sharding.make_mesh())
    frames = jax.ShapeDtypeStruct((8, 2, 16, 16, 3), jnp.uint8, sharding=layout)

    def step(frames):
        return augment.rand_augment(frames, keys(8), **VIDEOMAE)

    compiled = jax.jit(step, out_shardings=layout).lower(frames).compile().as_text()
    assert "u8[1,2,16,16,3]" in compiled
    assert not [word for word in ("all-gather", "all-reduce", "all-to-all") if word in compiled]
