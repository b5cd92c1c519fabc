"""Records for a config that names media files: prepared once, in a process of their own.

That process is `python -m av_mae.prepare`. Training loads TensorFlow and JAX, and every decoding
process that it started would load them again.
"""

import dataclasses
import importlib.util
import os
import pathlib
import shlex
import subprocess
import sys

from av_mae.config import schema
from av_mae.input import storage

CACHE = "~/.cache/av_mae/records"


def resolve(experiment: schema.Experiment) -> schema.Experiment:
    """The experiment with dataset.path set to the records of dataset.source, if it has one.

    Every process of a distributed run does this. Those that share the cache wait for the one that
    prepares; the others prepare the same bytes.

    Raises:
        ConfigError: the media cannot be found or prepared, or PyAV is not installed.
    """
    dataset = experiment.dataset
    if not dataset.source:
        return experiment
    found = dataclasses.replace(dataset, path=_prepared(dataset))
    return dataclasses.replace(experiment, dataset=found)


def _prepared(dataset: schema.Dataset) -> str:
    """Runs the preparation, which has nothing to do if the records are there; their folder."""
    command = [sys.executable, "-m", "av_mae.prepare", *_flags(dataset)]
    done = subprocess.run(command, env=_environment(), stdout=subprocess.PIPE, text=True)
    *told, path = done.stdout.splitlines() or [""]
    if done.returncode:
        raise schema.ConfigError(
            f"dataset.source={dataset.source} could not be prepared, see above; the command was "
            f"{shlex.join(['python', *command[1:]])}"
        )
    if told:
        print("\n".join(told), flush=True)
    return path


def _flags(dataset: schema.Dataset) -> list[str]:
    source = dataset.source
    if not storage.is_address(source) and not os.path.exists(source):
        raise schema.ConfigError(
            f"dataset.source={source} does not exist; name a folder of media files or a csv, or "
            "leave it empty and set dataset.path to records that are prepared"
        )
    if importlib.util.find_spec("av") is None:
        raise schema.ConfigError(
            "dataset.source reads media files, which needs PyAV: pip install 'av_mae[prepare]'; "
            "or set dataset.path to records that are prepared"
        )
    given = shlex.split(dataset.prepare)
    if not any(flag.startswith(("--dataset=", "-dataset=")) for flag in given):
        given = [f"--dataset={'csv' if source.endswith('.csv') else 'folder'}", *given]
    cache = os.path.expanduser(dataset.cache or CACHE)
    return [f"--source={source}", f"--cache={cache}", *given]


def _environment() -> dict[str, str]:
    """Ours, so that the same package is found, and without a device."""
    root = str(pathlib.Path(__file__).parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
