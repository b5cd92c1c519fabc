"""The rows of a list, whatever separates its cells, and with or without a header.

What a list leaves open is found from the files that it names, and said.
"""

import collections
import csv
import dataclasses
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence

from av_mae.prepare.lists import columns as columns_lib

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
_TRIED = 50  # rows whose files are looked for, to tell how a list is cut


@dataclasses.dataclass(frozen=True)
class Table:
    """A list.

    Attributes:
        rows: (number of the line, {column: cell}).
        delimiter: what separates cells; a blank is any blanks.
        notes: sentences on what was taken for what.
    """

    rows: Sequence[tuple[int, dict[str, str]]]
    delimiter: str
    notes: Sequence[str]


@dataclasses.dataclass(frozen=True)
class _Grid:
    """A list's text and a way to cut it into cells.

    Attributes:
        blanks: with a blank as delimiter, how many of them end a cell, from the right, since
            names of files may hold some.
    """

    text: str
    delimiter: str
    blanks: int = -1

    def rows(self, most: int | None = None) -> list[tuple[int, list[str]]]:
        """(number of the line, cells) of the lines that are not blank.

        Raises:
            csv.Error: a cell never ends.
        """
        if self.delimiter == " ":
            return [*itertools.islice(self._cut(), most)]
        found = [*itertools.islice(self._quoted(False), most)]
        if any(re.match(r' +"', cell) for _, cells in found for cell in cells):
            found = [*itertools.islice(self._quoted(True), most)]
        return found

    def _cut(self) -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(io.StringIO(self.text, newline=None), 1):
            if line.lstrip().startswith('"'):
                yield number, next(csv.reader([line.strip()], delimiter=" ", skipinitialspace=True))
            elif line.strip():
                yield number, line.strip().rsplit(None, self.blanks)

    def _quoted(self, skip: bool) -> Iterator[tuple[int, list[str]]]:
        stream = io.StringIO(self.text, newline="")
        reader = csv.reader(stream, delimiter=self.delimiter, skipinitialspace=skip)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells


def read(
    path: os.PathLike[str], text: str, ignored: Sequence[str], exists: Callable[[str], bool]
) -> Table:
    """The rows of a list's text.

    Args:
        ignored: columns that are not read.
        exists: whether a file is there.

    Raises:
        ValueError: no row, unknown columns, or a row that has not as many cells as the others.
    """
    # A spreadsheet's own first line; the empty line in its place keeps the numbers of the others.
    text = re.sub(r'\A\s*"?sep=.?"?[;,\t|]*(?=[\r\n])', "", text)
    if not text.strip(" \t\r\n,;|"):
        raise ValueError(f"{path} is empty; expected a header such as path,label,split")

    def is_comment(cells: Sequence[str]) -> bool:
        return cells[0].lstrip().startswith("#") and not exists(cells[0])

    notes = []
    try:
        if (bare := _without_quotes(text)) != text:
            text = bare
            notes.append(f"{path}: whole lines stand in quotation marks, which are left out")
        grid = _grid(text, exists, is_comment)
        rows = grid.rows()
        _check_quotes(path, grid)
    except csv.Error as error:
        raise ValueError(f"{path}: {error}; is a quotation mark never closed?") from error
    if grid.delimiter != ",":
        notes.append(f"{path}: cells are separated by {_DELIMITERS[grid.delimiter]}")
    place = _header(rows, is_comment)
    names, body = [], rows
    if place is not None:
        names, body = columns_lib.names(rows[place][1]), rows[place + 1 :]
    kept = [row for row in body if not is_comment(row[1])]
    if len(kept) < len(body):
        notes.append(f"{path}: {len(body) - len(kept):,} lines that begin with # are left out")
    if not kept and place is None:
        raise ValueError(f"{path} has no rows that do not begin with #")
    if place is None and any(exists(x) or columns_lib.PATH.search(x) for x in kept[0][1]):
        columns, said = columns_lib.without_header(path, [cells for _, cells in kept], exists)
    else:
        if place is None:
            names, kept = columns_lib.names(kept[0][1]), kept[1:]
        columns, said = columns_lib.of_header(
            path, names, kept, {name.strip().lower() for name in ignored}
        )
    if not kept:
        raise ValueError(f"{path} has no rows below its header")
    least = max(i for i, name in enumerate(columns, 1) if name)
    found = []
    for number, cells in kept:
        while len(cells) > len(columns) and not cells[-1].strip():
            cells = cells[:-1]
        if not least <= len(cells) <= len(columns):
            what = "header" if names else "first line"
            other = next((d for d in _DELIMITERS if len(cells) == 1 and d in cells[0].strip()), "")
            mend = f"put names with {_DELIMITERS[grid.delimiter]} in quotes"
            if len(cells) < least:
                mend = f"an empty cell still needs its {grid.delimiter!r}"
            if other and other != grid.delimiter:
                mend = f"or are cells separated by {_DELIMITERS[other]} from here on?"
            raise ValueError(
                f"{path}, line {number}: {len(cells)} cells, the {what} has {len(columns)}; {mend}"
            )
        found.append((number, {n: cell for n, cell in zip(columns, cells, strict=False) if n}))
    return Table(found, grid.delimiter, [*notes, *said])


