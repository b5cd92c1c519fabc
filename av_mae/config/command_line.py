"""What commands with a `--config` flag share: their logs, and a sentence for every bad flag."""

import logging as standard_logging
import pathlib
import re
import shlex
import sys
from typing import Any, NoReturn

from absl import flags, logging

from av_mae.config import schema

BAD_DATA = 65  # EX_DATAERR: records that cannot be used
BAD_CONFIG = 78  # EX_CONFIG: a config that cannot run


def log_ours() -> None:
    """Shows what this program tells; libraries may warn."""
    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))
    logging.get_absl_handler().addFilter(_ours_or_serious)


def parse(arguments: list[str], config_flag: flags.FlagHolder[Any]) -> list[str]:
    """What is left of the arguments after the flags.

    Unknown config keys and wrong kinds of value become one sentence, not a traceback.
    """
    try:
        rest = flags.FLAGS(arguments)
        # A config file that is not there says so only when something of it is used.
        getattr(config_flag.value, "task", None)
        return rest
    except Exception as error:  # a config is a program: it may raise anything
        leave(BAD_CONFIG, _sentence(error))


def _sentence(error: BaseException) -> str:
    """What a user can act on; ml_collections wraps it in tracebacks and quotation marks."""
    root = error
    while root.__context__ is not None:
        root = root.__context__
    if isinstance(root, schema.ConfigError):
        return str(root)
    near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', f"{error} {root}")
    if near:
        return f"unknown config key {near[2]!r}; did you mean {near[1]!r}?"
    if isinstance(error, KeyError | AttributeError):
        return f"unknown config key {root}"
    missing = re.search(r"No such file or directory: '(.*)'", str(error))
    if missing:
        return f"config {missing[1]} does not exist; run from the folder that holds configs/"
    if "whilst parsing config file" in str(error):
        return f"the config file raises {type(root).__name__}: {root}"
    return str(error)


def given(module: str) -> str:
    """The command that runs, as one would type it: figures are kept with how they were made."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def leave(code: int, error: object) -> NoReturn:
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(code)


def _ours_or_serious(record: standard_logging.LogRecord) -> bool:
    """Libraries may warn; what they merely tell (orbax: ten lines a checkpoint) is left out."""
    own = pathlib.Path(__file__).parents[1]
    return record.levelno > standard_logging.INFO or own in pathlib.Path(record.pathname).parents
