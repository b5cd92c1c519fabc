"""The entry point: `python -m av_mae.main --config=configs/... --workdir=DIR`."""

import os
import pathlib
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from av_mae import command_line, config, evaluate, parse, timing, train
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

_DIVERGED = 70  # EX_SOFTWARE


def main() -> None:
    """Runs the program; exits with 0, 65 (records that cannot be used), 70 (diverged), 75
    (preempted) or 78 (a config that cannot run)."""
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(_main, flags_parser=lambda arguments: command_line.parse(arguments, _CONFIG))


def _main(_: list[str]) -> None:
    stages = timing.Stages()
    command_line.log_ours()
    try:
        experiment = parse.experiment(_CONFIG.value)
        _start_devices()
        stages.end("devices")
        workdir = pathlib.Path(_WORKDIR.value or "")
        if _MODE.value == "evaluate":
            evaluate.evaluate(experiment, workdir)
            sys.exit(0)
        sys.exit(train.train(experiment, workdir, stages))
    except config.ConfigError as error:
        command_line.leave(command_line.BAD_CONFIG, error)
    except records.DataError as error:
        command_line.leave(command_line.BAD_DATA, error)
    except train.Diverged as error:
        command_line.leave(_DIVERGED, error)


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


if __name__ == "__main__":
    main()
