"""From JPEG frames to uint8 pictures of the model's size: crop boxes, cropped decoding, resizing.

A crop is one box (y, x, h, w) in pixels of the record, the same for all frames of a clip; whatever
the recipe (scale jitter included), pixels are resampled once, from the box to the final size.
"""

import functools
import math
from collections.abc import Sequence

import tensorflow as tf

from av_mae.config import schema
from av_mae.input import order

# VideoMAE's GroupMultiScaleCrop: sizes, and corners in quarters of the free (x, y) range.
_SCALES = (1.0, 0.875, 0.75, 0.66)
_CORNERS = (
    (0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2),
    (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3),
)  # fmt: skip
_SNAP = 3  # a crop this close to the final size takes exactly that size

# Scenic resizes the short side to 256 for a 224 crop before it jitters the scale.
_MARGIN = 256 / 224

_TRIES = 10

# Reductions that the JPEG decoder takes while it decodes.
_RATIOS = (1, 2, 4, 8)


def random_box(
    augment: schema.Augment, height: tf.Tensor, width: tf.Tensor, size: int, key: tf.Tensor
) -> tf.Tensor:
    """The crop box int32 [4] (y, x, h, w) of one training example, inside height x width."""
    if augment.crop == "random_resized":
        return _random_resized(augment, height, width, key)
    if augment.crop == "multi_scale":
        boxes = multi_scale_boxes(height, width, size)
        return boxes[order.integer(key, tf.shape(boxes)[0] - 1)]
    if augment.crop == "centre":
        return view_boxes(height, width, 1)[0]

    # jitter, Scenic's: short side to 256/224 size, height and width scaled apart, crop of size
    scales = order.uniform(order.fold(key, 0), (2,), *augment.jitter_scale)
    short = tf.cast(tf.minimum(height, width), tf.float32)
    extents = tf.cast(tf.round(short / (_MARGIN * scales)), tf.int32)
    h, w = tf.clip_by_value(extents[0], 1, height), tf.clip_by_value(extents[1], 1, width)
    return _place(height, width, h, w, order.fold(key, 1))


def view_boxes(height: tf.Tensor, width: tf.Tensor, views: int) -> list[tf.Tensor]:
    """Test crops, `views` boxes int32 [4]: squares of the short side along the long side."""
    side = tf.minimum(height, width)
    corners = _corners(height - side, width - side, views)
    return [tf.stack([y, x, side, side]) for y, x in corners]


