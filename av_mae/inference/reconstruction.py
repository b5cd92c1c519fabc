"""A reconstruction as things to look at and listen to: pixels, log-mel values, waveforms."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from av_mae.config.modality import Audio, Modality, Video
from av_mae.preprocess import audio as audio_lib
from av_mae.preprocess import video as video_lib
from av_mae.report import pictures

KINDS = ("original", "masked", "predicted")


def example(
    views: Mapping[str, Mapping[str, np.ndarray]], modalities: Mapping[str, Modality], title: str
) -> pictures.Example:
    """Turns one clip's reconstruction into what the report shows.

    Args:
        views: `{modality: {original, masked, predicted}}` in the space of the model's inputs:
            video `[f h w 3]`, audio `[t m]`, normalised.
    """
    video, audio = modalities.get("video"), modalities.get("audio")
    frames, spectrograms, waves, seconds, fps = {}, {}, {}, 0.0, 0.0
    if isinstance(video, Video) and "video" in views:
        frames = {kind: to_pixels(views["video"][kind], video) for kind in KINDS}
        fps, seconds = video.fps / video.stride, video.seconds
    if isinstance(audio, Audio) and "audio" in views:
        spectrograms = {kind: to_log_mel(views["audio"][kind], audio) for kind in KINDS}
        waves = {kind: audio_lib.griffin_lim(s) for kind, s in spectrograms.items()}
        seconds = max(seconds, audio.seconds)
    return pictures.Example(
        title=title, frames=frames, fps=fps, spectrograms=spectrograms, waves=waves, seconds=seconds
    )


def to_pixels(x_fhwc: np.ndarray, video: Video) -> np.ndarray:
    """Normalised frames -> uint8 RGB; what is not a number (hidden) becomes grey."""
    unit = video_lib.denormalise(jnp.asarray(x_fhwc), video.mean, video.std)
    unit = np.nan_to_num(np.asarray(unit), nan=0.5)
    return (np.clip(unit, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def to_log_mel(x_tm: np.ndarray, audio: Audio) -> np.ndarray:
    """Normalised spectrogram -> natural-log mel energies."""
    if audio.mean is None or audio.std is None:
        raise ValueError("modalities.audio.mean and modalities.audio.std are None; set both")
    return (x_tm * audio.std + audio.mean).astype(np.float32)
