"""Which column of a list is which: by the names in its header, or by what stands in it."""

import collections
import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence

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
_NAMELESS = re.compile(r"|unnamed: ?\d+|index|level_0")
NUMBER = re.compile(r"[+-]?\d+(\.0*)?")
FILE = re.compile(r"\.(?=\w*[A-Za-z])\w{2,5}\s*$")  # what a file's name ends in
PATH = re.compile(rf"[/\\]|{FILE.pattern}")
_FEW = 16  # fewer frames than any video has
_TRIED = 50  # rows that are looked at where there is no header


def names(cells: Sequence[str]) -> list[str]:
    """The cells of a header as names of columns; a # before the first is left out."""
    bare = [cell.strip().lower() for cell in [cells[0].lstrip("# "), *cells[1:]]]
    return [_ALIASES.get(name, name) for name in bare]


def without_header(
    path: os.PathLike[str], rows: Sequence[list[str]], exists: Callable[[str], bool]
) -> tuple[list[str | None], list[str]]:
    """The columns of a list without a header; None for one that is not read."""
    width = len(rows[0])
    cells = [*zip(*(cells for cells in rows if len(cells) == width), strict=True)]

    def files(i: int) -> tuple[int, int]:
        tried = cells[i][:_TRIED]
        return sum(map(exists, tried)), sum(map(bool, map(FILE.search, tried)))

    place = max(range(width), key=files)
    columns: list[str | None] = [None] * width
    columns[place] = "path"
    others = [i for i in range(width) if i != place and any(map(str.strip, cells[i]))]
    if len(others) > 1 and others[0] < place and _numbered(cells[others[0]]):
        others.pop(0)
    for i in others:
        if all(map(splits.word, {*cells[i]})):
            columns[i] = "split"
    others = [i for i in others if not columns[i]]
    values = [{cell.strip() for cell in cells[i]} for i in others]
    several = len(others) > 1
    # VideoMAE's and mmaction2's: path, [number of the first frame,] [number of frames,] label.
    meant = ["first frame", "number of frames", "label"][max(3 - len(others), 0) :]
    if values and values[-1] == {"-1"}:  # for pretraining
        meant = ["first frame", "number of frames", "no label"][: len(others)]
        meant = meant if several else ["no label"]
    plain = len(others) <= 3
    if plain and several:
        numbers = all(map(NUMBER.fullmatch, set().union(*values)))
        plain = numbers and ("first frame" not in meant or values[0] <= {"0", "1"})
    if plain and meant == ["number of frames", "label"]:
        frames, labels = (max(map(float, found)) for found in values)
        plain = frames >= _FEW or frames > labels  # else both may be labels
    if not plain:
        raise ValueError(
            f"{path} has no header, and {width} columns can be meant in several ways; write one "
            "above them, such as path,label,start,end (times are seconds)"
        )
    unread = dict(zip(others, meant, strict=True))
    if "label" in meant:
        columns[others[-1]] = "label"
    named = [name or f"{unread.get(i, 'row')} (not read)" for i, name in enumerate(columns)]
    return columns, [
        f"{path} has no header: its columns are taken for {', '.join(named)}; write a header "
        "above them if they are others"
    ]


def of_header(
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

    columns: list[str | None] = [*names]
    longer = all(len(cells) == len(names) + 1 for cells in bare)
    if longer and _numbered(cells[0] for cells in bare):
        columns.insert(0, "")  # R's numbers of rows have no name, not even an empty one
    said = []
    for i, name in enumerate(columns):
        if name in ignored or (name == "" and not any("".join(x[i : i + 1]) for x in bare)):
            columns[i] = None
        elif (
            name is not None
            and _NAMELESS.fullmatch(name)
            and _numbered("".join(cells[i : i + 1]) for cells in bare)
        ):
            columns[i] = None
            called = repr(name) if name else "without a name"
            said.append(f"{path}: the column {called} numbers the rows and is not read")
        elif name == "":
            raise ValueError(f"{path}: column {i + 1} has no name; write one in the header")
    there = {name for name in columns if name}
    if unknown := [name for name in columns if name and name not in COLUMNS]:
        meant = {name: _meant(name, there) for name in unknown}
        shown = [f"{x!r}" + (f" (did you mean {of!r}?)" if of else "") for x, of in meant.items()]
        if "path" in {*there, *meant.values()}:
            rest = [x for x in unknown if "path" in there or not meant[x]]
            leave = f", or leave them out with --ignore_columns={','.join(rest)}" if rest else ""
            mend = f"Rename them in its header{leave}"
        else:
            mend = "None is path: rename that of the files, or write a header if this is none"
        raise ValueError(
            f"{path} has unknown columns: {', '.join(shown)}; known: {', '.join(COLUMNS)}. {mend}"
        )
    if "path" not in there:
        raise ValueError(f"{path} has no column path (or file); its header is {','.join(names)}")
    twice = [n for n, count in collections.Counter(columns).items() if n and count > 1]
    if twice:
        raise ValueError(f"{path} has two columns for {twice[0]}; keep one")
    return columns, said


def _numbered(cells: Iterable[str]) -> bool:
    """Whether the cells of a column, each row's, only number the rows."""
    found = [cell.strip() for cell in cells]
    return all(map(str.isdecimal, found)) and len({*found}) == len(found) > 0


def _meant(name: str, there: set[str]) -> str | None:
    """The known column that is likely meant, if the list has none of that name."""
    usual = {other: column for column, others in _USUAL.items() for other in others.split()}
    usual |= _ALIASES | dict(zip(COLUMNS, COLUMNS, strict=True))
    near = difflib.get_close_matches(re.sub(r"[\s-]+", "_", name), usual, n=1, cutoff=0.8)
    column = usual[near[0]] if near else None
    return None if column in there else column
