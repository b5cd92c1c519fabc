"""What a data set holds, by its own description; no record is read, and TensorFlow not loaded."""

from av_mae import config
from av_mae.input import records


def of(dataset: config.Dataset) -> records.Info:
    """Describes a data set: by its own file, or by the config where it has none.

    Raises:
        ConfigError: there is no data set at dataset.path.
        DataError: its description is damaged.
    """
    if dataset.format != "mediasequence":
        return records.Info.load(dataset.path)
    from av_mae.input import mediasequence  # reads the first records, by TensorFlow

    return mediasequence.info(dataset.path, dataset.mediasequence)
