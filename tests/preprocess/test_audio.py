"""Log-mel spectrograms against kaldi and tf.signal, silence, augmentation and listening."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from av_mae.preprocess import audio


def _sound(seconds=0.6, seed=0):
    """A chord in noise, [1, s] in [-1, 1]."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 3_000 * t)
    wave += 0.05 * np.random.default_rng(seed).standard_normal(t.shape)
    return wave.astype(np.float32)[None]


def _keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def test_log_mel_is_kaldis():
    knf = pytest.importorskip("kaldi_native_fbank")
    wave = _sound()
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.dither = 0.0
    options.frame_opts.preemph_coeff = 0.0
    options.frame_opts.remove_dc_offset = False
    options.frame_opts.window_type = "hamming"
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 128
    options.mel_opts.low_freq = 0.0
    options.mel_opts.high_freq = 8_000.0
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(16_000, wave[0].tolist())
    expected = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])
    # kaldi stops at the last whole window; ours goes on over zeros.
    found = np.asarray(audio.log_mel(jnp.asarray(wave), 128, 60))[0, : len(expected)]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_log_mel_is_tf_signals():
    tf = pytest.importorskip("tensorflow")
    wave = _sound(seed=1)
    window = lambda size, dtype: tf.signal.hamming_window(size, periodic=False, dtype=dtype)  # noqa: E731
    padded = np.pad(wave, ((0, 0), (0, 240)))
    power = tf.abs(tf.signal.stft(padded, 400, 160, 512, window_fn=window)) ** 2
    filters = tf.signal.linear_to_mel_weight_matrix(128, 257, 16_000, 0.0, 8_000.0)
    expected = np.log(np.maximum(power @ filters, audio.FLOOR))
    found = np.asarray(audio.log_mel(jnp.asarray(wave), 128, 60))
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("columns", [1, 7])
def test_every_column_sees_its_own_samples(columns):
    wave = _sound()
    found = audio.log_mel(jnp.asarray(wave), 64, columns)
    assert found.shape == (1, columns, 64)
    later = np.concatenate([np.zeros((1, 160 * columns + 240)), np.ones((1, 400))], axis=1)
    padded = np.pad(wave, ((0, 0), (0, later.shape[1]))).astype(np.float32)
    louder = padded + np.pad(later, ((0, 0), (0, wave.shape[1]))).astype(np.float32)
    np.testing.assert_array_equal(
        audio.log_mel(jnp.asarray(louder), 64, columns),
        audio.log_mel(jnp.asarray(padded), 64, columns),
    )


def test_a_window_without_enough_sound_is_an_error():
    with pytest.raises(ValueError, match="fewer than 61 columns"):
        audio.log_mel(jnp.asarray(_sound()), 64, 61)


def test_silence_is_finite():
    silent = audio.log_mel(jnp.zeros((2, 1_600)), 128, 10)
    np.testing.assert_allclose(silent, np.log(audio.FLOOR), rtol=1e-6)
    assert np.isfinite(silent).all()


def test_roll_moves_columns_and_loses_none():
    x = jnp.arange(3 * 20.0).reshape(3, 20, 1)
    rolled = np.asarray(jax.jit(audio.roll)(x, _keys(3)))
    shifts = []
    for before, after in zip(np.asarray(x), rolled, strict=True):
        shifts.append(int(np.flatnonzero(after[:, 0] == before[0, 0])[0]))
        np.testing.assert_array_equal(np.roll(before, shifts[-1], axis=0), after)
    assert len(set(shifts)) > 1


def test_spec_augment_masks_bands_and_spans_of_the_asked_size():
    x = jnp.ones((64, 50, 32))
    one_each = functools.partial(
        audio.spec_augment, freq_masks=1, freq_mask_bins=8, time_masks=1, time_mask_columns=20
    )
    found = np.asarray(jax.jit(one_each)(x, _keys(64)))
    bands = (found == 0).all(1)  # [b, m]
    spans = (found == 0).all(2)  # [b, t]
    np.testing.assert_array_equal(found == 0, bands[:, None] | spans[:, :, None])
    assert bands.sum(1).max() == 7 and spans.sum(1).max() <= 19 and spans.sum(1).mean() > 5
    for row in (*bands, *spans):  # one mask is one run
        assert (np.diff(row.astype(int)) == 1).sum() + row[0] <= 1
    assert bands.any(0).all() and spans.any(0).all()


def test_spec_augment_without_masks_changes_nothing():
    x = jnp.ones((2, 5, 4))
    np.testing.assert_array_equal(audio.spec_augment(x, _keys(2)), x)


def test_a_row_is_augmented_alike_wherever_it_stands():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 30, 8)), jnp.float32)
    keys, order = _keys(4), np.array([2, 0, 3, 1])
    both = jax.jit(
        lambda x, k: audio.spec_augment(audio.roll(x, k), k, freq_masks=2, freq_mask_bins=4)
    )
    np.testing.assert_array_equal(both(x, keys)[order], both(x[order], keys[order]))


@pytest.mark.parametrize("hertz", [300.0, 1_000.0, 4_000.0])
def test_griffin_lim_gives_a_tone_back(hertz):
    t = np.arange(16_000) / 16_000
    wave = (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
    mel = np.asarray(audio.log_mel(jnp.asarray(wave[None]), 128, 100))[0]
    found = audio.griffin_lim(mel)
    assert found.shape == (16_000,) and found.dtype == np.float32
    peak = np.abs(np.fft.rfft(found[2_000:14_000])).argmax() * 16_000 / 12_000
    assert abs(peak - hertz) < 0.03 * hertz
    assert 0.5 < found[2_000:14_000].std() / wave.std() < 1.5


def test_griffin_lim_fits_the_spectrogram_and_keeps_silence_silent():
    wave = _sound()
    mel = np.asarray(audio.log_mel(jnp.asarray(wave), 128, 60))[0]
    again = np.asarray(audio.log_mel(jnp.asarray(audio.griffin_lim(mel)[None]), 128, 60))[0]
    loud = mel > -4.0
    assert np.abs(again - mel)[loud].mean() < 0.6
    silent = np.full((20, 128), np.log(audio.FLOOR), np.float32)
    np.testing.assert_array_equal(audio.griffin_lim(silent), 0.0)
    np.testing.assert_array_equal(audio.griffin_lim(silent * np.nan), 0.0)
