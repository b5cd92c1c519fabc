"""Checkpoints of a run: written atomically off the training thread, verified when read.

`<workdir>/checkpoints/<step>/` holds the latest ones, `<workdir>/best/<step>/` the best one. Each
has the training state and a `meta` record: config, label names, digest of every array, versions.
Orbax restores flipped bytes without an error, so the digest decides whether a checkpoint is whole.
"""

import dataclasses
import functools
import itertools
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from flax import traverse_util

from av_mae import tasks
from av_mae.config import parse, schema
from av_mae.experiment import fingerprint, sharding
from av_mae.experiment.step import TrainState
from av_mae.version import __version__

_SLICED = 4 * 2**20  # bytes from which devices with the same array share the writing of it


@dataclasses.dataclass(frozen=True)
class Saved:
    """The part of a checkpoint that a model needs.

    Attributes:
        params: nested dict of arrays; the averaged parameters if the run kept them.
        rest: the model's other variables (running statistics).
        labels: label names in index order.
        left: arrays of a foreign file that the model has no use for, by their names there.
    """

    params: dict[str, Any]
    rest: dict[str, Any]
    experiment: schema.Experiment
    labels: tuple[str, ...]
    step: int
    left: tuple[str, ...] = ()

    def with_labels(self, labels: Sequence[str]) -> "Saved":
        """The same with other label names.

        Raises:
            ConfigError: more or fewer of them than the model has classes.
        """
        if len(labels) != len(self.labels):
            raise schema.ConfigError(
                f"{len(labels)} label names for a model of {len(self.labels)} classes"
            )
        return dataclasses.replace(self, labels=tuple(labels))


class OtherRunError(schema.ConfigError):
    """The checkpoints are whole, but of a run with other arrays."""


