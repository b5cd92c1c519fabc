"""Paths of data sets: local folders, and addresses (gs://, s3://, ...) of object stores.

Local paths are pathlib's. Addresses are fsspec's, as paths of universal_pathlib with the same
methods. Every file is written under a temporary name and then renamed; in an object store renaming
is a copy inside the store.
"""

import contextlib
import errno
import os
import pathlib
import re
import secrets
import tempfile
from collections.abc import Iterator
from typing import Any, cast

# Names of unfinished files: hidden, and different from those of other programs.
_UNFINISHED = ".tmp"
_TOKEN = 4  # bytes, written as twice as many digits
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def path(where: str | os.PathLike[str]) -> pathlib.Path:
    """A path or address with the methods of pathlib.

    Raises:
        ValueError: an address whose store cannot be read here; says what to install.
    """
    if not is_address(where):
        return pathlib.Path(where)
    try:
        import upath  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{where}: remote files need universal_pathlib: pip install universal-pathlib"
        ) from error
    try:
        found = upath.UPath(where)
        found.fs  # noqa: B018 - loads the driver of the store
    except (ImportError, ValueError) as error:
        raise ValueError(f"{where} cannot be used: {error}") from error
    return cast(pathlib.Path, found)


def is_address(where: object) -> bool:
    """Whether a place is an address such as `gs://bucket/folder`, and no local path."""
    return _ADDRESS.match(str(where)) is not None


def join(folder: str | os.PathLike[str], name: str) -> str:
    """The place of a file in a folder; `name` may itself be an absolute path or an address."""
    if is_address(name):
        return name
    if is_address(folder):
        return f"{str(folder).rstrip('/')}/{name.lstrip('/')}"
    return str(pathlib.Path(folder) / name)


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a file atomically: a reader sees the whole old one or the whole new one.

    Raises:
        OSError: it cannot be written, or the disk is full; no part of it remains.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary local file to write; on exit it is flushed to disk and renamed to `path`.

    After an error it is removed.

    Raises:
        OSError: it cannot be written, or the disk is full.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN)}{_UNFINISHED}")
    with contextlib.ExitStack() as stack:
        temporary = beside
        if is_address(path):
            temporary = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()), path.name)
        try:
            yield temporary
            with open(temporary, "rb+") as file:  # fsync needs a writable file on some systems
                os.fsync(file.fileno())
            _move(temporary, beside, path)
        except OSError as error:
            if error.strerror is None:  # it already says what could not be done
                raise
            raise OSError(f"cannot write {path}: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes from, says that a disk or a quota is full."""
    texts = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)]
    while error is not None:
        if any(text in str(error) for text in texts):
            return True
        error = error.__cause__ or error.__context__
    return False


def unfinished(folder: pathlib.Path) -> list[pathlib.Path]:
    """Temporary files that killed processes have left in a folder."""
    token = "[0-9a-f]" * (2 * _TOKEN)
    return list(folder.glob(f".*.{token}{_UNFINISHED}"))


def sizes(folder: pathlib.Path) -> dict[str, int]:
    """{name: bytes} of the files in a folder by one listing; empty if there is none."""
    if not is_address(folder):
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
            return {entry.name: entry.stat().st_size for entry in found if entry.is_file()}
        return {}
    store = cast(Any, folder)
    with contextlib.suppress(FileNotFoundError):
        listed = store.fs.ls(store.path, detail=True, refresh=True)
        files = [file for file in listed if file["type"] == "file"]
        return {file["name"].rpartition("/")[2]: file["size"] for file in files}
    return {}


def _move(temporary: pathlib.Path, beside: Any, path: Any) -> None:
    """Gives a file its name; in a store it is uploaded `beside` first, so that it appears whole."""
    if not is_address(path):
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return
    try:
        path.fs.put_file(str(temporary), beside.path)
        path.fs.mv(beside.path, path.path)
    except BaseException:
        with contextlib.suppress(Exception):
            path.fs.rm(beside.path)
        raise
