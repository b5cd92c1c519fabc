"""Pictures show what the arrays hold."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from av_mae.report import media, pictures


def test_kinds_stand_side_by_side_in_order(example):
    video = pictures.side_by_side(example.frames)
    assert video.shape == (8, 32, 3 * 48 + 2 * 4, 3)
    for place, kind in zip((0, 52, 104), pictures.KINDS, strict=True):
        assert (video[:, :, place : place + 48] == example.frames[kind]).all()


def test_frames_of_different_shapes_are_refused(example):
    frames = dict(example.frames) | {"masked": example.frames["masked"][:5]}
    with pytest.raises(ValueError, match="expected one shape"):
        pictures.side_by_side(frames)


def test_film_runs_from_the_first_frame_to_the_last():
    frames = np.zeros((16, 4, 6, 3), np.uint8) + np.arange(16, dtype=np.uint8)[:, None, None, None]
    film = pictures.film(frames, columns=4)
    assert film.shape == (4, 4 * 6 + 3 * 4, 3)
    assert film[0, [0, 10, 20, 30], 0].tolist() == [0, 5, 10, 15]
    assert pictures.film(frames[:2], columns=8).shape == (4, 2 * 6 + 4, 3)


def test_spectrogram_has_low_frequencies_at_the_bottom_and_time_to_the_right():
    log_mel = np.full((10, 4), -8.0, np.float32)
    log_mel[7, 0] = 4.0
    image = pictures.coloured({"original": log_mel})["original"]
    assert image.shape == (4, 10, 3)
    brightness = image.astype(int).sum(-1)
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (3, 7)


def test_hidden_values_are_grey_and_the_scale_is_the_originals(example):
    images = pictures.coloured(example.spectrograms)
    assert (images["masked"][:, :64] == 128).all()
    assert (images["masked"][:, 64:] != 128).any(-1).all()
    # The prediction is the original made quieter: on the common scale its peak is darker.
    assert images["predicted"][0, -1].sum() < images["original"][0, -1].sum()
    # On its own it is as bright as the original.
    (alone,) = pictures.coloured({"predicted": example.spectrograms["predicted"]}).values()
    assert (alone[0, -1] == images["original"][0, -1]).all()


def test_a_spectrogram_without_values_still_has_a_picture():
    nothing = np.full((8, 4), np.nan, np.float32)
    assert (pictures.spectrograms({"predicted": nothing}) == 128).all()


def test_images_encode_and_decode():
    image = np.random.default_rng(0).integers(0, 255, (17, 23, 3), np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(media.image(image, "PNG")))) == image).all()
    smooth = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(media.image(smooth, "JPEG")))).astype(int)
    assert abs(decoded - smooth).max() <= 3


def test_unknown_kind_and_missing_rate_are_refused(example):
    with pytest.raises(ValueError, match="target"):
        dataclasses.replace(example, waves={"target": np.zeros(4, np.float32)})
    with pytest.raises(ValueError, match="fps"):
        dataclasses.replace(example, fps=0.0)
