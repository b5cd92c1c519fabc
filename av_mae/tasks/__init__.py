"""What a training step optimises: every module of this package with a class of its name is a task.

`config.task = "pretrain"` is the class `Pretrain` of `av_mae/tasks/pretrain.py`. A task is
registered nowhere else: step, evaluators, plan and report ask it for what they need. The other
modules here are losses and metrics.
"""

import abc
import dataclasses
import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
from flax import nnx

from av_mae.config import schema
from av_mae.models import fusion, positions, presence
from av_mae.models.flops import Flops, Passes
from av_mae.preprocess import inputs

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
    """The task of an experiment whose data set has these label names.

    Tasks may also have what evaluators and `av_mae.Model` call: `predict`, `measure`, `evaluate`,
    `reconstruct`.

    Attributes:
        class_weights: of the labels in the loss; () = all are equal.
        title: what reports call its runs.
        labelled: whether the model learns the labels; a run then continues on the same ones only.
        gallery: whether a report has a place for reconstructions.
        input_copies: arrays of the inputs' size that a step keeps for its backward pass.
    """

    experiment: schema.Experiment
    labels: tuple[str, ...] = ()
    class_weights: tuple[float, ...] = ()

    title: ClassVar[str]
    labelled: ClassVar[bool] = False
    gallery: ClassVar[bool] = False
    input_copies: ClassVar[int] = 2

    @classmethod
    def check(cls, e: schema.Experiment) -> None:
        """Raises ConfigError if keys of the experiment contradict this task or its model."""
        fusion.of(e.model).stacks(e.model, tuple(e.modalities))
        for modality in e.modalities.values():
            positions.check(e.model.positions, modality, e.model.width, "model.width")

    @staticmethod
    @abc.abstractmethod
    def instead(source: str, start: str) -> str:
        """Advice where `source`, started from `start`, is the model of another task."""

    def check_training(self) -> None:
        """Raises ConfigError if a model may be loaded and run, but not trained, in this way."""
        e = self.experiment
        fusion.of(e.model).check_training(e.model, e.modalities)

    @property
    def one_label(self) -> bool:
        """Whether it takes clips of one label at most."""
        return False

    @property
    def trainable(self) -> str:
        """The only top-level group of parameters that training changes; "" = all of them."""
        return ""

    @abc.abstractmethod
    def flops(self) -> Flops:
        """Matrix products of one example."""

    @abc.abstractmethod
    def passes(self) -> list[Passes]:
        """The sequences of one example that pass through layers."""

    @abc.abstractmethod
    def init(self, rngs: nnx.Rngs) -> nnx.Module:
        """The model with fresh parameters."""

    @abc.abstractmethod
    def loss(
        self, model: Any, batch: Batch, key: jax.Array, keys_b: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """The loss of a training batch, and what is logged of it.

        Args:
            key: for draws that the whole batch shares.
            keys_b: for the draws of each example.
        """

    def features(self, model: Any, batch: Batch, layer: int | None = None) -> dict[str, jax.Array]:
        """Encoder output of all tokens, `{modality: [b n d]}`, or that of the first `layer` layers.

        Calls `features` of a model that has encoders, as `models.backbone` does.
        """
        prepared = inputs.prepare(batch, self.experiment.modalities)
        return model.features(prepared, present=presence.of(batch), layer=layer)


def names() -> list[str]:
    """The values of `config.task`."""
    return [module.name for module in pkgutil.iter_modules(__path__) if _class(module.name)]


def find(name: str) -> type[Task]:
    """The class of a task.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in names():
        raise schema.ConfigError(f"task is {name!r}, expected one of {', '.join(names())}")
    return _class(name)


def check(experiment: schema.Experiment) -> None:
    """Raises ConfigError if there is no such task, or the config asks of it what it cannot do."""
    find(experiment.task).check(experiment)


def make(
    experiment: schema.Experiment, labels: Sequence[str] = (), class_weights: Sequence[float] = ()
) -> Task:
    """The task of an experiment, which is checked, on a data set with these label names."""
    check(experiment)
    return find(experiment.task)(experiment, tuple(labels), tuple(class_weights))


def _class(name: str) -> Any:
    module = importlib.import_module(f"{__name__}.{name}")
    return getattr(module, name.title().replace("_", ""), None)
