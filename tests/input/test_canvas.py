"""Devices crop what hosts would have cropped: the same pictures, the same batches, the same run."""

import dataclasses
import itertools

import input_clips
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import tiny

from av_mae.config import parse, schema
from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.input import pictures, pipeline
from av_mae.planning import plan
from av_mae.preprocess import inputs, video
from av_mae.training import loop

HEIGHT, WIDTH = 40, 48  # of tiny's pictures


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_records(tmp_path_factory.mktemp("records"))


def experiment(data, shape=(0, 0), repeat=2, **changes):
    values = tiny.experiment(data, evaluators={}, batch_size=32, **changes)
    values["dataset"] |= {"canvas": shape, "repeat": repeat}
    values["augment"] = {"crop": "random_resized", "crop_area": (0.3, 1.0)}
    return parse.experiment(values)


def seeing(data, shape, **changes) -> schema.Experiment:
    """The experiment on pictures alone, through one layer: it compiles in half the time."""
    e = experiment(data, shape, **changes)
    model = dataclasses.replace(e.model, depth=1, fusion="early")
    return dataclasses.replace(e, modalities={"video": e.modalities["video"]}, model=model)


def batches(e: schema.Experiment, count: int, **kwargs):
    found = pipeline.train_batches(
        e.dataset.path, e.modalities, e.dataset, e.augment,
        batch_size=e.batch_size, seed=0, **kwargs,
    )  # fmt: skip
    return list(itertools.islice(found, count))


def smooth(height: int, width: int) -> bytes:
    """A picture of slow waves, which no way to resample changes much."""
    y, x = np.mgrid[:height, :width] / 12
    planes = 128 + 100 * np.stack([np.sin(y), np.cos(x), np.sin(x + y)], -1)
    return tf.io.encode_jpeg(planes.astype(np.uint8), quality=95).numpy()


def both_ways(frame: bytes, boxes, size: int, shape) -> tuple[np.ndarray, np.ndarray]:
    """Crops [k size size 3] by the host, and through a canvas."""
    frames, boxes = tf.constant([frame]), [tf.constant(box) for box in boxes]
    hosts = np.stack([crop[0] for crop in pictures.crops(frames, boxes, size)])
    drawn, crops = pictures.on_canvas(frames, boxes, size, shape)
    assert drawn.shape == (1, *shape, 3)
    ends = (crops[:, :2] + crops[:, 2:]).numpy()
    assert np.all(crops.numpy() >= 0) and np.all(ends <= np.array(shape) + 1e-3)
    devices = video.crops(jnp.array(drawn[None]), jnp.array(crops[None]), size)
    return hosts.astype(int), np.asarray(devices)[:, 0].astype(int)


@pytest.mark.parametrize("size", [100, 48, 40, 24, 12])
@pytest.mark.parametrize("boxes", [[(17, 60, 96, 128)], [(17, 60, 96, 128), (40, 3, 110, 99)]])
def test_a_device_cuts_what_a_host_would(size, boxes):
    """Sizes on both sides of the steps where the decoder reduces by 2, 4 and 8."""
    hosts, devices = both_ways(smooth(160, 240), boxes, size, (160, 240))
    assert np.abs(hosts - devices).max() <= 1


def test_what_is_larger_than_the_canvas_is_resized_to_fit():
    hosts, devices = both_ways(smooth(160, 240), [(3, 5, 150, 220), (30, 9, 99, 120)], 96, (99, 99))
    assert np.abs(hosts - devices).max() <= 12 and np.abs(hosts - devices).mean() < 2


