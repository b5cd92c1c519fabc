"""What every reader of another program's files raises and returns."""

import numpy as np

from av_mae.config import schema

Arrays = dict[str, np.ndarray]


class ForeignFileError(schema.ConfigError):
    """A file that cannot be read; the message names it, what was expected and what to do."""
