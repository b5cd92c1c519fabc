"""Any file that this project can read, as one of its own checkpoints."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging
from flax import nnx, traverse_util

from av_mae import tasks
from av_mae.config import schema
from av_mae.convert import describe, huggingface, keras, mmaction2, scenic, table, videomae
from av_mae.experiment import checkpoint
from av_mae.experiment.step import split

# In the order in which they are tried; a later one takes what an earlier one leaves.
FAMILIES = (huggingface, keras, mmaction2, videomae, scenic)

_SHOWN = 6  # names in a sentence


def read(
    source: str | os.PathLike[str],
    known: Mapping[str, Any] | schema.Experiment | None = None,
    step: int | None = None,
    *,
    answers: Mapping[str, Any] | None = None,
) -> checkpoint.Saved:
    """Reads one of our checkpoints, or one of another program.

    Args:
        source: a workdir or one of its checkpoints; a file or folder of Scenic's AV-MAE, VideoMAE,
            Hugging Face, mmaction2 or the Keras port.
        known: what a foreign file does not show, by dotted keys of `schema.Experiment` (or a whole
            experiment); not looked at for our own checkpoints.
        step: the step wanted of a run; None = the best one, else the newest.
        answers: as `known`, but only for what would be asked for otherwise.

    Raises:
        ConfigError: nothing there, damaged, of no known family, or a foreign file that does not
            show enough of its model; says what to do.
    """
    path, found = pathlib.Path(source), None
    try:
        for family in FAMILIES if path.exists() else ():
            with describe.reading(path, "checkpoint"):
                found = found or family.describe_file(path)
    except ImportError as error:
        raise schema.ConfigError(
            f"reading {path} needs {error.name}: pip install {error.name}"
        ) from error
    if not found:
        if path.is_file():
            raise schema.ConfigError(
                f"{path} is a file of no known kind; expected a workdir of ours, PyTorch's .pth, a "
                "folder of Hugging Face, .h5 of Keras or a checkpoint of Scenic"
            )
        return checkpoint.read(path, step)
    if isinstance(known, schema.Experiment):
        known = traverse_util.flatten_dict(known.to_dict(), sep=".")
    experiment = describe.experiment(found, known, str(path), answers=answers)
    if experiment.model.linear_probe:
        raise schema.ConfigError(
            f"{path}: the running statistics of a linear probe are not read from foreign files; "
            "leave model.linear_probe at False and train the probe here"
        )
    return assemble(found, experiment, str(path))


def assemble(
    found: describe.Description, experiment: schema.Experiment, source: str
) -> checkpoint.Saved:
    """The parameters of a foreign model in a model of `experiment`.

    Raises:
        ConfigError: they do not fit it.
    """
    labels = tuple(name or f"class {i}" for i, name in enumerate(found.labels))
    task = tasks.make(experiment, labels)
    _, params, _ = split(nnx.eval_shape(lambda: task.init(nnx.Rngs(0))))
    flat: Any = traverse_util.flatten_dict(params, sep="/")
    shapes = {name: x.shape for name, x in flat.items()}
    rules = found.rules(experiment)
    values, unused = table.read(rules, found.arrays, shapes, source, spare=found.spare)
    left = (*unused, *found.dropped)
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        some = ", ".join(left[:_SHOWN]) + more
        logging.info("%s holds what this model has no use for: %s", source, some)
    params = traverse_util.unflatten_dict(values, sep="/")
    return checkpoint.Saved(params, {}, experiment, labels, found.step, left)
