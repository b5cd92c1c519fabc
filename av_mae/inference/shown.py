"""Clips and reconstructions as things to look at and listen to: pixels, log-mel values, waves."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from av_mae.config import modality
from av_mae.config.modality import Modalities, video_and_audio
from av_mae.preprocess import audio as audio_lib
from av_mae.preprocess import video as video_lib
from av_mae.report import pictures

_MELS = 128
_COLUMNS = modality.Audio.sample_rate // modality.Audio.hop  # of a spectrogram, a second


def example(
    filled: Mapping[str, Any], row: int, modalities: Modalities, title: str
) -> pictures.Example:
    """Turns one clip of a batch of reconstructions into what a report shows.

    Args:
        filled: what the pretraining task's `reconstruct` returns, by modality: `original`,
            `masked` and `predicted` arrays in the space of the model's inputs, normalised; video
            `[b f h w 3]`, audio `[b t m]`. What is not a number (hidden) becomes grey, and silent.

    Raises:
        ValueError: the sound's mean and std are not known.
    """
    frames, spectrograms, waves, seconds, fps = {}, {}, {}, 0.0, 0.0
    video, audio = video_and_audio(modalities)
    if video is not None and "video" in filled:
        fps, seconds = video.fps / video.stride, video.seconds
        for kind in pictures.KINDS:
            x_fhwc = jnp.asarray(getattr(filled["video"], kind)[row])
            unit = np.asarray(video_lib.denormalise(x_fhwc, video.mean, video.std))
            unit = np.clip(np.nan_to_num(unit, nan=0.5), 0.0, 1.0)
            frames[kind] = (unit * 255.0 + 0.5).astype(np.uint8)
    if audio is not None and "audio" in filled:
        if audio.mean is None or audio.std is None:
            raise ValueError("modalities.audio.mean and modalities.audio.std are None; set both")
        seconds = max(seconds, audio.seconds)
        for kind in pictures.KINDS:
            x_tm = getattr(filled["audio"], kind)[row]
            spectrograms[kind] = (x_tm * audio.std + audio.mean).astype(np.float32)
            waves[kind] = audio_lib.griffin_lim(spectrograms[kind])
    return pictures.Example(title, frames, fps, spectrograms, waves, seconds)


def recorded(
    frames_fhwc: UInt8[np.ndarray, "f h w 3"], fps: float, sound: np.ndarray, title: str
) -> tuple[pictures.Example, Float[np.ndarray, " s"] | None]:
    """(a clip as it was recorded, the sound of its pictures).

    Sound without pictures is seen as its spectrogram instead.

    Args:
        sound: int16 `[s]` at 16 kHz, or natural-log mel energies `[t m]`; empty without.
    """
    frames = {"original": frames_fhwc} if len(frames_fhwc) else {}
    wave_s = (sound / np.float32(2**15)).astype(np.float32) if sound.ndim == 1 else None
    seconds = len(sound) / (modality.Audio.sample_rate if sound.ndim == 1 else _COLUMNS)
    spectrograms, waves = {}, {}
    if not frames and wave_s is None:
        spectrograms = {"original": sound}
    elif not frames and wave_s is not None:
        columns = max(len(wave_s) // modality.Audio.hop, 1)
        log_mel_btm = audio_lib.log_mel(jnp.asarray(wave_s[None]), _MELS, columns)
        spectrograms, waves = {"original": np.asarray(log_mel_btm[0])}, {"original": wave_s}
    made = pictures.Example(title, frames, fps, spectrograms, waves, seconds)
    return made, wave_s if frames and wave_s is not None and len(wave_s) else None
