"""A csv or another list of clips: path (or file), label (or labels: a;b), split, start, end, id.

Only the path is needed. Paths are relative to the csv, or to --media. Without split, --val_share of
the clips become `val`; start and end are seconds in the file, or 1:02:03.5; id defaults to the
path. Lists separated by semicolons, tabs or blanks, and without header, are understood. With
kind=frames a path is a folder of extracted frames, frame_rate of them a second, default 25.
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from av_mae.input import storage
from av_mae.prepare.lists import extracted, listing, names, splits, table, text
from av_mae.prepare.lists.listing import Entry, Kind, Listing, Options, Refused

TAKES = ("media", "val_share", "test_share", "ignore_columns")

# What programs write for an empty cell.
_NOTHING = {"", "nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nat"}
_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):([0-5]?\d(?:\.\d*)?)")


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
    if not path.is_file():
        raise ValueError(f"--source={path} is not a file; give a csv with a header")
    media = options.media or str(path.parent)
    finder = names.Finder(media)
    content, notes = text.read(path)
    read = table.read(path, content, options.ignore_columns, finder.__contains__)
    cells = [pair for _, row in read.rows for pair in row.items()]
    recoded, said = text.recode(path, cells, finder.__contains__)
    notes += [*read.notes, *said]
    rows = [(n, {key: recoded(cell) for key, cell in row.items()}) for n, row in read.rows]
    columns = rows[0][1].keys()
    labels, said = _labels(path, [row.get("label", "") for _, row in rows])
    notes += said
    meant, said = splits.meanings(_cell(row, "split") for _, row in rows if "split" in columns)
    notes += said
    comma = read.delimiter != ","  # then one is decimal

    entries: list[Entry] = []
    first: dict[str, int] = {}
    others: dict[str, str] = {}
    for (number, row), label in zip(rows, labels, strict=True):
        where = f"{path}, line {number}"
        source = finder.find(row["path"]) or row["path"]
        if source != row["path"]:
            others[row["path"]] = source
        split = meant[_cell(row, "split")] if "split" in columns else "train"
        entry = _entry(where, row | {"path": source}, split, label, comma=comma, kind=kind)
        place = storage.join(media, source)
        entry = dataclasses.replace(entry, path=place, frame_rate=rate)
        if entry.id in first:
            raise ValueError(
                f"{path}: clip {entry.id!r} is in line {first[entry.id]} and in line {number}; "
                "join its labels with ';', give the rows different parts, or add a column id"
            )
        first[entry.id] = number
        entries.append(entry)
    if others:
        written, source = next(iter(others.items()))
        notes.append(
            f"{path}: {len(others):,} paths are not written as on the disc (blanks, backslashes, "
            f"composed letters), as {listing.readable(written)!r}; "
            f"{listing.readable(source)!r} is taken"
        )
    entries = names.one_spelling(entries)
    if "split" not in columns:
        entries, said = splits.split_off(entries, options.val_share, options.test_share)
        notes += said
    kept, refused = _existing(path, entries, "label" in columns, options.media, finder)
    if kind == "video":
        extracted.expect_files(kept, path)
    warnings = extracted.warnings(kept) if kind == "frames" else ()
    return Listing(tuple(kept), tuple(refused), warnings=tuple(warnings), notes=tuple(notes))


def _cell(row: Mapping[str, str], column: str) -> str:
    """The text of a cell; empty if it says that there is none."""
    cell = row.get(column, "").strip()
    return "" if cell.lower() in _NOTHING else cell


def _labels(path: pathlib.Path, cells: Sequence[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The labels of each row, and sentences on how they were read.

    Among numbers a `nan` is an empty cell and 1.0 is 1; among other names both are names.
    """
    parts = [re.split(r"[;|]", listing.readable(cell)) for cell in cells]
    found = [[name.strip() for name in of if name.strip()] for of in parts]
    labels = {name for of in found for name in of}
    nothing = {name for name in labels if name.lower() in _NOTHING}
    notes = []
    if labels > nothing and all(map(_NUMBER.fullmatch, labels - nothing)):
        floats = any("." in name for name in labels)
        number = {x: str(int(x.partition(".")[0])) if floats else x for x in labels - nothing}
        found = [[number[name] for name in of if name in number] for of in found]
        numbers = sorted({int(name) for of in found for name in of})
        if numbers != [*range(len(numbers))]:
            at = next(i for i, number in enumerate(numbers) if i != number)
            notes.append(
                f"{path}: labels are {len(numbers):,} numbers, but not from 0 on without a gap: "
                f"{numbers[at]} has index {at}"
            )
        if floats:
            notes.append(f"{path}: labels such as {max(number)} are taken for whole numbers")
    elif nothing:
        name = min(nothing)
        notes.append(
            f"{path}: label {name!r} is taken for the name of a class; leave the cell empty if "
            "the clip has none"
        )
    if listed := sorted(name for name in labels if "," in name):
        notes.append(
            f"{path}: label {listed[0]!r} is taken for one label; several are separated by ';', "
            f"as {';'.join(part.strip() for part in listed[0].split(','))}"
        )
    return [tuple(dict.fromkeys(of)) for of in found], notes


