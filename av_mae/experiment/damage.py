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
_LATE = "Event loop is closed"


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
        silence_late_tracebacks()
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        reason = part + " ".join((reason or type(error).__name__).split())
        raise schema.ConfigError(f"checkpoint {folder} is damaged: {reason[:SHOWN]}") from error


@functools.cache  # once is enough
def silence_late_tracebacks() -> None:
    """Orbax gives up at the first array; reads and writes of others complain later, at length."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    dropped, raised = sys.unraisablehook, sys.excepthook

    def unraisable_hook(unraisable: Any) -> None:
        if _LATE not in str(unraisable.exc_value):
            dropped(unraisable)

    def except_hook(kind: Any, error: Any, trace: Any) -> None:
        if _LATE not in str(error):
            raised(kind, error, trace)

    sys.unraisablehook, sys.excepthook = unraisable_hook, except_hook


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
