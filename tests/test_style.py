"""Sizes that keep the code readable: files of one idea, functions that do one thing."""

import ast
import collections
import pathlib
import statistics

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted((ROOT / "av_mae").rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 350, 60
IDS = [str(file.relative_to(ROOT / "av_mae")) for file in FILES]


def functions(file: pathlib.Path) -> dict[str, int]:
    """Lines of each function, its docstring not counted."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node):
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            found[f"{node.name}:{node.lineno}"] = lines
    return found


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_a_file_has_one_idea(file):
    assert len(file.read_text().splitlines()) <= FILE_LINES
    assert file.stem not in ("utils", "util", "helpers", "misc")


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_a_function_does_one_thing(file):
    long = {name: lines for name, lines in functions(file).items() if lines > FUNCTION_LINES}
    assert not long


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_a_module_says_what_it_is_for(file):
    assert ast.get_docstring(ast.parse(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_nothing_is_left_for_later(file):
    assert not [word for word in ("TODO", "FIXME", "XXX") if word in file.read_text()]


def test_the_usual_function_is_short():
    lines = [count for file in FILES for count in functions(file).values()]
    assert statistics.median(lines) <= 14


def test_no_two_test_files_share_a_name():
    """Pytest imports a test by its file's name alone: of two it would collect one."""
    names = collections.Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, count in names.items() if count > 1]
