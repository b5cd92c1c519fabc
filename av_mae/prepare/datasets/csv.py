"""A csv file with a header: path (or file), label (or labels: a;b), split, start, end, id.

Only the path is needed. Paths are relative to the csv, or to --media. Without split, --val_share of
the clips become `val`; start and end are seconds in the file; id defaults to the path. With
kind=frames a path is a folder of extracted frames, frame_rate of them a second, default 25.
"""

import collections
import csv
import dataclasses
import difflib
import io
import math
import os
import pathlib
import re

from av_mae.input import storage
from av_mae.prepare.lists import extracted, listing
from av_mae.prepare.lists.listing import Entry, Kind, Listing, Options, Refused

TAKES = ("media", "val_share", "ignore_columns")

_ALIASES = {"file": "path", "labels": "label"}
_COLUMNS = ("path", "label", "split", "start", "end", "id")


def clips(
    source: str, options: Options, *, kind: Kind = "video", frame_rate: float = 0.0
) -> Listing:
    """Lists the clips of a csv file, all of one kind.

    A row without a file, or without a label where the csv has labels, is refused; everything else
    that is wrong with the csv stops the run.

    Raises:
        ValueError: no such file, a column or value that is not understood, an id that occurs
            twice, or no row.
    """
    if not source:
        raise ValueError("--source is missing; give a csv file")
    rate = extracted.rate(kind, frame_rate)
    path = storage.path(source)
    rows = _rows(path, options.ignore_columns)
    columns = rows[0][1]
    entries: list[Entry] = []
    first: dict[str, int] = {}
    for number, row in rows:
        where = f"{path}, line {number}"
        entry = _entry(where, row, options.media or str(path.parent), kind)
        entry = dataclasses.replace(entry, frame_rate=rate)
        if entry.id in first:
            raise ValueError(
                f"{path}: clip {entry.id!r} is in line {first[entry.id]} and in line {number}; "
                "join its labels with ';', give the rows different parts, or add a column id"
            )
        first[entry.id] = number
        entries.append(entry)
    if "split" not in columns:
        entries = listing.split_off(entries, options.val_share)

    kept, refused = [], []
    for entry in entries:
        # Remote files are not checked before they are read.
        if not storage.is_address(entry.path) and not os.path.lexists(entry.path):
            refused.append(Refused(entry.id, entry.source, "file not found"))
        elif "label" in columns and not entry.labels:
            reason = "no label: the csv has labels, but none in this row"
            refused.append(Refused(entry.id, entry.source, reason))
        else:
            kept.append(entry)
    if not kept:
        reason = refused[0].reason
        if reason != "file not found":
            hint = "fill in the labels, or leave the column out for unlabelled clips"
        elif options.media:
            hint = "correct --media"
        else:
            hint = "say with --media where the files lie"
        raise ValueError(
            f"none of the {len(refused):,} clips of {path} can be prepared: {reason} "
            f"({entries[0].path}); {hint}"
        )
    warnings = extracted.warnings(kept) if kind == "frames" else ()
    return Listing(tuple(kept), tuple(refused), warnings=tuple(warnings))


def _entry(where: str, row: dict[str, str], media: str, kind: Kind) -> Entry:
    """The clip of one row; `where` is file and line for messages."""
    source = row["path"]
    if not source:
        raise ValueError(f"{where}: the path is empty")
    names = re.split(r"[;|]", listing.readable(row.get("label", "")))
    labels = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    split = row.get("split", "train").strip().lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", split):
        raise ValueError(f"{where}: split {split!r}, expected train, val or test")
    times: dict[str, float] = {}
    for column in ("start", "end"):
        if text := row.get(column, "").strip():
            try:
                times[column] = float(text)
            except ValueError:
                times[column] = -1.0
            if not 0.0 <= times[column] < math.inf:
                raise ValueError(f"{where}: {column} {text!r}, expected seconds, as in 12.5")
    start, end = times.get("start"), times.get("end")
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"{where}: end {end:g} is not after start")
    part = ""
    if times:
        if kind == "picture":
            raise ValueError(f"{where}: a picture has no start and end; leave them empty")
        part = f"@{start or 0:g}-" + ("" if end is None else f"{end:g}")
    id = listing.readable(row.get("id", "") or source + part)
    split = listing.SPLITS.get(split, split)
    return Entry(id, storage.join(media, source), source, split, labels, start, end, kind)


def _rows(path: pathlib.Path, ignored: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: cell}) of every row that is not blank."""
    if not path.is_file():
        raise ValueError(f"--source={path} is not a file; give a csv with a header")
    # Names of files need not be text in any encoding; a spreadsheet may begin with a mark.
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""))
    names = next(reader, [])
    if not any(names):
        raise ValueError(f"{path} is empty; expected a header such as path,label,split")
    # The column of each cell; None for one that is not read.
    header = [None if name.strip() in ignored else name.strip().lower() for name in names]
    header = [_ALIASES.get(name, name) if name else name for name in header]
    unknown = [name for name in header if name is not None and name not in _COLUMNS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], (*_COLUMNS, *_ALIASES), n=1)
        hint = f"did you mean {near[0]!r}? Or" if near else "known: path label split start end id;"
        raise ValueError(
            f"{path} has unknown columns: {', '.join(map(repr, unknown))}; {hint} leave them out "
            f"with --ignore_columns={','.join(unknown)}"
        )
    if "path" not in header:
        raise ValueError(f"{path} has no column path (or file); its header is {','.join(names)}")
    twice = [n for n, count in collections.Counter(header).items() if n and count > 1]
    if twice:
        raise ValueError(f"{path} has two columns for {twice[0]}; keep one")
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ValueError(
                f"{path}, line {reader.line_num}: {len(cells)} cells, the header has "
                f"{len(header)}; put names with commas in quotes"
            )
        named = {name: cell for name, cell in zip(header, cells, strict=True) if name}
        rows.append((reader.line_num, named))
    if not rows:
        raise ValueError(f"{path} has no rows below its header")
    return rows
