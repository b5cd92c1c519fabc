"""The rows of a list, whatever separates its cells, and with or without a header.

What a list leaves open is found from the files that it names, and said.
"""

import collections
import csv
import dataclasses
import difflib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence

from av_mae.prepare.lists import splits

COLUMNS = ("path", "label", "split", "start", "end", "id")
_ALIASES = {"file": "path", "labels": "label"}
# What the columns are called elsewhere. A message names them; a `class` may be a school's.
_USUAL = {
    "path": "filename file_name filepath file_path video video_path video_name video_file clip "
    "clip_path clip_name audio audio_path audio_file image name uri url media location",
    "label": "class classes class_name category categories label_name label_id class_id "
    "class_index target y action activity tag tags annotation",
    "split": "subset set fold partition phase usage",
    "start": "begin start_time time_start start_seconds start_sec onset from",
    "end": "stop end_time time_end end_seconds end_sec offset to",
    "id": "clip_id video_id uid key youtube_id ytid",
}
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
_NAMELESS = re.compile(r"|unnamed: ?\d+|index|level_0")
_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")
_SUFFIX = re.compile(r"\.(?=\w*[A-Za-z])\w{2,5}\s*$")
_LIKE_A_PATH = re.compile(rf"[/\\]|{_SUFFIX.pattern}")
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

    try:
        grid = _grid(text, exists, is_comment)
        rows = grid.rows()
        _check_quotes(path, grid)
    except csv.Error as error:
        raise ValueError(f"{path}: {error}; is a quotation mark never closed?") from error
    notes = []
    if grid.delimiter != ",":
        notes.append(f"{path}: cells are separated by {_DELIMITERS[grid.delimiter]}")
    place = _header(rows, is_comment)
    names, body = [], rows
    if place is not None:
        names, body = _names(rows[place][1]), rows[place + 1 :]
    kept = [row for row in body if not is_comment(row[1])]
    if len(kept) < len(body):
        notes.append(f"{path}: {len(body) - len(kept):,} lines that begin with # are left out")
    if not kept and place is None:
        raise ValueError(f"{path} has no rows that do not begin with #")
    if place is None and any(
        exists(x) or _SUFFIX.search(x) or re.search(r"[/\\]", x) for x in kept[0][1]
    ):
        columns, said = _meaning(path, [cells for _, cells in kept], exists)
    else:
        if place is None:
            names, kept = _names(kept[0][1]), kept[1:]
        columns, said = _columns(path, names, kept, {name.strip().lower() for name in ignored})
    if not kept:
        raise ValueError(f"{path} has no rows below its header")
    least = max(i for i, name in enumerate(columns, 1) if name)
    found = []
    for number, cells in kept:
        while len(cells) > len(columns) and not cells[-1].strip():
            cells = cells[:-1]
        if not least <= len(cells) <= len(columns):
            what = "header" if names else "first line"
            raise ValueError(
                f"{path}, line {number}: {len(cells)} cells, the {what} has {len(columns)}; put "
                f"names with {_DELIMITERS[grid.delimiter]} in quotes"
            )
        found.append((number, {n: cell for n, cell in zip(columns, cells, strict=False) if n}))
    return Table(found, grid.delimiter, [*notes, *said])


def _names(cells: Sequence[str]) -> list[str]:
    """Cells as names of columns."""
    bare = [cell.strip().lower() for cell in [cells[0].lstrip("# "), *cells[1:]]]
    return [_ALIASES.get(name, name) for name in bare]


def _header(
    rows: Sequence[tuple[int, list[str]]], is_comment: Callable[[Sequence[str]], bool]
) -> int | None:
    """The number of the row that is a header with a path: the first one or, after #, above it."""
    for number, (_, cells) in enumerate(rows):
        if "path" in _names(cells):
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
            names = _names(rows[place][1])
            if delimiter != " " or (len(names) > 1 and {*names} <= {*COLUMNS}):
                return _Grid(text, delimiter, len(names) - 1)

    def likeness(grid: _Grid) -> tuple[int, ...]:
        """Rows with a file that is there, rows with what looks like one, rows of numbers."""
        counts = collections.Counter()
        for _, cells in grid.rows(_TRIED):
            if is_comment(cells) or len(cells) <= grid.blanks:
                continue
            first = cells[:1] if grid.delimiter == " " else cells
            counts["there"] += any(map(exists, first))
            counts["like"] += any(map(_SUFFIX.search, first))
            counts["numbers"] += all(_NUMBER.fullmatch(cell.strip()) for cell in cells[1:])
            counts["cells"] = max(counts["cells"], len(cells))
        return tuple(counts[key] for key in ("there", "like", "numbers", "cells"))

    grids = [_Grid(text, delimiter) for delimiter in _DELIMITERS if delimiter != " "]
    grids += [_Grid(text, " ", blanks) for blanks in (0, 1, 2, 3)]
    return max(grids, key=likeness)


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


