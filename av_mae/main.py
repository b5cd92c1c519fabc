"""The entry point: `python -m av_mae.main --config=configs/... --workdir=DIR`."""

import logging as standard_logging
import os
import pathlib
import signal
import sys
import threading

import jax
from absl import app, flags, logging

from av_mae import evaluation, tasks
from av_mae.config import command_line, parse, schema
from av_mae.evaluation import evaluate
from av_mae.experiment import damage
from av_mae.input import records, storage
from av_mae.tasks import metrics
from av_mae.training import clock, host, loop

_CONFIG = command_line.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of checkpoints, metrics and the report.")
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate"], "Train (and continue), or only score a checkpoint."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for several processes on plain hosts."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes of a distributed run.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")

_GRACE = 10.0  # seconds in which an interrupted program has to end
_DIVERGED = 70  # EX_SOFTWARE
_FULL = 74  # EX_IOERR
_INTERRUPTED = "interrupted; what was saved before is whole"


def main() -> None:
    """Runs the program; exits with 0, 65 (records that cannot be used), 70 (diverged), 74 (no
    space left), 75 (preempted), 78 (a config that cannot run) or 130 (interrupted)."""
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(_main, flags_parser=lambda arguments: command_line.parse(arguments, _CONFIG))


def _main(_: list[str]) -> None:
    stages = clock.Stages()
    command_line.log_ours()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    logging.get_absl_handler().addFilter(_is_news)
    damage.silence_late_tracebacks()
    try:
        if storage.is_address(_WORKDIR.value):
            raise schema.ConfigError(
                f"--workdir={_WORKDIR.value} is an address, but runs are written to local folders; "
                "give one, mount the store (gcsfuse, mountpoint-s3), or copy the folder afterwards"
            )
        experiment = parse.experiment(_CONFIG.value)
        tasks.check(experiment)
        evaluation.check(experiment)
        host.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        host.keep_compiled()
        host.keep_memory()
        logging.info("devices: %d x %s", jax.device_count(), jax.devices()[0].device_kind)
        stages.end("devices")
        workdir = pathlib.Path(_WORKDIR.value or "")
        if _MODE.value == "evaluate":
            evaluate.evaluate(experiment, workdir)
            sys.exit(0)
        sys.exit(loop.train(experiment, workdir, stages))
    except schema.ConfigError as error:
        command_line.leave(command_line.BAD_CONFIG, error)
    except records.DataError as error:
        command_line.leave(command_line.BAD_DATA, error)
    except metrics.Diverged as error:
        command_line.leave(_DIVERGED, error)
    except KeyboardInterrupt:
        command_line.leave(loop.INTERRUPTED, _INTERRUPTED)
    except Exception as error:
        if not storage.is_full(error):
            raise
        print(
            f"error: no space left for {_WORKDIR.value}; what was saved before is whole: make room "
            "and run again to continue",
            file=sys.stderr,
            flush=True,
        )
        os._exit(_FULL)  # threads that could not write are not waited for


def _interrupt(*_: object) -> None:
    """Ends the program at Ctrl-C while no loop handles it, also where the exception is dropped.

    Python drops what is raised in callbacks of its garbage collection, of which JAX has one.
    """

    def leave() -> None:
        os.write(2, f"error: {_INTERRUPTED}\n".encode())
        os._exit(loop.INTERRUPTED)

    timer = threading.Timer(_GRACE, leave)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _is_news(record: standard_logging.LogRecord) -> bool:
    """Whether a line of the log is not about a full disk, which ends the program by a sentence.

    Threads that save log what they raise, and those behind them that there is no loop any more.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (storage.is_full(error) or "Event loop is closed" in str(error))


if __name__ == "__main__":
    main()
