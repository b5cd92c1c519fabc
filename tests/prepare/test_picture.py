"""Sizes, shapes of pixels and turns."""

import fractions

import av
import made_media
import numpy as np
import pytest

from av_mae.prepare.media import decode, picture


@pytest.mark.parametrize(
    "size, aspect, short_side, expected",
    [
        ((1920, 1080), 1, 256, (456, 256)),
        ((1080, 1920), 1, 256, (256, 456)),
        ((320, 240), 1, 256, (320, 240)),  # never enlarged
        ((640, 360), fractions.Fraction(2, 3), 256, (304, 256)),
        ((340, 256), fractions.Fraction(64, 51), 256, (426, 256)),
        ((1, 1), 1, 256, (2, 2)),  # the smallest even picture
        ((101, 77), 1, None, (100, 76)),
        ((8192, 8192), 1, 256, (256, 256)),
    ],
)
def test_scaled_size(size, aspect, short_side, expected):
    assert picture.scaled_size(*size, fractions.Fraction(aspect), short_side) == expected


@pytest.mark.parametrize("short_side", [16, 100, 256, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_sizes_are_even_within_the_limit_and_keep_the_shape(seed, short_side):
    rng = np.random.default_rng(seed)
    width, height = rng.integers(16, 3000, 2).tolist()
    made = picture.scaled_size(width, height, fractions.Fraction(1), short_side)
    assert not made[0] % 2 and not made[1] % 2
    assert min(made) <= short_side + 1
    assert made[0] <= width + 1 and made[1] <= height + 1
    assert made[0] / made[1] == pytest.approx(width / height, rel=2.5 / min(made))


def corners(height=48, width=64):
    """Red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w, 0] = pixels[:h, w:, 1] = pixels[h:, :w, 2] = 250
    pixels[h:, w:] = 250
    return pixels


@pytest.mark.parametrize(
    "matrix, turned",
    [
        ((1, 0, 0, 1), lambda x: x),
        ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),  # clockwise
        ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
        ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),  # mirrored, as front cameras do
        ((1, 0, 0, -1), lambda x: x[::-1]),
        ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
    ],
)
def test_pictures_are_upright(tmp_path, matrix, turned):
    path = made_media.write(tmp_path / "clip.mp4", [corners()] * 5, turn=matrix)
    clip = decode.decode(path)
    expected = turned(corners())
    assert clip.frames[0].shape == expected.shape
    assert np.abs(clip.frames[0].astype(int) - expected).mean() < 15


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turns_agree_with_the_rotation_that_libav_states(tmp_path, degrees):
    path = made_media.write(tmp_path / "clip.mp4", [corners()] * 5, degrees=degrees)
    with av.open(path) as file:
        stated = next(file.decode(video=0)).rotation  # counterclockwise
    shown = decode.decode(path).frames[0].astype(int)
    assert np.abs(shown - np.rot90(corners(), stated // 90)).mean() < 15


def test_square_pixels(tmp_path):
    made = made_media.write(tmp_path / "clip.mp4", [corners()] * 5, aspect=fractions.Fraction(3, 2))
    assert decode.decode(made).frames[0].shape[:2] == (48, 96)


def test_a_senseless_pixel_shape_is_not_believed(tmp_path):
    made = made_media.write(
        tmp_path / "clip.mp4", [corners()] * 5, aspect=fractions.Fraction(1, 200)
    )
    assert decode.decode(made).frames[0].shape[:2] == (48, 64)
