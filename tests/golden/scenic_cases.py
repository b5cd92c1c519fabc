"""Models of ours from Scenic's golden parameters, by the converter, and their golden inputs."""

import dataclasses
import pathlib
import re
from typing import Any

import golden_cases
import jax
import jax.numpy as jnp
import numpy as np
import tiny_models
from flax import nnx, traverse_util

from av_mae import tasks
from av_mae.config import modality, schema
from av_mae.convert import describe, read, scenic, scenic_rules, table
from av_mae.convert.scenic_rules import NAMES
from av_mae.experiment.step import split
from av_mae.models import masking

_FUSIONS = {"concat_and_encode": "early", "same_encoder": "shared"}
_DECODERS = {"concat_and_decode": "joint", "same_decoder": "shared"}
_POSITIONS = {"sinusoidal_1d": "sincos", "sinusoidal_2d": "sincos3d", "sinusoidal_3d": "sincos3d"}
_POOLS = {"gap": "mean", "gmp": "max"}


@dataclasses.dataclass(frozen=True)
class Oblong(modality.Video):
    """Frames that are not square: no config has them, the model does not mind."""

    width: int = 0

    @property
    def axes(self) -> tuple[int, ...]:
        return (self.frames, self.size, self.width or self.size)


@dataclasses.dataclass(frozen=True)
class Case:
    """A golden model.

    Attributes:
        settings: their config.
        arrays: what was recorded.
        values: our parameters by path.
    """

    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]
    description: describe.Description
    experiment: schema.Experiment
    values: dict[str, np.ndarray]

    @property
    def names(self) -> list[str]:
        return list(self.experiment.modalities)

    def of(self, key: str, name: str, *, otherwise: str = "") -> np.ndarray:
        """What was recorded for a modality; cases of one modality have no suffix."""
        full = f"{key}/{NAMES[name]}"
        return self.arrays[full if full in self.arrays else otherwise or key]

    def inputs(self, prefix: str = "inputs") -> dict[str, jax.Array]:
        return {
            name: jnp.asarray(self.of(prefix, name)).reshape(-1, *m.input_shape)
            for name, m in self.experiment.modalities.items()
        }

    def masks(self, prefix: str = "") -> dict[str, masking.Mask]:
        orders = ("unmasked_indices", "masked_indices")
        return {
            name: tiny_models.ordered_mask(
                *(jnp.asarray(self.of(prefix + k, name)) for k in orders)
            )
            for name in self.names
        }

    def split(self) -> tuple[Any, Any, Any]:
        """(graph definition, parameters, other variables) of the task's model."""
        graphdef, _, rest = split(self.task.init(nnx.Rngs(0)))
        params = traverse_util.unflatten_dict(self.values, sep="/")
        return graphdef, jax.tree.map(jnp.asarray, params), rest

    @property
    def task(self):
        return tasks.make(self.experiment, self.description.labels)

    def theirs(self, params: Any) -> dict[str, np.ndarray]:
        """A tree like our parameters under their names; every array is flat."""
        return {name: parts[-1] for name, parts in self._named(params).items()}

    def gradients(self, grads: Any) -> dict[str, np.ndarray]:
        """The same of gradients, which add up where Scenic shares what we have two copies of."""
        return {name: np.sum(parts, axis=0) for name, parts in self._named(grads).items()}

    def _named(self, tree: Any) -> dict[str, list[np.ndarray]]:
        flat = {k: np.asarray(x) for k, x in traverse_util.flatten_dict(tree, sep="/").items()}
        named: dict[str, list[np.ndarray]] = {}
        for rule in map(_plain, self.description.rules(self.experiment)):
            written = table.write([rule] if rule.layout.theirs else [], flat)
            for name, x in written.items():
                named.setdefault(name, []).append(x)
        return named


def _plain(rule: table.Rule) -> table.Rule:
    """A constant that is added to an array changes nothing about its gradient."""
    one_way = rule.layout.theirs is None and len(rule.theirs) == 1
    return dataclasses.replace(rule, layout=table.SAME) if one_way else rule


def load(folder: pathlib.Path) -> Case:
    return build(
        golden_cases.settings(folder / "config.json"),
        golden_cases.arrays(folder / "params.npz"),
        golden_cases.arrays(folder / "arrays.npz"),
    )


def build(
    settings: dict[str, Any], params: dict[str, np.ndarray], arrays: dict[str, np.ndarray]
) -> Case:
    """Reads parameters by the converter; `settings` says what they do not show."""
    description = scenic.of_params(params, "the golden parameters")
    shapes = _shapes(settings, arrays)
    known = _known(settings, shapes) | golden_cases.QUICK
    experiment = describe.experiment(description, known, "the golden parameters")
    experiment = _summed(_oblong(experiment, shapes), settings)
    saved = read.assemble(description, experiment, "the golden parameters")
    values = traverse_util.flatten_dict(saved.params, sep="/")
    return Case(settings, arrays, description, experiment, values)


