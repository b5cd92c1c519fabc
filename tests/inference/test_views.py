"""Views of a clip: the same as the evaluation input's, padding, time spans."""

import io

import numpy as np
import pytest
import tiny
from PIL import Image

from av_mae.config import modality, schema
from av_mae.inference import views

VIDEO = modality.Video(frames=4, stride=3, size=24, patch=(2, 8, 8))
AUDIO = modality.Audio(seconds=0.32, mels=16, patch=(8, 8), mean=-6.0, std=3.0)
BOTH = {"video": VIDEO, "audio": AUDIO}


def _clip(frames=40, fps=12.5, seconds=3.0, height=30, width=50):
    draw = np.random.default_rng(0)
    smooth = draw.integers(0, 256, (frames, 3, 5, 3), np.uint8)
    pictures = np.stack(
        [
            np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC))
            for x in smooth
        ]
    )
    wave = draw.integers(-9_000, 9_000, round(seconds * 16_000)) / 32_768
    return views.Clip(pictures, fps, wave.astype(np.float32))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    pytest.importorskip("tensorflow")
    return tiny.write_records(tmp_path_factory.mktemp("records"), train=3, val=4)


@pytest.mark.parametrize("kinds", ["both", "audio"])
@pytest.mark.parametrize(
    "sampling, short_side, temporal, spatial",
    [
        ("dense", 0, 1, 1), ("dense_linspace", 28, 3, 2), ("uniform", 0, 1, 1),
        ("uniform_floor", 0, 2, 1), ("dense_cyclic", 0, 2, 1),
    ],
)  # fmt: skip
def test_views_are_the_evaluation_inputs(records, kinds, sampling, short_side, temporal, spatial):
    from av_mae.input import pipeline

    modalities = BOTH if kinds == "both" else {"audio": AUDIO}
    dataset = schema.Dataset(sampling=sampling, test_short_side=short_side)
    settings = {"temporal_views": temporal, "spatial_views": spatial, "dataset": dataset}
    (batch,) = pipeline.eval_batches(records, "val", modalities, batch_size=4, **settings)
    for row, clip in enumerate(_recorded(records)):
        found = views.evaluation(
            clip, modalities, dataset, temporal=temporal, spatial=spatial
        ).batch
        np.testing.assert_array_equal(found["audio"], batch["audio"][row])
        if kinds == "both":
            difference = np.abs(found["video"].astype(int) - batch["video"][row])
            # Another frame of this noise is 20 away on average, another decoder at most 2.
            assert difference.mean() < 2


def _recorded(folder):
    """The clips of the split, decoded from their records."""
    from av_mae.input import record

    for shard in sorted(folder.glob("tiny-val.tfrecord-*-of-00002")):
        for payload in _read(shard):
            stored = record.decode(payload)
            frames = np.stack([np.asarray(Image.open(io.BytesIO(x))) for x in stored.frames])
            assert stored.audio is not None
            yield views.Clip(frames, stored.fps, (stored.audio / 32_768).astype(np.float32))


def _read(shard):
    import tensorflow as tf

    return (record.numpy() for record in tf.data.TFRecordDataset(str(shard)))


@pytest.mark.parametrize("height, width", [(30, 50), (50, 30), (20, 20)])
def test_resizing_is_tf_images(height, width):
    tf = pytest.importorskip("tensorflow")
    frames, side = _clip(2, height=height, width=width).frames, min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    square = frames[:, y : y + side, x : x + side]
    expected = (tf.image.resize(square, (24, 24)) + 0.5).numpy().astype(np.uint8).astype(int)
    assert np.abs(views.resized(frames, 24)[0].astype(int) - expected).max() <= 1


def test_large_pictures_are_averaged_not_skipped():
    stripes = np.zeros((1, 96, 96, 3), np.uint8)
    stripes[:, :, ::2] = 200
    np.testing.assert_allclose(views.resized(stripes, 24), 100, atol=1)


def test_one_view_holds_the_middle_of_pictures_and_sound():
    found = views.evaluation(_clip(), BOTH)
    assert found.batch["video"].shape == (1, 4, 24, 24, 3)
    assert found.batch["audio"].shape == (1, AUDIO.samples)
    assert found.batch["audio"].dtype == np.int16 and found.batch["video"].dtype == np.uint8
    for seconds in found.seconds.values():
        assert seconds.shape == (1, 2) and abs(seconds.mean() - 1.6) < 0.1


def test_spatial_views_are_the_fast_axis():
    found = views.evaluation(_clip(), BOTH, temporal=2, spatial=3)
    rows = found.batch["video"]
    assert rows.shape[0] == 6 and (rows[0] != rows[2]).any()
    np.testing.assert_array_equal(found.batch["audio"][0], found.batch["audio"][2])
    np.testing.assert_array_equal(found.seconds["video"][0], found.seconds["video"][2])
    assert (found.batch["audio"][0] != found.batch["audio"][3]).any()


def test_views_at_times_move_inwards_at_the_ends():
    clip = _clip()
    found = views.at(clip, BOTH, np.array([-5.0, 1.0, 99.0]))
    wave = np.round(clip.audio * 32_768).astype(np.int16)
    np.testing.assert_array_equal(found.batch["audio"][0], wave[: AUDIO.samples])
    for seconds in found.seconds.values():
        assert seconds[0, 0] == 0.0 and seconds[2, 1] <= clip.seconds + 1e-6
        assert seconds[1].mean() == pytest.approx(1.0, abs=0.09)


def test_a_clip_shorter_than_the_view_holds_its_last_frame_and_ends_in_silence():
    clip = _clip(frames=2, seconds=0.1)
    found = views.evaluation(clip, BOTH)
    np.testing.assert_array_equal(found.batch["video"][0, 1], found.batch["video"][0, 3])
    assert (found.batch["audio"][0, 1_600:] == 0).all() and found.batch["audio"][0, :1_600].any()


def test_sound_keeps_its_full_range():
    wave = np.array([-1.0, 1.0, 0.0, 1 / 32_768], np.float32)
    clip = views.Clip(None, 0.0, wave)
    found = views.evaluation(clip, {"audio": AUDIO}).batch["audio"][0, :4]
    np.testing.assert_array_equal(found, [-32_768, 32_767, 0, 1])


def test_a_view_spans_the_seconds_of_its_modality():
    assert [m.seconds for m in BOTH.values()] == pytest.approx([0.48, 0.32])
