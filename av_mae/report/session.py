"""run.json: what ran, on which machine, with which versions, started when and by which command."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import sys
from typing import Any

import jax

from av_mae import version
from av_mae.report import history

_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "clu", "numpy", "tensorflow-cpu",
    "tensorflow", "av",
)  # fmt: skip


def record(workdir: pathlib.Path, training: dict[str, Any], resume_step: int | None) -> None:
    """Writes run.json, with this process as one more session of the run.

    Args:
        training: what describes the training; a session that only evaluates (`resume_step` None)
            leaves it as it is.
    """
    before = {} if resume_step == 0 else _read(workdir)
    if resume_step is None:
        training = training | {key: before[key] for key in training if key in before}
    sessions = [*before.get("sessions", []), _session(resume_step)]
    _write(workdir, {**training, "sessions": sessions})


def amend(workdir: pathlib.Path, facts: dict[str, Any]) -> None:
    """Adds what only became known later to the newest session of run.json."""
    info = _read(workdir)
    info["sessions"][-1] |= facts
    _write(workdir, info)


def _session(resume_step: int | None) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    versions = {"av_mae": version.__version__}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional one
    return {
        "start": now.isoformat(timespec="seconds"),
        "time": now.timestamp(),
        "resume_step": resume_step,
        # As typed: `python -m av_mae.main ...`, whatever folder the interpreter lies in.
        "command": shlex.join([pathlib.Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device_kind": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "packages": versions,
    }


def _read(workdir: pathlib.Path) -> dict[str, Any]:
    """run.json; empty where a kill or an edit left no readable file."""
    try:
        found = json.loads((workdir / history.RUN).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(workdir: pathlib.Path, info: dict[str, Any]) -> None:
    history.write_whole(workdir / history.RUN, json.dumps(info, indent=1) + "\n")
