"""Crops lie inside the picture, follow their published recipes and show what their box says."""

import json

import input_clips
import numpy as np
import pytest
import tensorflow as tf

from av_mae.config import schema
from av_mae.input import order, pictures

CROPS = ("random_resized", "multi_scale", "jitter", "centre")


def _boxes(crop: str, height: int, width: int, size: int, count: int = 60, **augment) -> np.ndarray:
    settings = schema.Augment(crop=crop, **augment)

    @tf.function(autograph=False)
    def box(counter):
        key = order.key(0, counter)
        return pictures.random_box(settings, tf.constant(height), tf.constant(width), size, key)

    return np.stack([box(tf.constant(i, tf.int64)).numpy() for i in range(count)])


def _ramp(height: int, width: int) -> np.ndarray:
    """Red grows with y and green with x, over the whole range."""
    y, x = np.mgrid[:height, :width]
    planes = (y * 255 / (height - 1), x * 255 / (width - 1), np.zeros((height, width)))
    return np.rint(np.stack(planes, -1)).astype(np.uint8)


def _cut(images, boxes, size: int) -> list[np.ndarray]:
    frames = tf.constant([input_clips.jpeg(p) for p in images])
    return [x.numpy() for x in pictures.crops(frames, [tf.constant(b) for b in boxes], size)]


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("shape", [(256, 340), (340, 256), (20, 500), (1, 1)])
def test_boxes_lie_inside_the_picture(crop, shape):
    y, x, h, w = _boxes(crop, *shape, size=224, count=25).T
    assert min(y.min(), x.min()) >= 0 and min(h.min(), w.min()) >= 1
    assert np.all(y + h <= shape[0]) and np.all(x + w <= shape[1])


def test_random_resized_draws_areas_and_aspects_as_asked():
    _, _, h, w = _boxes("random_resized", 256, 340, 224, 300, crop_area=(0.3, 0.6)).T
    areas, aspects = h * w / (256 * 340), w / h
    assert 0.295 < areas.min() < 0.33 and 0.57 < areas.max() < 0.605
    assert 0.74 < aspects.min() < 0.78 and 1.28 < aspects.max() < 1.35
    assert abs(np.log(aspects).mean()) < 0.05


def test_random_resized_places_are_spread():
    y, x, h, w = _boxes("random_resized", 256, 340, 224, 300, crop_area=(0.3, 0.6)).T
    for place in (y / (256 - h), x / (340 - w)):
        assert 0.4 < place.mean() < 0.6 and place.min() < 0.05 and place.max() > 0.95


def test_random_resized_falls_back_to_the_centre():
    """No box of half the area has these aspects in so long a picture."""
    wide = _boxes("random_resized", 20, 500, 224, 5, crop_area=(0.5, 1.0))
    assert wide.tolist() == [[0, 236, 20, 27]] * 5
    tall = _boxes("random_resized", 500, 20, 224, 5, crop_area=(0.5, 1.0))
    assert tall.tolist() == [[236, 0, 27, 20]] * 5


def test_jitter_takes_the_size_that_scaling_would():
    """A 224 crop after the short side 256 is scaled by .9 to 1.33 sees this much of it."""
    _, _, h, w = _boxes("jitter", 512, 680, 224, 200).T
    for extent in (h, w):
        assert 512 * 0.875 / 1.33 - 1 <= extent.min() < 512 * 0.875 / 1.25
        assert 512 * 0.875 / 0.95 < extent.max() <= 512 * 0.875 / 0.9 + 1
    assert np.abs(h - w).max() > 50


def test_jitter_without_scaling_keeps_squares():
    _, _, h, w = _boxes("jitter", 256, 340, 224, 20, jitter_scale=(1.0, 1.0)).T
    assert set(h) == set(w) == {224}


