"""What the tools share: flags for a model and media files, and one message for each bad file."""

import argparse
import sys
from collections.abc import Callable, Sequence

from av_mae import api

# EX_CONFIG, as av_mae.main: the request cannot be met.
BAD_REQUEST = 78


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A command line with `--model`, `--modalities` and the files."""
    made = argparse.ArgumentParser(
        prog=f"python -m av_mae.tools.{name}", description=description, allow_abbrev=False
    )
    made.add_argument(
        "--model", required=True, help="workdir, checkpoint, or another program's file"
    )
    made.add_argument(
        "--modalities", default="", help="which to use, as in --modalities=audio; default: all"
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="media files")
    return made


def load(arguments: argparse.Namespace) -> tuple[api.Model, tuple[str, ...]]:
    """The model and the modalities asked for.

    Raises:
        ValueError: no model there, or a modality that it does not know.
    """
    model = api.load(arguments.model)
    names = tuple(name.strip() for name in arguments.modalities.split(",") if name.strip())
    model.check_modalities(names)
    return model, names


def each(files: Sequence[str], work: Callable[[str], None]) -> int:
    """Does `work` on every file; bad ones are named on stderr and make the exit status 1."""
    failed = 0
    for path in files:
        try:
            work(path)
        except (ValueError, OSError) as error:
            print(f"error: {_named(error, path)}", file=sys.stderr, flush=True)
            failed += 1
    return 1 if failed else 0


def leave(error: Exception) -> int:
    """Says why nothing can be done; the exit status for it."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    return BAD_REQUEST


def _named(error: Exception, path: str) -> str:
    return str(error) if path in str(error) else f"{path}: {error}"
