"""The official lists of a data set, found by the names under which they are published.

Everybody unpacks a data set in a different layout. A list is searched in the source folder and any
below it, then around the media; the one nearest to the top is used.
"""

import collections
import csv
import fnmatch
import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

# Suffixes of files that are never media.
LISTS = {
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".pbtxt", ".pkl", ".xml", ".yaml", ".yml", ".html",
    ".md", ".pdf", ".py", ".sh", ".mat",
}  # fmt: skip


class Folders:
    """Where a data set lies: the source folder, and that of the media if it is another."""

    def __init__(self, source: str, media: str | None) -> None:
        """Takes what the command line says.

        Raises:
            ValueError: one is missing or no folder.
        """
        if not source:
            raise ValueError("--source is missing; give the folder of the data set")
        for flag, folder in (("source", source), ("media", media)):
            if folder is not None and not os.path.isdir(folder):
                raise ValueError(f"--{flag}={folder} is not a folder")
        self.source, self.media = pathlib.Path(source), pathlib.Path(media or source)

    def file(self, *names: str, at: str) -> pathlib.Path:
        """The official file of one of several names; `*` in a name stands for anything.

        Args:
            at: the download address, for the message if it is absent.

        Raises:
            ValueError: there is none, or two that differ lie equally deep.
        """
        nearest, *others = self.files(*names, at=at)
        for other in (path for path in others if self._depth(path) == self._depth(nearest)):
            if other.read_bytes() != nearest.read_bytes():
                raise ValueError(
                    f"{nearest} and {other} differ, and either may be the list of this data "
                    "set; name the folder of one with --source, that of the media with --media"
                )
        return nearest

    def files(self, *names: str, at: str) -> list[pathlib.Path]:
        """All official files of one of several names, the nearest to the top first.

        Raises:
            ValueError: there is none.
        """
        found = self.find(*names)
        if not found:
            roots = " or ".join(str(root) for root in dict.fromkeys((self.source, self.media)))
            raise ValueError(
                f"{' or '.join(names)} is not in {roots} or any folder below; get it from {at} "
                "and put it there"
            )
        return found

    def find(self, *names: str) -> list[pathlib.Path]:
        """Like `files`, for what may be absent."""
        return [p for p in self._lists if any(fnmatch.fnmatchcase(p.name, name) for name in names)]

    def _depth(self, path: pathlib.Path) -> tuple[bool, int]:
        """Distance from the top of the source; everything outside of it is farther."""
        return not path.is_relative_to(self.source), len(path.parts)

    @functools.cached_property
    def _lists(self) -> Sequence[pathlib.Path]:
        """The nearest to the top first."""
        roots = dict.fromkeys((self.source, self.media))
        lists = {p for root in roots for p in walk(root) if p.suffix.lower() in LISTS}
        return sorted(lists, key=lambda path: (self._depth(path), str(path)))


def walk(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Every visible file below a folder, in the same order everywhere; links are followed once.

    Raises:
        ValueError: a folder cannot be listed: everything in it would count as missing.
    """

    def unreadable(error: OSError) -> NoReturn:
        raise ValueError(f"{error.filename} cannot be listed: {error.strerror}") from error

    seen = {identity(parent) for parent in pathlib.Path(root).resolve().parents}
    for folder, below, files in os.walk(root, followlinks=True, onerror=unreadable):
        if identity(folder) in seen:
            below.clear()
            continue
        seen.add(identity(folder))
        below[:] = sorted((name for name in below if not name.startswith(".")), key=os.fsencode)
        for name in sorted(files, key=os.fsencode):
            if not name.startswith("."):
                yield pathlib.Path(folder, name)


def identity(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """What a folder is by whatever name it is reached."""
    stat = os.stat(folder)
    return stat.st_dev, stat.st_ino


def rows(path: pathlib.Path, *columns: str) -> Iterator[dict[str, str]]:
    """Rows of a csv with a header, which must have the given columns and may have others.

    Raises:
        ValueError: a column is missing, or a row lacks cells.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path} has no column {', '.join(missing)}; its first line is "
                f"{','.join(reader.fieldnames or ()) or 'empty'!r}, so it is not the official file"
            )
        for row in reader:
            if any(row[name] is None for name in columns):
                raise ValueError(f"{path}, line {reader.line_num}: cut off; get the file again")
            yield row


def lines(path: pathlib.Path) -> list[str]:
    """The lines of a text that are not blank, stripped."""
    text = path.read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def seconds(text: str, path: pathlib.Path) -> float:
    """A time in a list.

    Raises:
        ValueError: it is none.
    """
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path}: {text!r} is no time in seconds; get the file again") from error


def number(text: str, path: pathlib.Path) -> int:
    """A whole number in a list, such as that of a class.

    Raises:
        ValueError: it is none.
    """
    if not text.strip().isdecimal():
        raise ValueError(f"{path}: {text!r} is no number; get the file again")
    return int(text)


def labels(numbered: Iterable[tuple[int, str]], path: pathlib.Path) -> tuple[str, ...]:
    """Label names in the order of their numbers; a pair may be given several times.

    Raises:
        ValueError: there is no name, or one has two numbers.
    """
    names = [name for _, name in sorted(set(numbered))]
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice or not names:
        what = f"the class {twice[0]!r} twice" if twice else "no class"
        raise ValueError(f"{path} names {what}")
    return tuple(names)
