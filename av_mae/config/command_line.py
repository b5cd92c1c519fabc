"""What commands share: output for any terminal, `--config`, logs, a sentence for bad flags."""

import io
import logging as standard_logging
import pathlib
import re
import shlex
import sys
from typing import Any, NoReturn

from absl import flags, logging
from ml_collections.config_flags import config_flags

from av_mae.config import keys, limits, published

# A terminal that cannot show the name of a file shows it escaped, rather than ending the program.
for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors="backslashreplace")

flags.disclaim_key_flags()  # a flag defined here belongs to the command that asks for it

BAD_DATA = 65  # EX_DATAERR: records that cannot be used
BAD_CONFIG = 78  # EX_CONFIG: a config that cannot run


def define_config(
    default: str | None = None, meaning: str = "Experiment, by name or file: audioset/pretrain."
) -> flags.FlagHolder[Any]:
    """The flag `--config`, whose keys `--config.KEY=VALUE` override.

    Its value is the name of a published config or the path of a file, and may end in an argument
    for it: `audioset/pretrain:variant=B/16x2`.
    """
    holder = config_flags.DEFINE_config_file("config", None, meaning)
    flag = flags.FLAGS[holder.name]
    flag.parser = _ConfigParser(holder.name)
    if default:
        flags.set_default(holder, default)
    return holder


class _ConfigParser(config_flags.ConfigFileFlagParser):
    def parse(self, path: str) -> Any:
        name, colon, argument = path.partition(":")
        if not name.endswith(".py") and not pathlib.Path(name).is_file():
            name = str(published.file(name))
        return super().parse(name + colon + argument)


def log_ours() -> None:
    """Logs what this library says from INFO on, and of other libraries warnings and errors only.

    Orbax, for one, has ten lines of INFO a checkpoint.
    """
    package = pathlib.Path(__file__).parents[1]

    def ours_or_serious(record: standard_logging.LogRecord) -> bool:
        ours = package in pathlib.Path(record.pathname).parents
        return ours or record.levelno > standard_logging.INFO

    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))
    logging.get_absl_handler().addFilter(ours_or_serious)


def parse(arguments: list[str], config_flag: flags.FlagHolder[Any]) -> list[str]:
    """What is left of the arguments after the flags.

    Unknown config keys and values of a wrong type become one sentence, not a traceback.
    """
    try:
        rest = flags.FLAGS(arguments)
        # A config file that is missing raises only when something of it is read.
        getattr(config_flag.value, "task", None)
        return rest
    except Exception as error:  # a config is a program: it may raise anything
        leave(BAD_CONFIG, _unknown_override(arguments, config_flag.name) or _sentence(error))


def _unknown_override(arguments: list[str], name: str) -> str:
    """A sentence about the first `--config.KEY` whose key the config does not have; else empty."""
    given = [re.match(rf"--?(no)?{name}(\.[^=\[]+)?(?:\[\d+\])?(?:=(.*)|$)", a) for a in arguments]
    files = [match[3] for match in given if match and not match[2] and match[3]]
    try:
        known = keys.flat(_ConfigParser(name).parse(files[-1]).to_dict())
    except Exception:  # of the file itself, which is what has to be said
        return ""
    for match in given:
        if match and match[2] and (key := match[2][1:]) not in known:
            return f"unknown config key {key!r}; {keys.advice(key, known)}"
    return ""


def _sentence(error: BaseException) -> str:
    """What a user can act on; ml_collections wraps it in tracebacks and quotation marks."""
    root = error
    while root.__context__ is not None:
        root = root.__context__
    if isinstance(root, limits.ConfigError):
        return str(root)
    near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', f"{error} {root}")
    if near:
        return f"the config file sets {near[2]!r}, which is no key; did you mean {near[1]!r}?"
    if isinstance(error, KeyError | AttributeError):
        return f"unknown config key {root}"
    missing = re.search(r"No such file or directory: '(.*)'", str(error))
    if missing:
        name = "/".join(pathlib.Path(missing[1]).with_suffix("").parts[-2:])
        instead = f", or give its name, {name}" if name in published.names() else ""
        return (
            f"config {missing[1]} does not exist; run from the folder that holds configs/{instead}"
        )
    if "whilst parsing config file" in str(error):
        return f"the config file raises {type(root).__name__}: {root}"
    return str(error)


def given(module: str) -> str:
    """The running command as typed, which is stored with the figures that it measures."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def leave(code: int, error: object) -> NoReturn:
    """Prints the error to stderr and exits with the code."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(code)
