"""Sound on the device: log-mel spectrograms from waveforms, their normalisation and augmentation.

16 kHz, 25 ms symmetric Hamming window, 10 ms hop, 512-point DFT, power, HTK mel bands from 0 to
8 kHz, natural logarithm: what kaldi computes without pre-emphasis, dither and offset removal, and
tf.signal with a symmetric window.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from av_mae.config.modality import Audio

Spectrograms = Float[Array, "b t m"]

SAMPLE_RATE = Audio.sample_rate
HOP = Audio.hop
WINDOW = 400
FFT = 512
# Kaldi's floor of a band's energy: float32's machine epsilon, so that silence is log(floor).
FLOOR = 1.1920929e-07

# Of `griffin_lim`: iterations for the phases and their momentum (the paper's alpha), and updates
# of the power under the mel bands.
_PHASES, _MOMENTUM = 32, 0.99
_UPDATES = 10


def log_mel(
    wave_bs: Float[Array, "b s"], mels: int, columns: int
) -> Float[Array, "b {columns} {mels}"]:
    """Log-mel spectrogram of 16 kHz sound in [-1, 1].

    Column i covers the samples from 160 i to 160 i + 400; behind the end there are zeros, so a
    window of `160 * columns` samples gives exactly `columns` columns, in every part of a clip.
    Silence is log(FLOOR) = -15.9 in every band.
    """
    if wave_bs.shape[1] < HOP * columns:
        raise ValueError(
            f"sound of {wave_bs.shape[1]} samples has fewer than {columns} columns of {HOP}; "
            "pad it with zeros or ask for fewer columns"
        )
    # Overlapping windows [b, columns, 400], as whole hops side by side (no gather).
    hops = -(-WINDOW // HOP)
    wave_bs = wave_bs[:, : (columns + hops - 1) * HOP]
    missing = (columns + hops - 1) * HOP - wave_bs.shape[1]
    x = jnp.pad(wave_bs, ((0, 0), (0, missing))).reshape(wave_bs.shape[0], -1, HOP)
    x = jnp.concatenate([x[:, i : i + columns] for i in range(hops)], axis=-1)[..., :WINDOW]

    mel_mk = np.asarray(mel_filters(mels), np.float32)
    power_btk = _power(x)
    energy_btm = jnp.matmul(power_btk, mel_mk.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.log(jnp.maximum(energy_btm, FLOOR))


def roll(x_btm: Spectrograms, keys_b: Key[Array, " b"]) -> Spectrograms:
    """Shifts each spectrogram circularly by a random number of columns."""

    def one(x_tm: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.roll(x_tm, jax.random.randint(key, (), 0, x_tm.shape[0]), axis=0)

    return jax.vmap(one)(x_btm, keys_b)


def spec_augment(
    x_btm: Spectrograms,
    keys_b: Key[Array, " b"],
    *,
    freq_masks: int = 0,
    freq_mask_bins: int = 0,
    time_masks: int = 0,
    time_mask_columns: int = 0,
) -> Spectrograms:
    """Sets random bands and time spans to 0, the data set's mean of normalised spectrograms.

    Each mask is int(U[0, 1) * (its largest size)) wide and lies anywhere inside; masks may overlap
    (SpecAugment, Park et al. 2019).
    """

    def one(x_tm: jax.Array, key: jax.Array) -> jax.Array:
        time_key, freq_key = jax.random.split(key)
        hidden_t = _spans(time_key, time_masks, time_mask_columns, x_tm.shape[0])
        hidden_m = _spans(freq_key, freq_masks, freq_mask_bins, x_tm.shape[1])
        return jnp.where(hidden_t[:, None] | hidden_m[None, :], 0.0, x_tm)

    return jax.vmap(one)(x_btm, keys_b)


def griffin_lim(log_mel_tm: Float[np.ndarray, "t m"]) -> Float[np.ndarray, " s"]:
    """Sound whose log-mel spectrogram is close to a given one, `160 * t` samples, on the host.

    For listening to predictions. The mel bands are inverted by non-negative least squares, phases
    are found by the accelerated Griffin-Lim iteration (Perraudin et al. 2013), from fixed noise.

    Args:
        log_mel_tm: as `log_mel` makes it, not normalised; NaN is silent.
    """
    energy_tm = np.nan_to_num(np.exp(log_mel_tm.astype(np.float64)))
    energy_tm[energy_tm <= FLOOR * 1.01] = 0.0
    magnitude_tk = np.pad(np.sqrt(_invert_mel(energy_tm)), ((0, 0), (1, 1)))
    phase_tk = np.exp(2j * np.pi * np.random.default_rng(0).random(magnitude_tk.shape))
    before_tk = np.zeros_like(phase_tk)
    for _ in range(_PHASES):
        wave_s = _overlap_add(magnitude_tk * phase_tk)
        windows_tw = np.lib.stride_tricks.sliding_window_view(wave_s, WINDOW)[::HOP]
        spectrum_tk = np.fft.rfft(windows_tw[: len(phase_tk)] * np.hamming(WINDOW), FFT)
        ahead_tk = spectrum_tk + _MOMENTUM * (spectrum_tk - before_tk)
        before_tk = spectrum_tk
        phase_tk = ahead_tk / np.maximum(np.abs(ahead_tk), 1e-12)
    wave_s = _overlap_add(magnitude_tk * phase_tk)[: HOP * len(magnitude_tk)]
    return np.clip(wave_s, -1.0, 1.0).astype(np.float32)


@functools.cache
def mel_filters(mels: int) -> np.ndarray:
    """Triangles `[mels, 255]` over the DFT bins 1..255, equally spaced and linear in HTK mels.

    Bins 0 and 256 lie on the outer edges and weigh nothing. Narrow low bands may hold no bin and
    stay at the floor, as in kaldi and tf.signal.
    """
    mel_k, (low, high) = (
        1127.0 * np.log1p(hertz / 700.0)
        for hertz in (np.arange(1, FFT // 2) * SAMPLE_RATE / FFT, np.array([0.0, SAMPLE_RATE / 2]))
    )
    edges = np.linspace(low, high, mels + 2)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (mel_k - left) / (centre - left)
    falling = (right - mel_k) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def _power(x_btw: jax.Array) -> jax.Array:
    """Power `[b t 255]` of the windowed DFT at bins 1..255, by two matrix products.

    About the middle of the window the symmetric half has only cosines and the antisymmetric half
    only sines, which halves the products. They shard over any axis and run on matrix units, where
    an FFT does neither.
    """
    n = np.arange(WINDOW // 2)[:, None]
    window = 0.54 - 0.46 * np.cos(2 * np.pi * n / (WINDOW - 1))
    angle = 2 * np.pi / FFT * (n - (WINDOW - 1) / 2) * np.arange(1, FFT // 2)
    cosines, sines = (np.float32(window * wave(angle)) for wave in (np.cos, np.sin))
    first, second = x_btw[..., : WINDOW // 2], x_btw[..., : WINDOW // 2 - 1 : -1]
    highest = jax.lax.Precision.HIGHEST
    real = jnp.matmul(first + second, cosines, precision=highest)
    imag = jnp.matmul(first - second, sines, precision=highest)
    return real**2 + imag**2


def _spans(key: jax.Array, count: int, largest: int, size: int) -> jax.Array:
    """True `[size]` inside any of `count` random spans of at most `largest`."""
    width_key, start_key = jax.random.split(key)
    width = (jax.random.uniform(width_key, (count, 1)) * min(largest, size)).astype(jnp.int32)
    start = (jax.random.uniform(start_key, (count, 1)) * (size - width + 1)).astype(jnp.int32)
    place = jnp.arange(size)
    return ((place >= start) & (place < start + width)).any(0)


def _invert_mel(energy_tm: np.ndarray) -> np.ndarray:
    """Non-negative power `[t 255]` whose mel energies fit, by multiplicative updates.

    Lee and Seung 2001, with the filters fixed.
    """
    mel_mk = mel_filters(energy_tm.shape[1])
    wanted_tk = energy_tm @ mel_mk
    power_tk = wanted_tk / np.maximum(mel_mk.sum(0) * mel_mk.sum(1).mean(), 1e-12)
    for _ in range(_UPDATES):
        power_tk *= wanted_tk / np.maximum(power_tk @ mel_mk.T @ mel_mk, 1e-30)
    return power_tk


def _overlap_add(spectrum_tk: np.ndarray) -> np.ndarray:
    """Least-squares sound of windows, `160 * (t + 2)` samples (Griffin and Lim 1984)."""
    hamming_w = np.hamming(WINDOW)
    windows_tw = np.fft.irfft(spectrum_tk, FFT)[:, :WINDOW] * hamming_w
    columns, hops = len(windows_tw), -(-WINDOW // HOP)
    sums = []
    for x_tw in (windows_tw, np.tile(hamming_w**2, (columns, 1))):
        x_thp = np.pad(x_tw, ((0, 0), (0, hops * HOP - WINDOW))).reshape(columns, hops, HOP)
        total = np.zeros((columns + hops - 1, HOP))
        for i in range(hops):
            total[i : i + columns] += x_thp[:, i]
        sums.append(total.reshape(-1))
    return sums[0] / np.maximum(sums[1], 1e-6)
