"""The entry point: `python -m av_mae.main --config=configs/... --workdir=DIR`."""

import logging as standard_logging
import os
import pathlib
import re
import sys
from typing import NoReturn

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from av_mae import config, evaluate, parse, train
from av_mae.input import records

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment, as in configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of checkpoints, metrics and the report.")
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate"], "Train (and continue), or only score a checkpoint."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for several processes on plain hosts."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes of a distributed run.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")

# EX_CONFIG, EX_DATAERR, EX_SOFTWARE: a config that cannot run, unusable records, a diverged run.
_BAD_CONFIG = 78
_BAD_DATA = 65
_DIVERGED = 70


def main() -> None:
    """Runs the program; exits with 0, 65 (records that cannot be used), 70 (diverged), 75
    (preempted) or 78 (a config that cannot run)."""
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(_main, flags_parser=_parse_flags)


def _main(_: list[str]) -> None:
    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))
    logging.get_absl_handler().addFilter(_ours_or_serious)
    try:
        experiment = parse.experiment(_CONFIG.value)
        _start_devices()
        workdir = pathlib.Path(_WORKDIR.value or "")
        if _MODE.value == "evaluate":
            evaluate.evaluate(experiment, workdir)
            sys.exit(0)
        sys.exit(train.train(experiment, workdir))
    except config.ConfigError as error:
        _leave(_BAD_CONFIG, error)
    except records.DataError as error:
        _leave(_BAD_DATA, error)
    except train.Diverged as error:
        _leave(_DIVERGED, error)


def _ours_or_serious(record: standard_logging.LogRecord) -> bool:
    """Libraries may warn; what they merely tell (orbax: ten lines a checkpoint) is left out."""
    own = pathlib.Path(__file__).parent
    return record.levelno > standard_logging.INFO or own in pathlib.Path(record.pathname).parents


def _parse_flags(arguments: list[str]) -> list[str]:
    """Unknown config keys and wrong kinds of value become one sentence, not a traceback."""
    try:
        rest = flags.FLAGS(arguments)
        # A config file that is not there says so only when something of it is used.
        getattr(_CONFIG.value, "task", None)
        return rest
    except Exception as error:  # a config is a program: it may raise anything
        _leave(_BAD_CONFIG, _sentence(error))


def _sentence(error: BaseException) -> str:
    """What a user can act on; ml_collections wraps it in tracebacks and quotation marks."""
    root = error
    while root.__context__ is not None:
        root = root.__context__
    if isinstance(root, config.ConfigError):
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


def _start_devices() -> None:
    """Joins the other processes, if any, and turns the compilation cache on."""
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", "~/.cache/av_mae/compiled")
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(cache))
    if not _COORDINATOR.value and (_PROCESSES.value or _PROCESS.value is not None):
        raise config.ConfigError(
            "--processes and --process need --coordinator=host:port, the address of process 0"
        )
    if _COORDINATOR.value:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    elif any(k in os.environ for k in ("SLURM_NTASKS", "TPU_WORKER_HOSTNAMES")):
        jax.distributed.initialize()
    logging.info("%d x %s", jax.device_count(), jax.devices()[0].device_kind)


def _leave(code: int, error: object) -> NoReturn:
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
