"""The text of a list in the encodings that spreadsheets and editors write."""

import codecs
import pathlib
import re
from collections.abc import Callable, Iterable

# With the marks that they begin with; that of UTF-32 begins with that of UTF-16.
_MARKS = (
    ("utf-8-sig", codecs.BOM_UTF8),
    ("utf-32", codecs.BOM_UTF32_LE),
    ("utf-32", codecs.BOM_UTF32_BE),
    ("utf-16", codecs.BOM_UTF16_LE),
    ("utf-16", codecs.BOM_UTF16_BE),
)
# What programs wrote before UTF-8: Western, Central European, Cyrillic, Greek, East Asian.
_OLD = ("cp1252", "cp1250", "cp1251", "cp1253", "gb18030", "cp932", "cp949", "big5")
# First bytes of what people give in place of a text.
_OTHERS = {
    b"PK\x03\x04": "a workbook (xlsx, ods) or zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (xls)",
    b"\x1f\x8b": "compressed by gzip",
    b"PAR1": "a Parquet file",
    b"SQLite format": "a database",
    b"{": "JSON",
    b"[": "JSON",
    b"<": "HTML or XML",
}
_MEND = "save it as csv in UTF-8"


def read(path: pathlib.Path) -> tuple[str, list[str]]:
    """A file's text, and sentences on how it was read.

    Bytes that are no UTF-8 become surrogates, since names of files need not be text in any
    encoding; `recode` finds out about the others.

    Raises:
        ValueError: it is no text.
    """
    data = path.read_bytes()
    for start, what in _OTHERS.items():
        if data.lstrip(b" \r\n\t" if start in b"{[<" else b"").startswith(start):
            raise ValueError(f"{path} is no csv but {what}; {_MEND}")
    encoding = next((name for name, mark in _MARKS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:2]:  # a list begins with a Latin character
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        text = data.decode(encoding or "utf-8", *[] if encoding else ["surrogateescape"])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in {encoding}: {error.reason}; {_MEND}") from error
    if "\0" in text:
        raise ValueError(f"{path} is no text: it holds zero bytes; {_MEND}")
    wide = encoding is not None and encoding != "utf-8-sig"
    return text, [f"{path} is read as {encoding.upper()}"] if wide and encoding else []


def recode(
    path: pathlib.Path, cells: Iterable[tuple[str, str]], exists: Callable[[str], bool]
) -> tuple[Callable[[str], str], list[str]]:
    """How cells that are no UTF-8 are to be read, and a sentence on it.

    The encoding is the one in which the names of files are those on the disc; with names that say
    nothing, Western text is known by accented letters that stand alone among others.

    Args:
        cells: (column, text) of the whole list.

    Raises:
        ValueError: the encoding cannot be told.
    """
    cells = [*cells]
    odd = [(column, cell) for column, cell in cells if not is_text(cell)]
    names = {cell for column, cell in odd if column == "path"}
    if not odd or any(map(exists, names)):  # such are the names on the disc
        return str, []
    found = {old: sum(exists(_decoded(name, old)) for name in names) for old in _OLD}
    best = max(_OLD, key=lambda old: found[old])
    runs = [len(run) for _, cell in odd for run in re.findall("[\udc80-\udcff]+", cell)]
    western = 1 in runs and max(runs) <= 2 and all(is_text(_decoded(c, best)) for _, c in odd)
    western &= all(cell.isascii() for _, cell in cells if is_text(cell))
    if not found[best] and not western:
        raise ValueError(
            f"{path} is not UTF-8, and its encoding cannot be told from "
            f"{_decoded(odd[0][1], 'cp1252')!r}; {_MEND}"
        )
    example = _decoded(odd[0][1], best)
    said = f"{path} is not UTF-8; read as {best}, as in {example!r}: if that is wrong, {_MEND}"
    return lambda cell: cell if is_text(cell) else _decoded(cell, best), [said]


def is_text(cell: str) -> bool:
    """Whether a cell holds no bytes that could not be decoded."""
    return not re.search("[\udc80-\udcff]", cell)


def _decoded(cell: str, encoding: str) -> str:
    """The cell in an old encoding; unchanged if it cannot be that."""
    try:
        return cell.encode("utf-8", "surrogateescape").decode(encoding)
    except UnicodeDecodeError:
        return cell
