"""What a data set holds, by its own description; no record is read, and TensorFlow not loaded."""

from collections.abc import Iterable

from av_mae.config import schema
from av_mae.input import records


def of(dataset: schema.Dataset) -> records.Info:
    """Describes a data set: by its own file, or by the config where it has none.

    Raises:
        ConfigError: there is no data set at dataset.path.
        DataError: its description is damaged.
    """
    if dataset.format != "mediasequence":
        return records.Info.load(dataset.path)
    from av_mae.input import mediasequence  # reads the first records, by TensorFlow

    return mediasequence.info(dataset.path, dataset.mediasequence)


def lacking(
    dataset: schema.Dataset, split: records.Split, modalities: Iterable[str]
) -> frozenset[str]:
    """The modalities that some clip may lack: batches say then which rows have them.

    Our records count them; tf.SequenceExample files do not, so there the config decides.
    """
    if dataset.format != "mediasequence":
        return frozenset(name for name in modalities if split.lacking(name))
    return frozenset() if dataset.mediasequence.complete else frozenset(modalities)
