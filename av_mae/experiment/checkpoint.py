"""Checkpoints of a run: written atomically off the training thread, verified when read.

`<workdir>/checkpoints/<step>/` holds the latest ones, `<workdir>/best/<step>/` the best one. Each
has the training state and a `meta` record: config, label names, digest of every array, versions.
Orbax restores flipped bytes without an error, so the digest decides whether a checkpoint is whole.
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from av_mae import tasks
from av_mae.config import limits, parse, schema
from av_mae.experiment import damage, fingerprint, sharding
from av_mae.experiment.step import TrainState
from av_mae.report import history
from av_mae.version import __version__

_SLICED = 4 * 2**20  # bytes from which devices with the same array share the writing of it

_COMPRESSED = 1000  # times the bytes of its files a checkpoint may have in memory

_copy = jax.jit(lambda x, dtype: jnp.copy(x).astype(dtype), static_argnums=1)


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
        self._damaged = self._folder.parent / "damaged"
        self._record = {"experiment": experiment.to_dict(), "labels": list(labels)}
        # Small arrays are written by one of the devices that hold them. Orbax lets each write a
        # slice, and every slice of every shape is a program to compile.
        arrays = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_SLICED)
        registry = ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=ocp.checkpoint_managers.LatestN(keep), create=True
            ),
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(type_handler_registry=registry),
                "meta": ocp.JsonCheckpointHandler(),
            },
        )

    def save(self, step: int, state: TrainState, note: dict[str, Any] | None = None) -> None:
        """Starts writing and returns once the arrays are copied; a step already there is kept."""
        if step in self._manager.all_steps():
            return
        meta = self._record | {
            "step": step,
            "version": __version__,
            "digest": fingerprint.digest(state),
            "shapes": fingerprint.shapes(state),
            "dtypes": {k: str(x.dtype) for k, x in fingerprint.named(state).items()},
            "note": note or {},
        }
        items = ocp.args.Composite(state=ocp.args.PyTreeSave(state), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=items)

    def restore(self, abstract: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Newest whole checkpoint laid out as `abstract` says, with its meta; None without any.

        Arrays that were saved in another precision are cast. A damaged checkpoint is moved to
        `<workdir>/damaged/` with a warning, and the one before is tried.

        Raises:
            ConfigError: checkpoints exist but not one can be read, or they are of another config;
                then they are left where they are.
        """
        self._manager.wait_until_finished()
        steps = sorted(_steps(self._folder), reverse=True)
        for step in steps:
            try:
                return self._restore_step(step, abstract)
            except (fingerprint.OtherRunError, MemoryError, PermissionError):
                raise
            except Exception as error:  # orbax raises bare Exceptions on damaged files
                if "RESOURCE_EXHAUSTED" in str(error):
                    raise
                reason = (str(error) or type(error).__name__).splitlines()[0][: damage.SHOWN]
                logging.warning(
                    "checkpoint %s is damaged (%s); moved to %s, trying the one before",
                    self._folder / str(step),
                    reason,
                    self._damaged,
                )
                if jax.process_index() == 0:
                    self._damaged.mkdir(exist_ok=True)
                    target = self._damaged / f"{self._folder.name}-{step}-{os.getpid()}"
                    (self._folder / str(step)).rename(target)
                self._manager.reload()
        if steps:
            raise schema.ConfigError(
                f"no readable checkpoint in {self._folder} (tried steps {steps}); they were moved "
                f"to {self._damaged}; run again to start from step 0, or use another --workdir"
            )
        return None

    def latest(self) -> int | None:
        """The newest step, None without any; waits until what was saved is on disk."""
        self._manager.wait_until_finished()
        return max(self._manager.all_steps(), default=None)

    def note(self, step: int) -> dict[str, Any]:
        """The note that `step` was saved with."""
        return _read_meta(self._folder / str(step))["note"]

    def reached_preemption(self, step: int) -> bool:
        """True once any process of a distributed run received SIGTERM; the same on all."""
        return self._manager.reached_preemption(step)

    def close(self) -> None:
        """Waits until the checkpoints that were begun are on disk."""
        self._manager.close()

    def _restore_step(self, step: int, abstract: TrainState) -> tuple[TrainState, dict[str, Any]]:
        damage.size(self._folder / str(step))  # which finds what is no file
        meta = _read_meta(self._folder / str(step))

        # Another config may continue a run, with a warning, as long as it has the same arrays.
        changed = fingerprint.changes(meta["experiment"], self._record["experiment"])
        if tasks.find(self._record["experiment"]["task"]).labelled:
            fingerprint.compare_labels(meta["labels"], self._record["labels"], self._folder)
        if meta["shapes"] != fingerprint.shapes(abstract):
            raise fingerprint.OtherRunError(
                f"{self._folder} holds the checkpoints of another model or optimizer "
                f"({'; '.join(changed) or 'an older version of this program'}); use another "
                "--workdir, or the config that the run was started with"
            )
        if changed:
            logging.warning("continuing with a changed config: %s", "; ".join(changed))

        saved_as = jax.tree_util.tree_map_with_path(
            lambda path, x: jax.ShapeDtypeStruct(
                x.shape, meta["dtypes"][sharding.path_name(path)], sharding=x.sharding
            ),
            abstract,
        )
        layout = ocp.checkpoint_utils.construct_restore_args(saved_as)
        wanted = ocp.args.PyTreeRestore(saved_as, restore_args=layout)
        restored = self._manager.restore(step, args=ocp.args.Composite(state=wanted))["state"]
        fingerprint.compare(fingerprint.digest(restored), meta["digest"])

        def own(x: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
            """A copy in the type wanted: buffers that are donated must belong to XLA alone.

            Each array is freed before the next is copied: a state that fits once is enough.
            """
            copied = jax.block_until_ready(_copy(x, like.dtype))
            x.delete()
            return copied

        return jax.tree.map(own, restored, abstract), meta


class Best(Checkpoints):
    """The checkpoint with the best value of `checkpoint.best`, kept in `<workdir>/best`.

    Its note has the metric and its value, so that a run that is continued knows them.

    Args:
        metrics: all that the evaluators measure, such as `val/accuracy`.

    Raises:
        ConfigError: `checkpoint.best` is not among them.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        experiment: schema.Experiment,
        labels: Sequence[str],
        metrics: Sequence[str],
    ):
        self._metric = metric = experiment.checkpoint.best
        if metric not in metrics:
            near = limits.nearest(metric, metrics, "they measure") if metrics else "there is none"
            raise schema.ConfigError(
                f"checkpoint.best is {metric!r}, which no evaluator measures; {near}"
            )
        super().__init__(workdir / "best", experiment, labels, keep=1)
        self._sign = -1.0 if history.lower_is_better(metric) else 1.0
        self._value = -math.inf  # times the sign: more is better
        step = self.latest()
        note = {} if step is None else self.note(step)
        if note.get("metric", metric) != metric:
            logging.warning("checkpoint.best was %s; the best is sought anew", note["metric"])
        elif note:
            self._value = self._sign * note["value"]

    def offer(self, step: int, state: TrainState, results: Mapping[str, float]) -> None:
        """Saves the state if it scores better than all before."""
        value = results.get(self._metric)
        if value is not None and self._sign * value > self._value:
            self._value = self._sign * value
            self.save(step, state, {"metric": self._metric, "value": value})


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
    with damage.reading(folder):
        size = damage.size(folder)
        meta, names = _read_meta(folder), ("params", "rest", "ema")
        reader, where = ocp.PyTreeCheckpointHandler(), epath.Path(folder / "state")
        stored = reader.metadata(where).tree
        wanted = {name: stored[name] for name in names if name in stored}
        arrays = jax.tree.leaves(wanted)
        claimed = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in arrays)
        if claimed > _COMPRESSED * size:
            raise ValueError(f"arrays claim {claimed:,} bytes, its files have {size:,}")
        host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        args = ocp.args.PyTreeRestore(item=wanted, restore_args=host, partial_restore=True)
        restored = reader.restore(where, args=args)
        reader.close()
        tree = {name: restored.get(name) or {} for name in names}
        fingerprint.compare(fingerprint.of_host(tree), meta["digest"], keys=names)
        return Saved(
            params=tree["ema"] or tree["params"],
            rest=tree["rest"],
            experiment=parse.experiment(meta["experiment"]),
            labels=tuple(map(str, meta["labels"])),
            step=int(meta["step"]),
        )


def write(saved: Saved, folder: str | os.PathLike[str]) -> None:
    """Writes a model without optimizer as the checkpoint of a run: `<folder>/checkpoints/<step>`.

    Raises:
        ConfigError: a checkpoint of that step is there already; it is left as it is.
    """
    target = pathlib.Path(folder) / "checkpoints"
    if (target / str(saved.step)).exists():
        raise schema.ConfigError(f"{target / str(saved.step)} exists; write to another folder")
    params, rest = jax.tree.map(jnp.asarray, (saved.params, saved.rest))
    state = TrainState(jnp.int32(saved.step), params, rest, opt_state={}, ema={})
    checkpoints = Checkpoints(target, saved.experiment, saved.labels, keep=1)
    checkpoints.save(saved.step, state)
    checkpoints.close()


def locate(path: str | os.PathLike[str], step: int | None = None) -> pathlib.Path:
    """The checkpoint folder that `read` takes for `path` and `step`."""
    given, path = pathlib.PurePath(path), pathlib.Path(path).absolute()
    if not path.exists():
        advice = "give a workdir of a run"
        if len(given.parts) == 2 and not path.parent.exists():  # such as MCG-NJU/videomae-base
            advice += (
                f"; if it is a repository of Hugging Face, fetch it: hf download {given} "
                f"--local-dir {given.name}, and give the folder {given.name}"
            )
        raise schema.ConfigError(f"checkpoint {given} does not exist; {advice}")
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


def _steps(folder: pathlib.Path) -> list[int]:
    there = folder.iterdir() if folder.is_dir() else ()
    return [int(p.name) for p in there if re.fullmatch(r"\d+", p.name)]


def _read_meta(folder: pathlib.Path) -> dict[str, Any]:
    with (
        damage.reading(folder, "meta: "),
        ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader,
    ):
        return dict(reader.restore(folder / "meta", ocp.args.JsonRestore()))
