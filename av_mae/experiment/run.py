"""An experiment made concrete on this machine: data set, mesh, task, optimizer, step counts."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from av_mae import tasks
from av_mae.config import limits, schema
from av_mae.config.modality import Audio
from av_mae.experiment import hardware, optim, sharding
from av_mae.experiment.step import TrainState, compiled_on, make_train_step, split
from av_mae.input import balance, description, records
from av_mae.prepare.shards import first_use
from av_mae.report import writer


@dataclasses.dataclass(frozen=True)
class Run:
    """What training and evaluation both need, built once from an experiment.

    Attributes:
        total: number of training steps.
        abstract: shapes, types and layout of the whole training state.
        flops_per_step: floating-point operations of one training step, all devices together.
    """

    experiment: schema.Experiment
    info: records.Info
    mesh: Mesh
    task: tasks.Task
    graphdef: Any
    tx: optax.GradientTransformation
    lr: optax.Schedule
    total: int
    steps_per_epoch: float
    abstract: TrainState
    flops_per_step: float

    @classmethod
    def build(cls, experiment: schema.Experiment, *, train: bool = True) -> "Run":
        """Reads the data set's info and lays the run out on this machine; see `assemble`.

        Media files that the experiment names instead of records are prepared first.

        Args:
            train: whether it will train; if not, it needs no weights of classes.
        """
        tasks.check(experiment)  # before anything is prepared
        experiment = first_use.resolve(experiment)
        info = description.of(experiment.dataset)
        logging.info("records: %s", experiment.dataset.path)
        if info.audio_mean is not None and info.audio_std is not None:
            logging.debug(
                "log-mel values of the training clips: mean %.3f, standard deviation %.3f",
                info.audio_mean,
                info.audio_std,
            )
        most = {info.most_labels(name) for name in info.splits}
        if experiment.dataset.multilabel and most <= {0, 1}:
            logging.info("no clip has more than one label; dataset.multilabel=False takes softmax")
        weights = balance.class_weights(experiment, info) if train else ()
        return cls.assemble(experiment, info, weights=weights)

    @classmethod
    def assemble(
        cls,
        experiment: schema.Experiment,
        info: records.Info,
        devices: Sequence[Any] | None = None,
        *,
        weights: Sequence[float] = (),
    ) -> "Run":
        """Checks that everything fits together and lays the run out; no record is read.

        Args:
            devices: what the run is laid out on, None: all that JAX sees. Descriptions of devices
                that are not here will do for lowering and compiling the step.
            weights: of classes in the loss; () = all are equal.

        Raises:
            ConfigError: no data set at dataset.path, unknown split, clips with more labels than
                the task takes, a batch size that the devices do not divide, durations that
                contradict each other.
        """
        tasks.make(experiment, info.labels).check_training()
        e = _with_statistics(experiment, info)
        mesh = sharding.mesh_of(e.compute, devices)
        sharding.check_batches(e, mesh)

        per_epoch = steps_per_epoch(e, info)
        steps = functools.partial(limits.steps, steps_per_epoch=per_epoch, batch_size=e.batch_size)
        total = steps(e.total)
        if total < 1:
            raise schema.ConfigError(f"total is {e.total!r}, which is {total} steps; ask for more")

        task = tasks.make(e, info.labels, weights)
        for name in dict.fromkeys([e.dataset.train, *(c.split for c in e.evaluators.values())]):
            most = info.most_labels(name) or 0
            _check_labels(task, most, f"clips of split {name!r} of {e.dataset.path} have up to")
        model = nnx.eval_shape(lambda: task.init(nnx.Rngs(e.seed)))
        lr = optim.schedule(e.optim, e.lr, total=total, warmup=steps(e.optim.warmup, total=total))
        tx = optim.make(e.optim, model, lr, trainable=task.trainable)
        shapes = jax.eval_shape(lambda: TrainState.fresh(task, tx))
        abstract = jax.tree.map(
            lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where),
            shapes,
            sharding.tree_shardings(shapes, mesh),
        )
        return cls(
            experiment=e,
            info=info,
            mesh=mesh,
            task=task,
            graphdef=split(model)[0],
            tx=tx,
            lr=lr,
            total=total,
            steps_per_epoch=per_epoch,
            abstract=abstract,
            flops_per_step=task.flops().train * e.batch_size,
        )

    def steps(self, duration: str) -> int:
        """A duration such as "5 epochs" in steps of this run."""
        per_epoch, rows = self.steps_per_epoch, self.experiment.batch_size
        return limits.steps(duration, steps_per_epoch=per_epoch, batch_size=rows, total=self.total)

    def check_batch(self, batch: Mapping[str, np.ndarray]) -> None:
        """Raises ConfigError if a clip of this host's rows has more labels than the task takes.

        Records that nobody counted the labels of (tf.SequenceExamples, and those prepared by
        earlier versions) show only so what they hold.
        """
        most = int(batch["label"].sum(1).max(initial=0))
        _check_labels(self.task, most, f"a clip of {self.experiment.dataset.path} has")

    def init(self) -> TrainState:
        """A fresh training state, created directly in its layout."""
        fresh = lambda: TrainState.fresh(self.task, self.tx)  # noqa: E731
        return jax.jit(fresh, out_shardings=self.shardings)()

    @property
    def shardings(self) -> Any:
        """Layout of the training state."""
        return jax.tree.map(lambda leaf: leaf.sharding, self.abstract)

    def train_step(self) -> Any:
        """The jitted step, `(state, batch) -> (state, metrics)`; it donates the state.

        Batches may hold canvases instead of pictures. Metrics include `grad_norm` and `lr`.
        """
        pure = make_train_step(self.task, self.graphdef, self.tx, self.lr)
        return compiled_on(self.mesh, pure, self.shardings)

    def eval_step(self, function: Callable[[Any, tasks.Batch], Any]) -> Callable[..., Any]:
        """A function of (model, batch), jitted as one of (params, rest, batch).

        Every device has the whole of what it returns.
        """

        def eval_step(params: Any, rest: Any, batch: tasks.Batch) -> Any:
            return function(nnx.merge(self.graphdef, params, rest), batch)

        return jax.jit(
            sharding.within(self.mesh, eval_step), out_shardings=sharding.replicated(self.mesh)
        )

    def reporter(self, workdir: pathlib.Path, resume_step: int | None) -> writer.Reporter:
        """The writer of this run's numbers; entries after `resume_step` are dropped first."""
        return writer.Reporter(
            workdir,
            self.experiment,
            total_steps=self.total,
            flops_per_step=self.flops_per_step,
            peak_flops=hardware.peak_flops(),
            primary=jax.process_index() == 0,
            resume_step=resume_step,
        )


