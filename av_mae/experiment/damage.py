"""What is wrong with a checkpoint on the disk, in one sentence."""

import contextlib
import functools
import logging
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

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
        _silence_other_reads()
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        reason = part + " ".join((reason or type(error).__name__).split())
        raise schema.ConfigError(f"checkpoint {folder} is damaged: {reason[:SHOWN]}") from error


@functools.cache  # once is enough
def _silence_other_reads() -> None:
    """Orbax gives up at the first array; the reads of others complain later, with tracebacks."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            before(unraisable)

    sys.unraisablehook = hook


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