def _entry(
    where: str,
    row: Mapping[str, str],
    split: str,
    labels: tuple[str, ...],
    *,
    comma: bool,
    kind: Kind,
) -> Entry:
    """The clip of one row, without the place of its file.

    Args:
        where: file and line for messages.
        comma: whether a comma may stand for the decimal point.
    """
    source = row["path"]
    if not source.strip():
        raise ValueError(f"{where}: the path is empty")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", split):
        raise ValueError(f"{where}: split {split!r}, expected train, val or test")
    times: dict[str, float] = {}
    for column in ("start", "end"):
        if cell := _cell(row, column):
            plain = cell.replace(",", ".") if comma or ":" in cell else cell
            if clock := _CLOCK.fullmatch(plain):
                hours, minutes, seconds = clock.groups()
                plain = str(int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds))
            try:
                times[column] = float(plain)
            except ValueError:
                times[column] = -1.0
            if not 0.0 <= times[column] < math.inf:
                raise ValueError(
                    f"{where}: {column} {cell!r}, expected seconds, as in 12.5 or 1:02:03.5"
                )
    start, end = times.get("start"), times.get("end")
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"{where}: end {end:g} is not after start")
    part = ""
    if times:
        if kind == "picture":
            raise ValueError(f"{where}: a picture has no start and end; leave them empty")
        part = f"@{start or 0:g}-" + ("" if end is None else f"{end:g}")
    id = listing.readable(row["id"] if _cell(row, "id") else source + part)
    return Entry(id, "", source, split, labels, start, end, kind)


def _existing(
    path: pathlib.Path,
    entries: Sequence[Entry],
    labelled: bool,
    media: str | None,
    finder: names.Finder,
) -> tuple[list[Entry], list[Refused]]:
    """The clips whose files exist and, if the csv has labels, have one; the others are refused.

    Raises:
        ValueError: there is none.
    """
    kept, refused = [], []
    for entry in entries:
        # Remote files are not checked before they are read.
        if not storage.is_address(entry.path) and not os.path.lexists(entry.path):
            refused.append(Refused(entry.id, entry.source, "file not found"))
        elif labelled and not entry.labels:
            reason = "no label: the csv has labels, but none in this row"
            refused.append(Refused(entry.id, entry.source, reason))
        else:
            kept.append(entry)
    if not kept:
        reason = refused[0].reason
        if reason != "file not found":
            hint = "fill in the labels, or leave the column out for unlabelled clips"
        elif near := finder.near(refused[0].path):
            hint = f"there is {near!r}: write names as they are, with suffix and capitals"
        elif re.match(r"/|\\\\|[A-Za-z]:[/\\]", refused[0].path):
            hint = "its paths are absolute: correct them, or make them relative to --media"
        elif media:
            hint = "correct --media"
        else:
            hint = "say with --media where the files lie"
        raise ValueError(
            f"none of the {len(refused):,} clips of {path} can be prepared: {reason} "
            f"({entries[0].path}); {hint}"
        )
    return kept, refused
