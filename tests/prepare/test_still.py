"""Still pictures in any mode and of any size, and what is refused."""

import io

import made_media
import numpy as np
import pytest
from PIL import Image

from av_mae.prepare.media import container, picture

COLOUR = (200, 100, 40)


def save(path, image, **options):
    image.save(path, **options)
    return path


def halves(mode="RGB", size=(40, 30)):
    """A picture whose left half is black and whose right half has a colour."""
    pixels_hw3 = np.zeros((size[1], size[0], 3), np.uint8)
    pixels_hw3[:, size[0] // 2 :] = COLOUR
    return Image.fromarray(pixels_hw3).convert(mode)


@pytest.mark.parametrize(
    "mode, suffix", [("RGB", "png"), ("RGB", "jpg"), ("RGB", "webp"), ("RGB", "bmp"),
                     ("RGB", "tif"), ("CMYK", "jpg"), ("RGBA", "png"), ("P", "gif"), ("P", "png")],
)  # fmt: skip
def test_every_mode_gives_the_colours_it_shows(tmp_path, mode, suffix):
    path = save(tmp_path / f"a.{suffix}", halves(mode)).rename(tmp_path / "misnamed.mp4")
    picture_hw3 = picture.decode(path)
    assert picture_hw3.shape == (30, 40, 3) and picture_hw3.dtype == np.uint8
    assert np.abs(picture_hw3[:, 30:].astype(int) - COLOUR).mean() < 12
    assert picture_hw3[:, :10].mean() < 12


@pytest.mark.parametrize("mode, values", [("L", 128), ("1", 255), ("I;16", 128 * 257)])
def test_grey_becomes_three_equal_channels(tmp_path, mode, values):
    if mode == "1":
        image = Image.new("1", (8, 8), 1)
    else:
        image = Image.fromarray(np.full((8, 8), values, np.uint8 if mode == "L" else np.uint16))
    picture_hw3 = picture.decode(save(tmp_path / "a.png", image))
    assert (picture_hw3 == (255 if mode == "1" else 128)).all()


@pytest.mark.parametrize("orientation, shape", [(1, (30, 40, 3)), (6, (40, 30, 3))])
def test_pictures_are_upright(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture_hw3 = picture.decode(save(tmp_path / "a.jpg", halves(), exif=exif))
    assert picture_hw3.shape == shape
    lit = picture_hw3[-5:] if orientation == 6 else picture_hw3[:, -5:]
    assert np.abs(lit.astype(int) - COLOUR).mean() < 12


def test_orientation_that_is_damaged_is_left_alone(tmp_path):
    path = save(tmp_path / "a.jpg", halves(), exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0")
    assert picture.decode(path).shape == (30, 40, 3)


def test_the_short_side_is_reduced_and_never_enlarged(tmp_path):
    path = save(tmp_path / "a.png", halves(size=(200, 120)))
    assert picture.decode(path, short_side=60).shape == (60, 100, 3)
    assert picture.decode(path, short_side=500).shape == (120, 200, 3)


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    others = [Image.new("RGB", (40, 30), "white")] * 2
    path = save(tmp_path / "a.gif", halves(), save_all=True, append_images=others)
    assert picture.decode(path)[:, :10].mean() < 12


def test_what_is_no_whole_picture_is_refused_with_the_reason(tmp_path):
    buffer = io.BytesIO()
    halves(size=(400, 300)).save(buffer, "JPEG")
    (tmp_path / "half.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (tmp_path / "page.jpg").write_text("<html>404</html>" * 40)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "draws.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    made_media.write(tmp_path / "moves.mp4", [made_media.picture(i) for i in range(5)])
    save(tmp_path / "float.tif", Image.fromarray(np.zeros((8, 8), np.float32)))
    reasons = {
        "absent.jpg": "file not found", "half.jpg": "picture damaged: .*truncated",
        "page.jpg": "not a picture", "empty.jpg": "empty file", "draws.eps": "not a picture",
        "moves.mp4": "not a picture", "float.tif": "not a picture: floating point",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(container.UnreadableError, match=f"^{reason}"):
            picture.decode(tmp_path / name)


@pytest.mark.parametrize("limit", [1000, 60_000 * 60_000 - 1])
def test_a_header_with_too_many_pixels_is_not_believed(tmp_path, limit):
    side = 60_000 if limit > 1000 else 40
    path = save(tmp_path / "a.bmp", halves())
    data = bytearray(path.read_bytes())
    data[18:22] = data[22:26] = side.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(container.UnreadableError, match="^too many pixels"):
        picture.decode(path, limits=container.Limits(pixels=limit))
