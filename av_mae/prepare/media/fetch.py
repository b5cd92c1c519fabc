"""Brings a remote media file to this machine for as long as it is decoded."""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator

from av_mae.input import storage
from av_mae.prepare.media import container

_ATTEMPTS = 3
_PIECE = 2**20


class FetchError(OSError):
    """A store that does not answer: no fault of the file, so the run stops and can go on later."""


@contextlib.contextmanager
def local(path: str, folder: str, limits: container.Limits) -> Iterator[str]:
    """The path of the file on this machine; a remote one lies in `folder` until the block ends.

    Raises:
        UnreadableError: no such file, none that may be read, or one larger than the limit.
        FetchError: it could not be fetched, three times in a row.
    """
    if not storage.is_address(path):
        yield path
        return
    target = pathlib.Path(folder) / path.rpartition("/")[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        for attempt in range(_ATTEMPTS):
            try:
                with storage.path(path).open("rb") as reading, open(target, "wb") as writing:
                    while piece := reading.read(_PIECE):
                        writing.write(piece)
                        if writing.tell() > limits.fetched:
                            limit = f"more than {limits.fetched / 2**30:g} GiB"
                            raise container.UnreadableError(f"too large to fetch: {limit}")
                break
            except container.UnreadableError:
                raise
            except FileNotFoundError as error:
                raise container.UnreadableError("file not found: no such object") from error
            except PermissionError as error:
                raise container.UnreadableError("no permission: it may not be read") from error
            except Exception as error:  # every store has errors of its own
                if attempt + 1 == _ATTEMPTS:
                    raise FetchError(f"{path} cannot be fetched: {error or repr(error)}") from error
            time.sleep(2.0**attempt)
        yield os.fspath(target)
    finally:
        target.unlink(missing_ok=True)