def _without_quotes(text: str) -> str:
    """A list that a spreadsheet took for one column, each line in quotation marks, as it was."""
    for most in (_TRIED, None):
        lines = [cells for _, cells in _Grid(text, ",").rows(most)]
        names = columns_lib.names(next(csv.reader(lines[0][:1]), []) or [""])
        if any(len(cells) > 1 for cells in lines) or len(names) == 1 or "path" not in names:
            return text
    return "\n".join(cells[0] for cells in lines)


def _header(
    rows: Sequence[tuple[int, list[str]]], is_comment: Callable[[Sequence[str]], bool]
) -> int | None:
    """The number of the row that is a header with a path: the first one or, after #, above it."""
    for number, (_, cells) in enumerate(rows):
        if "path" in columns_lib.names(cells):
            return number
        if not is_comment(cells):
            return None
    return None


def _grid(
    text: str, exists: Callable[[str], bool], is_comment: Callable[[Sequence[str]], bool]
) -> _Grid:
    """How a list is cut: such that its header has a path, or else that its files are found."""
    for delimiter in _DELIMITERS:
        rows = _Grid(text, delimiter).rows(_TRIED)
        if (place := _header(rows, is_comment)) is not None:
            names = columns_lib.names(rows[place][1])
            if delimiter != " " or (len(names) > 1 and {*names} <= {*columns_lib.COLUMNS}):
                return _Grid(text, delimiter, len(names) - 1)

    def likeness(grid: _Grid) -> tuple[int, ...]:
        """Rows with a file that is there, rows with what looks like one, rows of numbers."""
        counts = collections.Counter()
        for _, cells in grid.rows(_TRIED):
            if is_comment(cells) or len(cells) <= grid.blanks:
                continue
            first = cells[:1] if grid.delimiter == " " else cells
            counts["there"] += any(map(exists, first))
            counts["like"] += any(map(columns_lib.FILE.search, first))
            counts["numbers"] += all(
                columns_lib.NUMBER.fullmatch(cell.strip()) for cell in cells[1:]
            )
            counts["cells"] = max(counts["cells"], len(cells))
        return tuple(counts[key] for key in ("there", "like", "numbers", "cells"))

    grids = [_Grid(text, delimiter) for delimiter in _DELIMITERS if delimiter != " "]
    grids += [_Grid(text, " ", blanks) for blanks in (0, 1, 2, 3)]
    best = max(grids, key=likeness)
    if any(likeness(best)[:2]):
        return best
    return max(grids, key=lambda grid: (grid.delimiter != " ", len(grid.rows(1)[0][1])))


def _check_quotes(path: os.PathLike[str], grid: _Grid) -> None:
    """Raises a ValueError if the last cell is a quotation that nothing ends."""
    if grid.delimiter == " " or '"' not in grid.text:
        return
    stream, begin = io.StringIO(grid.text, newline=""), 1
    reader = csv.reader(stream, delimiter=grid.delimiter, skipinitialspace=True, strict=True)
    try:
        for _ in reader:
            begin = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise ValueError(
                f"{path}, line {begin}: a quotation mark is never closed; close it, or write "
                'a mark that belongs to a name twice and the name in others ("a ""b"".mp4")'
            ) from error