def _meaning(
    path: os.PathLike[str], rows: Sequence[list[str]], exists: Callable[[str], bool]
) -> tuple[list[str | None], list[str]]:
    """The columns of a list without a header; None for one that is not read."""
    width = len(rows[0])
    tried = [cells for cells in rows if len(cells) == width][:_TRIED]

    def files(i: int) -> tuple[int, int]:
        cells = [row[i] for row in tried]
        return sum(map(exists, cells)), sum(map(bool, map(_SUFFIX.search, cells)))

    place = max(range(width), key=files)
    columns: list[str | None] = [None] * width
    columns[place] = "path"
    others = [i for i in range(width) if i != place and any(row[i].strip() for row in tried)]
    for i in others:
        if all(splits.word(row[i]) for row in tried):
            columns[i] = "split"
    others = [i for i in others if not columns[i]]
    numbers = all(_NUMBER.fullmatch(row[i].strip()) for i in others for row in tried)
    # VideoMAE's and mmaction2's: path, [number of the first frame,] [number of frames,] label.
    begins = {row[others[0]].strip() for row in tried} if len(others) == 3 else set()
    if len(others) > 3 or (len(others) > 1 and not numbers) or not begins <= {"0", "1"}:
        raise ValueError(
            f"{path} has no header, and {width} columns can be meant in several ways; write one "
            "above them, such as path,label,start,end (times are seconds)"
        )
    if others:
        columns[others[-1]] = "label"
    unread = ["first frame", "number of frames"][-(len(others) - 1) :] if len(others) > 1 else []
    named = [name or f"{unread.pop(0) if unread else 'nothing'} (not read)" for name in columns]
    return columns, [
        f"{path} has no header: its columns are taken for {', '.join(named)}; write a header "
        "above them if they are others"
    ]


def _columns(
    path: os.PathLike[str],
    names: list[str],
    rows: Sequence[tuple[int, list[str]]],
    ignored: set[str],
) -> tuple[list[str | None], list[str]]:
    """The column of each cell, None for one that is not read, and sentences on them.

    Raises:
        ValueError: unknown columns, two of a name, or none of files.
    """
    bare = [[cell.strip() for cell in cells] for _, cells in rows]

    def numbered(i: int) -> bool:
        """Whether a column only numbers the rows."""
        cells = [cells[i] for cells in bare if len(cells) > i]
        return all(cell.isdecimal() for cell in cells) and len({*cells}) == len(bare)

    columns: list[str | None] = [*names]
    if bare and all(len(cells) == len(names) + 1 for cells in bare) and numbered(0):
        columns.insert(0, "")  # R's numbers of rows have no name, not even an empty one
    said = []
    for i, name in enumerate(columns):
        if name in ignored or (name == "" and not any("".join(x[i : i + 1]) for x in bare)):
            columns[i] = None
        elif name is not None and _NAMELESS.fullmatch(name) and numbered(i):
            columns[i] = None
            called = repr(name) if name else "without a name"
            said.append(f"{path}: the column {called} numbers the rows and is not read")
        elif name == "":
            raise ValueError(f"{path}: column {i + 1} has no name; write one in the header")
    there = {name for name in columns if name}
    if unknown := [name for name in columns if name and name not in COLUMNS]:
        meant = {name: _meant(name, there) for name in unknown}
        shown = [f"{x!r}" + (f" (did you mean {of!r}?)" if of else "") for x, of in meant.items()]
        rest = [x for x in unknown if "path" in there or not meant[x]]
        leave = f", or leave them out with --ignore_columns={','.join(rest)}" if rest else ""
        raise ValueError(
            f"{path} has unknown columns: {', '.join(shown)}; known: {', '.join(COLUMNS)}. "
            f"Rename them in its header{leave}"
        )
    if "path" not in there:
        raise ValueError(f"{path} has no column path (or file); its header is {','.join(names)}")
    twice = [n for n, count in collections.Counter(columns).items() if n and count > 1]
    if twice:
        raise ValueError(f"{path} has two columns for {twice[0]}; keep one")
    return columns, said


def _meant(name: str, there: set[str]) -> str | None:
    """The known column that is likely meant, if the list has none of that name."""
    usual = {other: column for column, others in _USUAL.items() for other in others.split()}
    usual |= _ALIASES | dict(zip(COLUMNS, COLUMNS, strict=True))
    near = difflib.get_close_matches(re.sub(r"[\s-]+", "_", name), usual, n=1, cutoff=0.8)
    column = usual[near[0]] if near else None
    return None if column in there else column