@pytest.mark.parametrize("repeat", [1, 2])
def test_a_batch_is_that_of_the_host_but_for_who_crops(data, repeat):
    shape = (HEIGHT, WIDTH)
    hosts = batches(experiment(data, repeat=repeat), 3)
    devices = batches(experiment(data, shape, repeat), 3)
    for expected, found in zip(hosts, devices, strict=True):
        assert found["canvas"].shape == (32 // repeat, 4, *shape, 3)
        assert found["crops"].shape == (32 // repeat, repeat, 4)
        cut = inputs.unpack(jax.tree.map(jnp.asarray, found), experiment(data).modalities)
        assert cut.keys() == expected.keys()
        assert np.abs(np.asarray(cut.pop("video")).astype(int) - expected["video"]).max() <= 1
        assert all(np.array_equal(cut[name], expected[name]) for name in cut)


def test_hosts_share_the_clips(data):
    whole = batches(experiment(data, (HEIGHT, WIDTH)), 2)
    rows = np.arange(32).reshape(2, 2, 8)  # a host has two parts, far from each other
    shares = [
        batches(experiment(data, (HEIGHT, WIDTH)), 2, rows=rows[:, h].ravel()) for h in range(2)
    ]
    for batch, one, other in zip(whole, *shares, strict=True):
        parts = {name: (one[name], other[name]) for name in batch}
        halves = {k: [np.split(x, 2) for x in both] for k, both in parts.items()}
        joined = {
            k: np.concatenate([one[0], two[0], one[1], two[1]]) for k, (one, two) in halves.items()
        }
        assert all(np.array_equal(joined[name], batch[name]) for name in batch)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_learns_the_same(data, accumulate):
    """Over eight devices, which hold two clips of two copies each."""
    losses = []
    for shape in ((0, 0), (HEIGHT, WIDTH)):
        made = Run.build(seeing(data, shape, optim={"accumulate": accumulate}))
        step, current = made.train_step(), made.init()
        rows = itertools.islice(loop.batches(made, 0), 3)
        found = []
        for batch in rows:
            current, metrics = step(current, sharding.to_devices(batch, made.mesh))
            found.append(float(metrics["loss"]))
        losses.append(found)
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_a_clip_without_pictures_is_an_empty_canvas(tmp_path):
    input_clips.write(tmp_path, clips=4, shards=1, c1={"frames": 0, "sound": 1.2})
    found = pipeline.train_batches(
        tmp_path, input_clips.both(), schema.Dataset(canvas=(24, 32)), schema.Augment(),
        batch_size=4, seed=0,
    )  # fmt: skip
    batch = next(found)
    drawn = batch["canvas"].any(axis=(1, 2, 3, 4))
    assert np.array_equal(drawn, batch["video_present"]) and drawn.sum() == 3
    cut = inputs.unpack(jax.tree.map(jnp.asarray, batch), input_clips.both())["video"]
    assert not np.asarray(cut)[~drawn].any()


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_plan_counts_the_canvas(data, accumulate):
    """A canvas of a half more pixels than a crop, for every other row; one a row in micro-batches.

    With four of them a micro-batch has half as many clips as devices.
    """
    optim, compute = {"accumulate": accumulate}, {"scan": False}
    plain, drawn = (
        plan.make(seeing(data, shape, optim=optim, compute=compute), "here", 32, 2, costs=False)
        for shape in ((0, 0), (48, 32))
    )
    pixels = 4 * 4 * 32 * 32 * 3  # of the four rows on a device
    less = plain["memory"]["batch"] - drawn["memory"]["batch"]
    assert less == pytest.approx(pixels * (1 - 1.5 / 2), abs=4 * 4 * 4)
    if accumulate == 1:  # a loop over micro-batches hides what is in it
        assert drawn["work"]["flops"] > 1.001 * plain["work"]["flops"]


def test_what_cannot_be_a_canvas_is_refused(data):
    with pytest.raises(schema.ConfigError, match=r"dataset.canvas is \(0, 48\), expected a height"):
        experiment(data, (0, WIDTH))
    with pytest.raises(schema.ConfigError, match=r"batch_size / dataset.repeat 4 is not divisible"):
        Run.build(experiment(data, (HEIGHT, WIDTH), repeat=8))
