"""A csv file with a header: path (or file), label (or labels: a;b), split, start, end, id.

Only the path is needed. Paths are relative to the csv, or to --media. Without split, --val_share of
the clips become `val`; start and end are seconds in the file; id defaults to the path.
"""

import collections
import csv
import difflib
import io
import math
import os
import pathlib
import re

from av_mae.input import storage
from av_mae.prepare import datasets

TAKES = ("media", "val_share", "ignore_columns")

_ALIASES = {"file": "path", "labels": "label"}
_COLUMNS = ("path", "label", "split", "start", "end", "id")


def clips(
    source: str, options: datasets.Options, *, kind: datasets.Kind = "video"
) -> datasets.Listing:
    """Lists the clips of a csv file, all of one kind.

    A row without a file, or without a label where the csv has labels, is refused; everything else
    that is wrong with the csv stops the run.

    Raises:
        ValueError: no such file, a column or value that is not understood, an id that occurs
            twice, or no row.
    """
    if not source:
        raise ValueError("--source is missing; give a csv file")
    path = storage.path(source)
    rows = _rows(path, options.ignore_columns)
    media = options.media or str(path.parent)
    listed = [_Row(path, number, row) for number, row in rows]
    _check_unique(path, listed)
    entries = [row.entry(media, kind) for row in listed]
    if "split" not in rows[0][1]:
        entries = datasets.split_off(entries, options.val_share)
    refused = {}
    for entry in entries:
        # A store is asked for each file only once it is read.
        if not storage.is_address(entry.path) and not os.path.lexists(entry.path):
            refused[entry.id] = "file not found"
        elif "label" in rows[0][1] and not entry.labels:
            refused[entry.id] = "no label: the csv has labels, but none in this row"
    if len(refused) == len(entries):
        _explain_all_refused(path, entries[0], refused, options)
    return datasets.Listing(
        tuple(entry for entry in entries if entry.id not in refused),
        tuple(
            datasets.Refused(entry.id, entry.source, refused[entry.id])
            for entry in entries
            if entry.id in refused
        ),
    )


class _Row:
    """One line of the csv, understood."""

    def __init__(self, csv_path: pathlib.Path, number: int, row: dict[str, str]) -> None:
        self._where = f"{csv_path}, line {number}"
        self.number = number
        self._path = row["path"]
        if not self._path:
            raise ValueError(f"{self._where}: the path is empty")
        self._labels = tuple(
            dict.fromkeys(
                name.strip() for name in re.split(r"[;|]", datasets.readable(row.get("label", "")))
            )
        )
        self._split = self._known_split(row.get("split", "train"))
        self._start = self._seconds("start", row.get("start", ""))
        self._end = self._seconds("end", row.get("end", ""))
        if self._end is not None and self._end <= (self._start or 0.0):
            raise ValueError(f"{self._where}: end {self._end:g} is not after start")
        self.id = datasets.readable(row.get("id", "") or self._path + self._part())

    def entry(self, media: str, kind: datasets.Kind) -> datasets.Entry:
        if kind == "picture" and self._part():
            raise ValueError(f"{self._where}: a picture has no start and end; leave them empty")
        return datasets.Entry(
            id=self.id,
            path=storage.join(media, self._path),
            source=self._path,
            split=self._split,
            labels=tuple(name for name in self._labels if name),
            start=self._start,
            end=self._end,
            kind=kind,
        )

    def _part(self) -> str:
        if self._start is None and self._end is None:
            return ""
        end = "" if self._end is None else f"{self._end:g}"
        return f"@{self._start or 0:g}-{end}"

    def _known_split(self, name: str) -> str:
        name = name.strip().lower()
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"{self._where}: split {name!r}, expected train, val or test")
        return datasets.SPLITS.get(name, name)

    def _seconds(self, column: str, text: str) -> float | None:
        if not text.strip():
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0.0 <= seconds < math.inf:
            raise ValueError(f"{self._where}: {column} {text!r}, expected seconds, as in 12.5")
        return seconds


def _rows(path: pathlib.Path, ignored: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise ValueError(f"--source={path} is not a file; give a csv with a header")
    # Names of files need not be text in any encoding; a spreadsheet may begin with a mark.
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""))
    header = _header(path, next(reader, []), ignored)
    rows = [(reader.line_num, _cells(path, reader.line_num, header, row)) for row in reader]
    rows = [(number, row) for number, row in rows if row]
    if not rows:
        raise ValueError(f"{path} has no rows below its header")
    return rows


def _header(path: pathlib.Path, names: list[str], ignored: tuple[str, ...]) -> list[str | None]:
    if not any(names):
        raise ValueError(f"{path} is empty; expected a header such as path,label,split")
    header = [None if name.strip() in ignored else name.strip().lower() for name in names]
    header = [_ALIASES.get(name, name) if name else name for name in header]
    unknown = [name for name in header if name is not None and name not in _COLUMNS]
    if unknown:
        raise ValueError(_unknown(path, unknown))
    if "path" not in header:
        raise ValueError(f"{path} has no column path (or file); its header is {','.join(names)}")
    twice = [n for n, count in collections.Counter(header).items() if n and count > 1]
    if twice:
        raise ValueError(f"{path} has two columns for {twice[0]}; keep one")
    return header


def _unknown(path: pathlib.Path, unknown: list[str]) -> str:
    near = difflib.get_close_matches(unknown[0], (*_COLUMNS, *_ALIASES), n=1)
    hint = f"did you mean {near[0]!r}? Or" if near else "known: path label split start end id;"
    return (
        f"{path} has unknown columns: {', '.join(map(repr, unknown))}; {hint} leave them out "
        f"with --ignore_columns={','.join(unknown)}"
    )


def _cells(
    path: pathlib.Path, number: int, header: list[str | None], row: list[str]
) -> dict[str, str]:
    if not any(cell.strip() for cell in row):
        return {}
    if len(row) != len(header):
        raise ValueError(
            f"{path}, line {number}: {len(row)} cells, the header has {len(header)}; "
            "put names with commas in quotes"
        )
    return {name: cell for name, cell in zip(header, row, strict=True) if name}


def _check_unique(path: pathlib.Path, rows: list[_Row]) -> None:
    first: dict[str, int] = {}
    for row in rows:
        if row.id in first:
            raise ValueError(
                f"{path}: clip {row.id!r} is in line {first[row.id]} and in line {row.number}; "
                "join its labels with ';', give the rows different parts, or add a column id"
            )
        first[row.id] = row.number


def _explain_all_refused(
    path: pathlib.Path, entry: datasets.Entry, refused: dict[str, str], options: datasets.Options
) -> None:
    if refused[entry.id] == "file not found":
        hint = "correct --media" if options.media else "say with --media where the files lie"
    else:
        hint = "fill in the labels, or leave the column out for unlabelled clips"
    raise ValueError(
        f"none of the {len(refused):,} clips of {path} can be prepared: {refused[entry.id]} "
        f"({entry.path}); {hint}"
    )
