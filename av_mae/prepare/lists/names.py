"""Names that mean the same: files as lists spell them, and labels with composed accents or not."""

import collections
import dataclasses
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Sequence

from av_mae.input import storage
from av_mae.prepare.lists.listing import Entry


def composed(name: str) -> str:
    """The one spelling (Unicode's NFC) of names that look alike: macOS takes accents apart."""
    return unicodedata.normalize("NFC", name)


class Finder:
    """Finds files under a folder as people spell them.

    Besides their own names these are names with blanks around them, with Windows' backslashes,
    and with accents that are composed in another way than on the disc.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._is_remote = folder, storage.is_address(folder)
        self._names: dict[str, dict[str, str]] = {}

    def find(self, name: str) -> str | None:
        """The name on the disc, relative if `name` is; None if there is no such file.

        Remote files are not looked for before they are read: their name is only stripped.
        """
        bare = name.strip()
        if bare and (self._is_remote or storage.is_address(bare)):
            return bare
        for spelling in dict.fromkeys((name, bare, bare.replace("\\", "/"))):
            if spelling and os.path.lexists(os.path.join(self._folder, spelling)):
                return spelling
            if spelling and not spelling.isascii() and (found := self._otherwise(spelling)):
                return found
        return None

    def __contains__(self, name: str) -> bool:
        """Whether there is such a local file."""
        found = self.find(name)
        return found is not None and os.path.lexists(os.path.join(self._folder, found))

    def near(self, name: str) -> str | None:
        """A name in the same folder that differs in its suffix or in capitals only."""
        bare = pathlib.PurePosixPath(name.strip().replace("\\", "/"))
        folder = os.path.join(self._folder, bare.parent)
        for other in sorted(os.listdir(folder) if os.path.isdir(folder) else []):
            names = {other, os.path.splitext(other)[0]}
            if {bare.name.lower(), bare.stem.lower()} & {name.lower() for name in names}:
                return str(bare.with_name(other))
        return None

    def _otherwise(self, name: str) -> str | None:
        """The name with every part composed as on the disc."""
        found: list[str] = []
        for part in pathlib.PurePosixPath(name).parts:
            folder = os.path.join(self._folder, *found)
            if not os.path.lexists(os.path.join(folder, part)):
                if folder not in self._names:
                    listed = os.listdir(folder) if os.path.isdir(folder) else []
                    self._names[folder] = {composed(other): other for other in listed}
                if composed(part) not in self._names[folder]:
                    return None
                part = self._names[folder][composed(part)]
            found.append(part)
        return os.path.join(*found)


def place(path: str) -> str:
    """A path as the disc spells it, if only its accents are composed in another way."""
    if not path or path.isascii() or storage.is_address(path) or os.path.lexists(path):
        return path
    return Finder("").find(path) or path


def one_spelling(entries: Iterable[Entry], given: Sequence[str] = ()) -> list[Entry]:
    """The entries with each label in one spelling: the given one, else the composed one.

    A label that is spelled in one way only keeps it, so that its place among the others stays.
    """
    entries = list(entries)
    spellings: dict[str, set[str]] = collections.defaultdict(set)
    for label in {label for entry in entries for label in entry.labels}:
        spellings[composed(label)].add(label)
    chosen = {key: key for key, names in spellings.items() if len(names) > 1}
    chosen |= {composed(name): name for name in given}
    if not chosen:
        return entries

    known = {*given}

    def spelled(labels: Iterable[str]) -> tuple[str, ...]:
        names = (x if x in known else chosen.get(composed(x), x) for x in labels)
        return tuple(dict.fromkeys(names))

    return [
        dataclasses.replace(
            entry,
            labels=spelled(entry.labels),
            boxes=tuple(dataclasses.replace(b, labels=spelled(b.labels)) for b in entry.boxes),
        )
        for entry in entries
    ]