class Checkpoints:
    """Writes and restores the checkpoints of one run.

    Args:
        folder: `<workdir>/checkpoints` or `<workdir>/best`.
        keep: number of checkpoints kept; older ones are deleted.
    """

    def __init__(
        self, folder: pathlib.Path, experiment: schema.Experiment, labels: Sequence[str], keep: int
    ):
        self._folder = pathlib.Path(folder).absolute()
        self._record = {"experiment": experiment.to_dict(), "labels": list(labels)}
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        handlers = {"state": _array_handler(), "meta": ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(self._folder, options=options, item_handlers=handlers)

    def save(self, step: int, state: TrainState, note: dict[str, Any] | None = None) -> None:
        """Starts writing and returns once the arrays are copied; a step already there is kept."""
        if step in self._manager.all_steps():
            return
        meta = self._record | {
            "step": step,
            "version": __version__,
            "digest": fingerprint.digest(state),
            "shapes": fingerprint.shapes(state),
            "dtypes": fingerprint.dtypes(state),
            "note": note or {},
        }
        items = ocp.args.Composite(state=ocp.args.PyTreeSave(state), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=items)

    def restore(self, abstract: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Newest whole checkpoint laid out as `abstract` says, with its meta; None without any.

        Arrays that were saved in another precision are cast.

        A damaged one is moved to `<workdir>/damaged/` with a warning and the one before is tried.

        Raises:
            ConfigError: checkpoints exist but not one can be read, or they are of another config;
                then they are left where they are.
        """
        steps = sorted(_steps(self._folder), reverse=True)
        for step in steps:
            try:
                return self._restore_step(step, abstract)
            except (OtherRunError, MemoryError, PermissionError):
                raise
            except Exception as error:  # orbax raises bare Exceptions on damaged files
                if "RESOURCE_EXHAUSTED" in str(error):
                    raise
                self._set_aside(step, error)
        if steps:
            raise schema.ConfigError(
                f"no readable checkpoint in {self._folder} (tried steps {steps}); they were moved "
                f"to {self._damaged}; run again to start from step 0, or use another --workdir"
            )
        return None

    def latest(self) -> int | None:
        return max(self._manager.all_steps(), default=None)

    def note(self, step: int) -> dict[str, Any]:
        """What was noted when `step` was saved."""
        return _read_meta(self._folder / str(step))["note"]

    def reached_preemption(self, step: int) -> bool:
        """True once any process of a distributed run was told to stop; the same on all."""
        return self._manager.reached_preemption(step)

    def wait(self) -> None:
        """Blocks until everything saved so far is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def _restore_step(self, step: int, abstract: TrainState) -> tuple[TrainState, dict[str, Any]]:
        meta = _read_meta(self._folder / str(step))
        self._compare_runs(meta, abstract)
        there = _as_saved(abstract, meta["dtypes"])
        layout = ocp.checkpoint_utils.construct_restore_args(there)
        wanted = ocp.args.PyTreeRestore(there, restore_args=layout)
        restored = self._manager.restore(step, args=ocp.args.Composite(state=wanted))["state"]
        fingerprint.compare(fingerprint.digest(restored), meta["digest"])
        return _own(restored, abstract), meta

    def _compare_runs(self, meta: dict[str, Any], abstract: TrainState) -> None:
        """Another config may continue a run as long as it has the same arrays; it is told."""
        changed = _differences(meta["experiment"], self._record["experiment"])
        if tasks.find(self._record["experiment"]["task"]).labelled:
            compare_labels(meta["labels"], self._record["labels"], self._folder)
        if meta["shapes"] != fingerprint.shapes(abstract):
            raise OtherRunError(
                f"{self._folder} holds the checkpoints of another model or optimizer "
                f"({'; '.join(changed) or 'an older version of this program'}); use another "
                "--workdir, or the config that the run was started with"
            )
        if changed:
            logging.warning("continuing with a changed config: %s", "; ".join(changed))

    @property
    def _damaged(self) -> pathlib.Path:
        return self._folder.parent / "damaged"

    def _set_aside(self, step: int, error: Exception) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        logging.warning(
            "checkpoint %s is damaged (%s); moved to %s, trying the one before",
            self._folder / str(step), reason, self._damaged,
        )  # fmt: skip
        if jax.process_index() == 0:
            self._damaged.mkdir(exist_ok=True)
            target = self._damaged / f"{self._folder.name}-{step}-{os.getpid()}"
            (self._folder / str(step)).rename(target)
        self._manager.reload()


def compare_labels(before: Sequence[str], now: Sequence[str], path: pathlib.Path) -> None:
    """Makes sure that a classifier meets the labels it was trained on, in their order.

    Raises:
        ConfigError: it does not; names the first label that differs.
    """
    for number, (old, new) in enumerate(itertools.zip_longest(before, now)):
        if old != new:
            raise OtherRunError(
                f"{path} holds a run with other labels, or in another order (label {number}: "
                f"{old!r} -> {new!r}); use the records that it was trained on, or another --workdir"
            )


def read(path: str | os.PathLike[str], step: int | None = None) -> Saved:
    """Reads the model part of a checkpoint as numpy arrays, on any machine.

    Args:
        path: a workdir (its best checkpoint if there is one, else its latest), a `checkpoints` or
            `best` folder, or one checkpoint folder `.../<step>`.
        step: the step wanted; None = the newest there.

    Raises:
        ConfigError: nothing there that can be read, with what was looked for.
    """
    folder = locate(path, step)
    meta = _read_meta(folder)
    tree = _read_arrays(folder, ("params", "rest", "ema"))
    fingerprint.compare(fingerprint.of_host(tree), meta["digest"], keys=("params", "rest", "ema"))
    return Saved(
        params=tree["ema"] or tree["params"],
        rest=tree["rest"],
        experiment=parse.experiment(meta["experiment"]),
        labels=tuple(meta["labels"]),
        step=meta["step"],
    )


def write(saved: Saved, folder: str | os.PathLike[str]) -> None:
    """Writes a model without optimizer as the checkpoint of a run: `<folder>/checkpoints/<step>`.

    Raises:
        ConfigError: a checkpoint of that step is there already; it is left as it is.
    """
    target = pathlib.Path(folder) / "checkpoints"
    if (target / str(saved.step)).exists():
        raise schema.ConfigError(f"{target / str(saved.step)} exists; write to another folder")
    state = TrainState(
        step=jnp.asarray(saved.step, jnp.int32),
        params=jax.tree.map(jnp.asarray, saved.params),
        rest=jax.tree.map(jnp.asarray, saved.rest),
        opt_state={},
        ema={},
    )
    checkpoints = Checkpoints(target, saved.experiment, saved.labels, keep=1)
    checkpoints.save(saved.step, state)
    checkpoints.close()


def locate(path: str | os.PathLike[str], step: int | None = None) -> pathlib.Path:
    """The checkpoint folder that `read` takes for `path` and `step`."""
    path = pathlib.Path(path).absolute()
    if not path.exists():
        raise schema.ConfigError(f"checkpoint {path} does not exist; give a workdir of a run")
    if path.name.isdigit() and (path / "meta").exists():
        return path
    for folder in (path / "best", path / "checkpoints", path):
        steps = _steps(folder)
        if step is not None and step in steps:
            return folder / str(step)
        if step is None and steps:
            return folder / str(max(steps))
    wanted = "checkpoint" if step is None else f"checkpoint of step {step}"
    raise schema.ConfigError(
        f"no {wanted} in {path}; expected {path}/checkpoints/<step> as written by "
        "python -m av_mae.main --workdir"
    )


def _array_handler() -> ocp.PyTreeCheckpointHandler:
    """Small arrays are written by one of the devices that hold them.

    Orbax lets each write a slice, and every slice of every shape is a program to compile.
    """
    arrays = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_SLICED)
    registry = ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`"lr: 0.1 -> 0.2"` for every key of two configs that is not the same."""
    flat = [
        traverse_util.flatten_dict(json.loads(json.dumps(c)), keep_empty_nodes=True, sep=".")
        for c in (before, now)
    ]
    keys = [key for key in flat[0] | flat[1] if flat[0].get(key) != flat[1].get(key)]
    return [f"{key}: {flat[0].get(key)!r} -> {flat[1].get(key)!r}" for key in keys]


def _steps(folder: pathlib.Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(p.name) for p in folder.iterdir() if re.fullmatch(r"\d+", p.name)]


def _read_meta(folder: pathlib.Path) -> dict[str, Any]:
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            return dict(reader.restore(folder / "meta", ocp.args.JsonRestore()))
    except (OSError, ValueError) as error:
        raise schema.ConfigError(f"checkpoint {folder} is damaged: meta: {error}") from error


def _read_arrays(folder: pathlib.Path, names: Sequence[str]) -> dict[str, Any]:
    try:
        reader, where = ocp.PyTreeCheckpointHandler(), epath.Path(folder / "state")
        stored = reader.metadata(where).tree
        wanted = {name: stored[name] for name in names if name in stored}
        host = ocp.RestoreArgs(restore_type=np.ndarray)
        args = ocp.args.PyTreeRestore(
            item=wanted,
            restore_args=jax.tree.map(lambda _: host, wanted),
            partial_restore=True,
        )
        restored = reader.restore(where, args=args)
        reader.close()
    except Exception as error:  # orbax raises bare Exceptions on damaged files
        raise schema.ConfigError(f"checkpoint {folder} is damaged: {error}") from error
    return {name: restored.get(name) or {} for name in names}


def _as_saved(abstract: TrainState, dtypes: dict[str, str]) -> TrainState:
    """The same arrays in the types that they were saved in."""

    def saved(path: tuple[Any, ...], x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        dtype = dtypes[sharding.path_name(path)]
        return jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding)

    return jax.tree_util.tree_map_with_path(saved, abstract)


def _own(tree: TrainState, abstract: TrainState) -> TrainState:
    """Copies in the types of `abstract`: buffers that are donated must belong to XLA alone.

    Each array gives way to its copy before the next is made: a state that fits once is enough.
    """

    def one(x: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
        copied = jax.block_until_ready(_copy(x, like.dtype))
        x.delete()
        return copied

    return jax.tree.map(one, tree, abstract)


@functools.partial(jax.jit, static_argnums=1)
def _copy(x: jax.Array, dtype: Any) -> jax.Array:
    return jnp.copy(x).astype(dtype)
