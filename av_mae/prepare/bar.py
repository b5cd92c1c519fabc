"""The progress bar of a preparation or a check, which lines of the log do not break."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import tqdm
from tqdm import contrib


@contextlib.contextmanager
def shown(what: str, total: int, done: int = 0, *, hidden: bool = False) -> Iterator[tqdm.tqdm]:
    """A bar of clips on stderr, to be moved by `update`; other lines there stand above it.

    Args:
        what: what is done to the clips, in a word.
        total: number of clips.
        done: number of those that were finished before.
    """
    above: Any = sys.stderr if hidden else contrib.DummyTqdmFile(sys.stderr)
    with (
        tqdm.tqdm(
            total=total,
            initial=done,
            unit="clip",
            desc=what,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
            disable=hidden,
        ) as bar,
        contextlib.redirect_stderr(above),
    ):
        yield bar