_WIDTH, _HEADS, _MLP = 24, 2, 32
_SIZES = (
    (r"(query|key|value)/kernel", (_WIDTH, _HEADS, _WIDTH // _HEADS)),
    (r"(query|key|value)/bias", (_HEADS, _WIDTH // _HEADS)),
    (r"out/kernel", (_HEADS, _WIDTH // _HEADS, _WIDTH)),
    (r"Dense_0/kernel", (_WIDTH, _MLP)),
    (r"Dense_0/bias", (_MLP,)),
    (r"Dense_1/kernel", (_MLP, _WIDTH)),
    (r"embedding_spec\w*/kernel", (8, 8, 1, _WIDTH)),
    (r"embedding\w*/kernel", (2, 8, 8, 3, _WIDTH)),
    (r"pre_logits/kernel", (_WIDTH, _WIDTH)),
    (r"output_projection/kernel", (_WIDTH, 7)),
    (r"output_projection/bias", (7,)),
    (r"pos_embedding_space", (1, 1, 4, _WIDTH)),
    (r"pos_embedding_time", (1, 2, 1, _WIDTH)),
    (r"pos_embedding", (1, 8, _WIDTH)),
    (r"", (_WIDTH,)),
)


def stand_in(names: list[str]) -> Case:
    """A small classifier with parameters of these names, for what their values do not matter."""
    shape = {n: next(size for key, size in _SIZES if re.search(key + "$", n)) for n in names}
    shape |= {"bottleneck": (1, 4, _WIDTH)} if "bottleneck" in names else {}
    depth = scenic_rules.depth(shape, "Transformer")
    m = {"num_layers": depth, "fusion_layer": 1}
    inputs = {"rgb": [2, 4, 16, 16, 3], "spectrogram": [2, 40, 16, 1]}
    return build(
        {"model": m, "input_shapes": inputs},
        {name: np.zeros(size, np.float32) for name, size in shape.items()},
        {},
    )


def _shapes(settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, list[int]]:
    if "input_shape" in settings:
        return {"rgb": settings["input_shape"]}
    if "input_shapes" in settings:
        return settings["input_shapes"]
    marks = {k: x.shape for k, x in arrays.items() if k.startswith(("inputs/", "step0/inputs/"))}
    return {k.rsplit("/")[-1]: list(shape) for k, shape in marks.items()}


def _known(settings: dict[str, Any], shapes: dict[str, list[int]]) -> dict[str, Any]:
    m, loss = settings["model"], settings.get("masked_feature_loss", {})
    known: dict[str, Any] = {
        "model.fusion": _FUSIONS.get(m.get("encoder_strategy"), "early"),
        "model.decoder": _DECODERS.get(m.get("decoder_strategy"), "shared"),
        "model.fusion_layers": m.get("num_layers", 0) - m.get("fusion_layer", 0),
        "model.bottlenecks_at_test": m.get("test_with_bottlenecks", True),
        "model.inpainting": m.get("use_inpainting", False),
        "model.pool": _POOLS.get(m.get("classifier"), "mean"),
        "model.linear_probe": bool(m.get("freeze_backbone")),
        "model.positions": _POSITIONS.get(m.get("positional_embedding"), "sincos"),
        "model.decoder_positions": _POSITIONS.get(m.get("positional_embedding_decoder"), "sincos"),
        "model.normalise_targets": "patch" if loss.get("standardise_per_patch") else "none",
        "model.loss_on_visible": loss.get("loss_unmasked_tokens", False),
        "dataset.multilabel": "ultilabel" in settings.get("class", settings.get("model_name", "")),
    }
    return known | _inputs(shapes, loss)


def _inputs(shapes: dict[str, list[int]], loss: dict[str, Any]) -> dict[str, Any]:
    ratios = loss.get(
        "token_mask_probability_dict", {"rgb": loss.get("token_mask_probability", 0.5)}
    )
    weights = loss.get("modality_weight", {})
    known: dict[str, Any] = {}
    if "rgb" in shapes:
        *frames, height, _, _ = shapes["rgb"][1:]
        known["modalities.video.frames"] = frames[0] if frames else 1
        known["modalities.video.size"] = height
        known["modalities.video.masking"] = loss.get("masking_strategy", "random")
    if "spectrogram" in shapes:
        _, time, mels, _ = shapes["spectrogram"]
        known["modalities.audio.seconds"] = time / 100
        known["modalities.audio.mels"] = mels
    for ours, theirs in NAMES.items():
        known[f"modalities.{ours}.mask_ratio"] = ratios.get(theirs, 0.5)
        known[f"modalities.{ours}.weight"] = weights.get(theirs, 1.0)
    return known


def _oblong(e: schema.Experiment, shapes: dict[str, list[int]]) -> schema.Experiment:
    *_, height, width, _ = shapes.get("rgb", (0, 0, 0))
    if height == width:
        return e
    fields = vars(e.modalities["video"]) | {"width": width}
    return dataclasses.replace(e, modalities=e.modalities | {"video": Oblong(**fields)})


def _summed(e: schema.Experiment, settings: dict[str, Any]) -> schema.Experiment:
    """An error that Scenic sums over a patch is our mean over it with a larger weight."""
    loss = settings.get("masked_feature_loss", {"normalise_by_output_dimension": True})
    if loss.get("normalise_by_output_dimension"):
        return e
    kinds = {
        name: dataclasses.replace(m, weight=m.weight * m.patch_dim)
        for name, m in e.modalities.items()
    }
    return dataclasses.replace(e, modalities=kinds)
