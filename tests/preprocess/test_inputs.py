"""The door: what training, evaluation and single files all go through."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from av_mae.config import modality, schema
from av_mae.preprocess import audio, inputs

VIDEO = modality.Video(frames=2, size=16, patch=(2, 8, 8))
AUDIO = modality.Audio(seconds=0.32, mels=16, patch=(8, 8), mean=-6.0, std=3.0)
BOTH = {"video": VIDEO, "audio": AUDIO}
EVERYTHING = schema.Augment(
    color=0.8,
    gray=0.1,
    rand_augment=2,
    erase=0.5,
    audio_roll=True,
    freq_masks=1,
    freq_mask_bins=6,
    time_masks=1,
    time_mask_columns=9,
)


def _batch(rows=4, seed=0):
    draw = np.random.default_rng(seed)
    return {
        "video": jnp.asarray(draw.integers(0, 256, (rows, *VIDEO.input_shape), np.uint8)),
        "audio": jnp.asarray(draw.integers(-9_000, 9_000, (rows, AUDIO.samples), np.int16)),
        "valid": jnp.ones(rows, bool),
        "label": jnp.eye(rows),
    }


def _keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@jax.jit
def _augmented(batch, keys):
    return inputs.prepare(batch, BOTH, augment=EVERYTHING, keys_b=keys)


def test_shapes_order_and_range():
    found = inputs.prepare(_batch(), BOTH)
    assert list(found) == ["video", "audio"]
    assert {k: x.shape[1:] for k, x in found.items()} == {k: m.input_shape for k, m in BOTH.items()}
    assert all(x.dtype == jnp.float32 for x in found.values())
    assert found["video"].min() == -1.0 and found["video"].max() == 1.0


def test_prepares_what_the_batch_holds():
    batch = _batch()
    del batch["video"]
    assert list(inputs.prepare(batch, BOTH)) == ["audio"]
    assert list(inputs.prepare(_batch(), {"video": VIDEO})) == ["video"]


def test_silence_and_black_frames_are_finite():
    batch = {k: jnp.zeros_like(x) for k, x in _batch().items()}
    found = inputs.prepare(batch, BOTH)
    assert all(np.isfinite(x).all() for x in found.values())
    np.testing.assert_allclose(found["audio"], (np.log(audio.FLOOR) + 6.0) / 3.0, rtol=1e-5)


def test_augmentation_needs_keys_and_keys_need_augmentation():
    plain = inputs.prepare(_batch(), BOTH)
    for other in (
        inputs.prepare(_batch(), BOTH, augment=EVERYTHING),
        inputs.prepare(_batch(), BOTH, keys_b=_keys(4)),
    ):
        jax.tree.map(np.testing.assert_array_equal, plain, other)
    augmented = _augmented(_batch(), _keys(4))
    assert all((augmented[k] != plain[k]).any() for k in plain)


def test_a_row_is_prepared_alike_wherever_it_stands():
    batch, keys, order = _batch(), _keys(4), np.array([2, 0, 3, 1])
    found = _augmented(batch, keys)
    moved = _augmented(jax.tree.map(lambda x: x[order], batch), keys[order])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[order], b, atol=1e-4), found, moved)


def test_sound_and_pictures_are_drawn_apart():
    """Adding a modality does not change what happens to the other."""
    batch, keys = _batch(), _keys(4)
    del batch["video"]
    both, alone = _augmented(_batch(), keys), _augmented(batch, keys)
    np.testing.assert_allclose(both["audio"], alone["audio"], atol=1e-4)


def test_rand_augment_works_on_bytes():
    augment = schema.Augment(flip=0.0, rand_augment=4)
    found = inputs.prepare(_batch(), {"video": VIDEO}, augment=augment, keys_b=_keys(4))["video"]
    pixels = (found + 1.0) * 127.5
    np.testing.assert_allclose(pixels, pixels.round(), atol=1e-3)
    assert (found != inputs.prepare(_batch(), {"video": VIDEO})["video"]).any()


def test_erasing_puts_noise_on_normalised_pixels():
    augment = schema.Augment(flip=0.0, erase=1.0)
    found = inputs.prepare(_batch(), {"video": VIDEO}, augment=augment, keys_b=_keys(4))["video"]
    plain = inputs.prepare(_batch(), {"video": VIDEO})["video"]
    changed = np.asarray(found != plain).all(-1)
    assert (changed.mean((1, 2, 3)) > 0.0).all() and changed.mean() < 0.4
    assert np.abs(found[changed]).max() > 1.0


def test_missing_statistics_name_the_key():
    unknown = {"audio": dataclasses.replace(AUDIO, mean=None)}
    with pytest.raises(ValueError, match="modalities.audio.mean"):
        inputs.prepare(_batch(), unknown)


def test_wrong_shapes_name_the_modality():
    views = jax.tree.map(lambda x: x[:, None], _batch())
    with pytest.raises(ValueError, match=r"batch\['video'\].*fold views"):
        inputs.prepare(views, {"video": VIDEO})
    with pytest.raises(ValueError, match=r"batch\['audio'\].*fold views"):
        inputs.prepare(views, {"audio": AUDIO})
    with pytest.raises(ValueError, match="at least one of video, audio"):
        inputs.prepare({"label": jnp.eye(2)}, BOTH)


def test_a_still_picture_without_what_stands_still_is_empty():
    spec = dataclasses.replace(VIDEO, remove_still=True, mean=(0.3, 0.4, 0.5))
    picture = np.arange(spec.size * 3, dtype=np.uint8).reshape(spec.size, 1, 3)
    frames = np.broadcast_to(picture, (1, *spec.input_shape))
    x = inputs.prepare({"video": jnp.asarray(frames)}, {"video": spec})["video"]
    assert x.shape == (1, *spec.input_shape)
    np.testing.assert_allclose(x, 0.0, atol=1e-5)


def test_int16_sound_is_normalised_by_the_statistics_of_the_data_set():
    """Every sample counts, the lowest too: the spectrogram is that of sound in [-1, 1)."""
    wave = np.random.default_rng(0).integers(-32768, 32768, (2, AUDIO.samples)).astype(np.int16)
    wave[:, :2] = -32768, 32767
    mel = audio.log_mel(jnp.asarray(wave / np.float32(32768)), AUDIO.mels, AUDIO.axes[0])
    spec = dataclasses.replace(AUDIO, mean=float(mel.mean()), std=float(mel.std()))
    found = inputs.prepare({"audio": jnp.asarray(wave)}, {"audio": spec})["audio"]
    np.testing.assert_allclose(found, (mel - mel.mean()) / mel.std(), atol=1e-4)
    assert abs(float(found.mean())) < 1e-4 and abs(float(found.std()) - 1) < 1e-4
