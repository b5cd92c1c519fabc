"""What is wrong with a checkpoint on the disk, in one sentence."""

import contextlib
import pathlib
from collections.abc import Iterator

from av_mae.config import schema

SHOWN = 300  # characters of a reason


@contextlib.contextmanager
def reading(folder: pathlib.Path, part: str = "") -> Iterator[None]:
    """Raises what readers raise of damaged files, orbax bare Exceptions, as a ConfigError."""
    try:
        yield
    except schema.ConfigError as error:
        if str(folder) in str(error):
            raise
        raise schema.ConfigError(f"checkpoint {folder}: {error}") from error
    except Exception as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        reason = part + " ".join((reason or type(error).__name__).split())
        raise schema.ConfigError(f"checkpoint {folder} is damaged: {reason[:SHOWN]}") from error


def size(folder: pathlib.Path) -> int:
    """Bytes of the files in a folder.

    Raises:
        ConfigError: there is something else in it, such as a pipe, which would be read for ever.
    """
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    for path in files:
        if not path.is_file():
            raise schema.ConfigError(f"checkpoint {folder} is damaged: {path} is no regular file")
    return sum(path.stat().st_size for path in files)