def crops(frames: tf.Tensor, boxes: Sequence[tf.Tensor], size: int) -> list[tf.Tensor]:
    """Decodes JPEG strings [f] once and cuts every box: each uint8 [f, size, size, 3].

    Only the region that the boxes cover is decoded. Reductions of two and more are taken by the
    JPEG decoder, which averages (half, quarter, eighth size); the rest is bilinear between
    neighbours, where an antialiased resize would take five times as long.
    """
    region, inside, halvings = _covered(boxes, size)

    def cut(ratio: int) -> list[tf.Tensor]:
        def each(frame: tf.Tensor) -> list[tf.Tensor]:
            picture = _decoded(frame, region, ratio)
            if len(boxes) == 1:
                return [_resize(picture, (size, size))]
            corners = [tf.unstack(box // ratio) for box in inside]
            return [_resize(picture[y : y + h, x : x + w], (size, size)) for y, x, h, w in corners]

        spec = [tf.TensorSpec([size, size, 3], tf.uint8)] * len(boxes)
        return tf.map_fn(each, frames, fn_output_signature=spec)

    return tf.switch_case(halvings, [functools.partial(cut, ratio) for ratio in _RATIOS])


def on_canvas(
    frames: tf.Tensor, boxes: Sequence[tf.Tensor], size: int, canvas: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes JPEG strings [f] once, for `av_mae.preprocess.video` to cut the boxes on a device.

    Decodes as `crops` does. A region larger than the canvas is resized to fit it.

    Returns:
        Pictures uint8 [f, *canvas, 3], black right of and below what the boxes cover, and the boxes
        float32 [k, 4] in them.
    """
    region, inside, halvings = _covered(boxes, size)
    taken = tf.gather(_RATIOS, halvings)
    extent = region[2:] // taken
    fitted = tf.minimum(extent, canvas)
    # Joined, because TensorFlow's padding of bytes takes as long as the decoding.
    right = tf.zeros([fitted[0], canvas[1] - fitted[1], 3], tf.uint8)
    below = tf.zeros([canvas[0] - fitted[0], canvas[1], 3], tf.uint8)

    def draw(ratio: int, resize: bool) -> tf.Tensor:
        def each(frame: tf.Tensor) -> tf.Tensor:
            picture = _decoded(frame, region, ratio)
            picture = _resize(picture, fitted) if resize else picture
            return tf.concat([tf.concat([picture, right], axis=1), below], axis=0)

        return tf.map_fn(each, frames, fn_output_signature=tf.TensorSpec([*canvas, 3], tf.uint8))

    def fit(ratio: int) -> tf.Tensor:
        fits = tf.reduce_all(region[2:] // ratio == fitted)
        return tf.cond(fits, lambda: draw(ratio, False), lambda: draw(ratio, True))

    pictures = tf.switch_case(halvings, [functools.partial(fit, ratio) for ratio in _RATIOS])
    scale = tf.tile(tf.cast(fitted, tf.float32) / tf.cast(extent, tf.float32), [2])
    return pictures, tf.cast(tf.stack(inside) // taken, tf.float32) * scale


def whole_views(frames: tf.Tensor, views: int, short_side: int, size: int) -> list[tf.Tensor]:
    """Views cut from whole frames that were first resized to `short_side`, as Scenic tests.

    Bilinear without antialiasing, values truncated, and the decoder's exact transform: slower than
    `crops`, and equal to Scenic's pixels. The crops of `size` lie along the long side.
    """

    def cut(frame: tf.Tensor) -> list[tf.Tensor]:
        whole = tf.io.decode_jpeg(frame, channels=3)
        height, width = tf.unstack(tf.shape(whole)[:2])
        shape = tf.stack([height, width]) * short_side // tf.minimum(height, width)
        picture = tf.cast(tf.image.resize(whole, shape, "bilinear"), tf.uint8)
        tall, wide = tf.unstack(tf.shape(picture)[:2] - size)
        corners = _corners(tall, wide, views)
        return [picture[y : y + size, x : x + size] for y, x in corners]

    spec = [tf.TensorSpec([size, size, 3], tf.uint8)] * views
    return tf.map_fn(cut, frames, fn_output_signature=spec)


def _covered(boxes: Sequence[tf.Tensor], size: int) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
    """The region that the boxes cover, the boxes in it, how often its decoding may halve it."""
    boxes_k4 = tf.stack(boxes)
    start = tf.reduce_min(boxes_k4[:, :2], axis=0)
    end = tf.reduce_max(boxes_k4[:, :2] + boxes_k4[:, 2:], axis=0)
    inside = [box - tf.pad(start, [[0, 2]]) for box in boxes]
    enough = [ratio * size for ratio in _RATIOS[1:]]
    halvings = tf.reduce_sum(tf.cast(tf.reduce_min(boxes_k4[:, 2:]) >= enough, tf.int32))
    return tf.concat([start, end - start], axis=0), inside, halvings


def _decoded(frame: tf.Tensor, region: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.image.decode_and_crop_jpeg(
        frame, region // ratio, channels=3, ratio=ratio, dct_method="INTEGER_FAST"
    )


def _corners(tall: tf.Tensor, wide: tf.Tensor, views: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Corners (y, x) of squares along the side with more free room, central along the other."""
    centre = (tall // 2, wide // 2)
    if views == 1:
        return [centre]
    shares = [(i * tall // (views - 1), i * wide // (views - 1)) for i in range(views)]
    return [
        (tf.where(tall > wide, y, centre[0]), tf.where(tall > wide, centre[1], x))
        for y, x in shares
    ]


def _resize(picture: tf.Tensor, shape: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    # Floats in: the kernel would convert every byte four times. Weights sum to 1, so that the half
    # for rounding may be added to the pixels that are fewer.
    halfway = tf.cast(picture, tf.float32) + 0.5
    return tf.cast(tf.image.resize(halfway, shape, "bilinear"), tf.uint8)


def _random_resized(
    augment: schema.Augment, height: tf.Tensor, width: tf.Tensor, key: tf.Tensor
) -> tf.Tensor:
    """Inception crop (Szegedy et al. 2015): the first of ten draws that fits, else the centre."""
    area = tf.cast(height * width, tf.float32)
    low, high = augment.crop_aspect
    areas = area * order.uniform(order.fold(key, 0), (_TRIES,), *augment.crop_area)
    logs = order.uniform(order.fold(key, 1), (_TRIES,), math.log(low), math.log(high))
    aspects = tf.exp(logs)
    h = tf.cast(tf.round(tf.sqrt(areas / aspects)), tf.int32)
    w = tf.cast(tf.round(tf.sqrt(areas * aspects)), tf.int32)
    fits = (h >= 1) & (h <= height) & (w >= 1) & (w <= width)
    # The largest (h, w) whose aspect w / h lies in [low, high].
    full_h, full_w = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    centre_h = tf.cast(tf.round(tf.minimum(full_h, full_w / low)), tf.int32)
    centre_w = tf.cast(tf.round(tf.minimum(full_w, full_h * high)), tf.int32)
    centre_h, centre_w = tf.maximum(centre_h, 1), tf.maximum(centre_w, 1)
    chosen = tf.argmax(tf.cast(tf.concat([fits, [True]], 0), tf.int32))
    h, w = tf.concat([h, [centre_h]], 0)[chosen], tf.concat([w, [centre_w]], 0)[chosen]
    centre = tf.stack([(height - centre_h) // 2, (width - centre_w) // 2, h, w])
    return tf.where(chosen == _TRIES, centre, _place(height, width, h, w, order.fold(key, 2)))


def multi_scale_boxes(height: tf.Tensor, width: tf.Tensor, size: int) -> tf.Tensor:
    """All boxes int32 [130, 4] of VideoMAE's crop: 10 sizes (slowest) in 13 places each.

    A snapped size that the picture does not hold is cut to the picture.
    """
    base = tf.cast(tf.minimum(height, width), tf.float64)
    sides = tf.maximum(tf.cast(base * tf.constant(_SCALES, tf.float64), tf.int32), 1)
    sides = tf.where(tf.abs(sides - size) < _SNAP, size, sides)
    steps = range(len(_SCALES))
    pairs = [(i, j) for i in steps for j in steps if abs(i - j) <= 1]
    h = tf.minimum(tf.gather(sides, [i for i, _ in pairs]), height)[:, None]
    w = tf.minimum(tf.gather(sides, [j for _, j in pairs]), width)[:, None]
    y = (height - h) // 4 * [down for _, down in _CORNERS]
    x = (width - w) // 4 * [across for across, _ in _CORNERS]
    ones = tf.ones_like(y)
    return tf.reshape(tf.stack([y, x, h * ones, w * ones], axis=-1), [-1, 4])


def _place(
    height: tf.Tensor, width: tf.Tensor, h: tf.Tensor, w: tf.Tensor, key: tf.Tensor
) -> tf.Tensor:
    """A box of h x w at a random place."""
    y = order.integer(order.fold(key, 0), height - h)
    x = order.integer(order.fold(key, 1), width - w)
    return tf.stack([y, x, h, w])
