"""A folder of records prepared at first use, each entry named after its media and its settings."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from av_mae.prepare import datasets
from av_mae.prepare.shards import assignment
from av_mae.prepare.shards.settings import Settings

_DIGITS = 12


def entry(
    cache: pathlib.Path,
    listing: datasets.Listing,
    settings: Settings,
    labels: Sequence[str] | None,
) -> pathlib.Path:
    """The folder of the records of these clips: another one if a file or a setting changes.

    A file is known by its size and the time of its last change, not by where it lies.

    Raises:
        ValueError: labels that cannot be.
    """
    names = assignment.label_names(listing.entries, labels)
    content = settings.fingerprint(listing.entries, names)
    content["files"] = sorted((clip.id, *_stamp(clip.path)) for clip in listing.entries)
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    return cache / f"{settings.name}-{digest}"


def _stamp(path: str) -> tuple[Any, ...]:
    try:
        found = os.stat(path)
    except OSError:  # remote, or gone since it was listed
        return (path,)
    return (found.st_size, found.st_mtime_ns)


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
    """Waits until no other process is at this entry, and keeps the others out.

    Raises:
        OSError: the cache cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that prepares {folder}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