def test_multi_scale_boxes_equal_videomae(golden):
    file = golden / "videomae" / "official_data" / "sampling_and_views.json"
    cases = json.loads(file.read_text())["multiscale_crop"]
    for case in cases:
        width, height = case["image_wh"]
        boxes = pictures.multi_scale_boxes(tf.constant(height), tf.constant(width), 224).numpy()
        boxes = boxes.reshape(10, 13, 4)
        assert boxes[:, 0, 3:1:-1].tolist() == case["pairs_wh"]
        assert boxes[0, :, 1::-1].tolist() == case["offsets_first_pair"]
        assert boxes[-1, :, 1::-1].tolist() == case["offsets_last_pair"]
    assert len(cases) > 3


def test_multi_scale_uses_all_its_boxes():
    drawn = _boxes("multi_scale", 256, 340, 224, 400)
    known = pictures.multi_scale_boxes(tf.constant(256), tf.constant(340), 224).numpy()
    assert {tuple(b) for b in drawn} <= {tuple(b) for b in known}
    assert len({tuple(b) for b in drawn}) > 50 and len({(b[2], b[3]) for b in drawn}) == 10


def test_spatial_views_equal_videomae(golden):
    file = golden / "videomae" / "official_data" / "sampling_and_views.json"
    stored = json.loads(file.read_text())
    cases = [*stored["test_views_k400"], *stored["test_views_ssv2"]]
    for case in cases:
        height, width = tf.constant(case["H"]), tf.constant(case["W"])
        boxes = [b.numpy().tolist() for b in pictures.view_boxes(height, width, case["crops"])]
        for view in case["views"]:
            assert boxes[view["crop"]] == [view[k] for k in ("y0", "x0", "h", "w")]
    assert len(cases) > 1


def test_one_spatial_view_is_the_centre():
    for height, width, box in ((24, 33, [0, 4, 24, 24]), (40, 30, [5, 0, 30, 30])):
        views = pictures.view_boxes(tf.constant(height), tf.constant(width), 1)
        assert [v.numpy().tolist() for v in views] == [box]


@pytest.mark.parametrize("size", [100, 48, 40, 24, 12])
def test_a_crop_shows_its_box_at_any_reduction(size):
    """Sizes on both sides of the steps where the decoder reduces by 2, 4 and 8."""
    y, x, h, w = box = [17, 60, 96, 128]
    (cut,) = _cut([_ramp(160, 240)], [box], size)
    assert cut.shape == (1, size, size, 3) and cut.dtype == np.uint8
    centre = (np.arange(size) + 0.5) / size
    red = (y + centre * h - 0.5) * 255 / 159
    green = (x + centre * w - 0.5) * 255 / 239
    assert np.abs(cut[0, :, size // 2, 0] - red).max() < 8
    assert np.abs(cut[0, size // 2, :, 1] - green).max() < 8


def test_a_box_of_the_final_size_is_not_resampled():
    picture = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    data = input_clips.jpeg(picture)
    decoded = tf.image.decode_jpeg(data, dct_method="INTEGER_FAST").numpy()
    (cut,) = _cut([picture], [[8, 11, 32, 32]], 32)
    assert np.array_equal(cut[0], decoded[8:40, 11:43])


def test_fine_patterns_do_not_alias():
    """A one-pixel checkerboard reduced four times is grey, as an averaging camera would see it."""
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    (cut,) = _cut([np.repeat(board[..., None], 3, 2)], [[0, 0, 128, 128]], 32)
    assert np.abs(cut.astype(int) - 127).max() < 12


def test_all_frames_share_the_box():
    (cut,) = _cut([_ramp(60, 90)] * 3, [[4, 10, 40, 44]], 16)
    assert cut.shape == (3, 16, 16, 3) and np.array_equal(cut, cut[[1, 2, 0]])


def test_several_boxes_show_what_each_shows_alone():
    """They are cut from one decoded region; only the chroma at its edges may round otherwise."""
    boxes = [[4, 10, 40, 40], [20, 50, 30, 24], [0, 0, 60, 60]]
    together = _cut([_ramp(60, 90)], boxes, 16)
    for box, cut in zip(boxes, together, strict=True):
        (alone,) = _cut([_ramp(60, 90)], [box], 16)
        assert np.abs(cut.astype(int) - alone).max() <= 6
