"""TensorBoard events: scalars, still pictures, sound and texts, written by clu in a thread."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from av_mae.report import media, pictures


class Board:
    """Writes events into `folder`. TensorFlow is imported here, so only where a Board is made.

    Args:
        hparams: nested dict of the experiment, for the hyperparameter tab.
        resume_step: events of later steps written by an earlier session are dropped.
    """

    def __init__(self, folder: pathlib.Path, hparams: Mapping[str, Any], resume_step: int | None):
        import tensorflow as tf
        from clu import metric_writers

        # Events need no accelerator, and TensorFlow would take all of its memory.
        if tf.config.get_visible_devices("GPU"):
            tf.config.set_visible_devices([], "GPU")
        folder.mkdir(parents=True, exist_ok=True)
        if resume_step is not None:
            for path in folder.glob("events.out.tfevents.*"):
                _drop_after(path, resume_step)
        self._writer = metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))
        self._writer.write_hparams(_flat(hparams))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One curve point for each name."""
        self._writer.write_scalars(step, dict(values))

    def example(self, step: int, name: str, example: pictures.Example) -> None:
        """Film strips, spectrograms (original, masked, predicted from top to bottom) and sound."""
        images = {}
        if example.frames:
            images[f"{name}/frames"] = pictures.films(example.frames)
        if example.spectrograms:
            images[f"{name}/spectrogram"] = pictures.spectrograms(example.spectrograms)
        self._writer.write_images(step, images)
        sounds = {
            f"{name}/{kind}": example.waves[kind][None, :, None]
            for kind in ("original", "predicted")
            if kind in example.waves
        }
        self._writer.write_audios(step, sounds, sample_rate=media.SAMPLE_RATE)

    def text(self, step: int, text: str) -> None:
        """A sentence in the text tab."""
        self._writer.write_texts(step, {"notes": text})

    def flush(self) -> None:
        """Waits until everything is in the file."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and ends the file."""
        self._writer.close()


def _drop_after(path: pathlib.Path, last_step: int) -> None:
    """Rewrites an event file without the steps after `last_step`; a torn end goes too.

    TensorBoard's own way, a session-start event, is ignored by some of its readers.
    """
    import tensorflow as tf

    unfinished = path.with_name("unfinished")  # no name that TensorBoard would read
    dropped = False
    with tf.io.TFRecordWriter(str(unfinished)) as file:
        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                if tf.compat.v1.Event.FromString(record).step > last_step:
                    dropped = True
                else:
                    file.write(bytes(record))
        except tf.errors.DataLossError:  # a kill in the middle of a write
            dropped = True
    if dropped:
        os.replace(unfinished, path)
    else:
        unfinished.unlink()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            plain = isinstance(value, (bool, int, float, str))
            flat[prefix + key] = value if plain else str(value)
    return flat