def steps_per_epoch(e: schema.Experiment, info: records.Info) -> float:
    """Batches in which every clip of the training split comes dataset.repeat times."""
    return info.split(e.dataset.train).clips * e.dataset.repeat / e.batch_size


def _check_labels(task: tasks.Task, most: int, where: str) -> None:
    if most > 1 and task.one_label:
        raise schema.ConfigError(
            f"{where} {most} labels, but dataset.multilabel is False, which is for clips of one "
            "label; set --config.dataset.multilabel=True"
        )


def _with_statistics(e: schema.Experiment, info: records.Info) -> schema.Experiment:
    """Fills modalities.audio.mean and std, where None, from the data set's own statistics."""
    audio = e.modalities.get("audio")
    if not isinstance(audio, Audio) or (audio.mean is not None and audio.std is not None):
        return e
    if info.audio_mean is None or info.audio_std is None:
        raise schema.ConfigError(
            f"modalities.audio.mean is None and {e.dataset.path} has no sound statistics; "
            "set modalities.audio.mean and modalities.audio.std, or leave audio out"
        )
    mean = info.audio_mean if audio.mean is None else audio.mean
    std = info.audio_std if audio.std is None else audio.std
    audio = dataclasses.replace(audio, mean=mean, std=std)
    return dataclasses.replace(e, modalities=e.modalities | {"audio": audio})
