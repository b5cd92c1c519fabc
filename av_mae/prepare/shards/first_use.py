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
from av_mae.prepare.lists import names

CACHE = "~/.cache/av_mae/records"


def resolve(experiment: schema.Experiment) -> schema.Experiment:
    """The experiment with dataset.path set to the records of dataset.source, if it has one.

    Every process of a distributed run does this. Those that share the cache wait for the one that
    prepares; the others prepare the same bytes.

    Raises:
        ConfigError: the media cannot be found or prepared, or PyAV is not installed.
    """
    dataset = experiment.dataset
    source = names.place(dataset.source)
    if not source:
        return experiment
    if not storage.is_address(source) and not os.path.exists(source):
        raise schema.ConfigError(
            f"dataset.source={source} does not exist; name a folder of media files or a csv, or "
            "leave it empty and set dataset.path to records that are prepared"
        )
    if importlib.util.find_spec("av") is None:
        raise schema.ConfigError(
            "dataset.source reads media files, which needs PyAV: pip install av scipy tqdm; "
            "or set dataset.path to records that are prepared"
        )
    given = shlex.split(dataset.prepare)
    if not any(flag.startswith(("--dataset=", "-dataset=")) for flag in given):
        is_list = os.path.isfile(source) or source.endswith((".csv", ".tsv", ".txt"))
        given = [f"--dataset={'csv' if is_list else 'folder'}", *given]
    cache = os.path.expanduser(dataset.cache or CACHE)
    command = ["-m", "av_mae.prepare", f"--source={source}", f"--cache={cache}", *given]

    # The same package is found from there, and no device is taken.
    root = str(pathlib.Path(__file__).parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    env["PYTHONIOENCODING"] = "utf-8"  # the last line is a path, which must come as it is
    done = subprocess.run(
        [sys.executable, *command], env=env, stdout=subprocess.PIPE, encoding="utf-8"
    )
    if done.returncode:
        raise schema.ConfigError(
            f"dataset.source={source} could not be prepared, see above; the command was "
            f"{shlex.join(['python', *command])}"
        )
    *said, path = done.stdout.splitlines()
    if said:
        print("\n".join(said), flush=True)
    return dataclasses.replace(experiment, dataset=dataclasses.replace(dataset, path=path))
