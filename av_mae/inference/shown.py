"""A reconstruction as things to look at and listen to: pixels, log-mel values, waveforms."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from av_mae.config.modality import Modalities, video_and_audio
from av_mae.preprocess import audio as audio_lib
from av_mae.preprocess import video as video_lib
from av_mae.report import pictures


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
