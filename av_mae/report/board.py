"""TensorBoard events, which clu writes in a thread."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any


def open_writer(folder: pathlib.Path, hparams: Mapping[str, Any], resume_step: int | None) -> Any:
    """A `clu.metric_writers` writer into `folder`; TensorFlow is imported only where there is one.

    Args:
        hparams: of the experiment by dotted key, for the hyperparameter tab.
        resume_step: events of later steps written by an earlier session are dropped.
    """
    import tensorflow as tf
    from clu import metric_writers

    # Events need no accelerator, and TensorFlow would take all of its memory.
    if tf.config.get_visible_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")
    folder.mkdir(parents=True, exist_ok=True)
    if resume_step is not None:
        for path in folder.glob("events.out.tfevents.*"):
            _drop_after(path, resume_step)
    writer = metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))
    plain = (bool, int, float, str)
    writer.write_hparams({k: v if isinstance(v, plain) else str(v) for k, v in hparams.items()})
    return writer


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
