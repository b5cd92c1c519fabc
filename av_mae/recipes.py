"""What configs start from: every key with its default, sizes of models, arguments of a config.

A config starts from `pretrain` or `finetune`, which hold all keys of
`av_mae.config.schema.Experiment`: so any of them can be overridden by a flag, and a misspelt one is
an error at its own line. `load` gives a published config to build on.
"""

import dataclasses
import functools
import re
import runpy
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from av_mae.config import limits, modality, published, schema

Value = typing.TypeVar("Value")

# width, depth, heads, mlp. B and L: Scenic's; VideoMAE's differ in the depth of L and H.
DECODERS = {
    "Ti": (96, 4, 3, 384),
    "S": (192, 4, 3, 768),
    "B": (384, 4, 6, 1536),
    "L": (512, 4, 8, 2048),
    "H": (640, 4, 8, 2560),
    "pico": (96, 2, 3, 384),
    "nano": (96, 2, 3, 384),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What stands behind the colon of `--config=NAME:modalities=audio,video,variant=S/16x2`.

    Attributes:
        modalities: those that are trained on; () = all that the recipe has.
        variant: size and patch of the model; see `av_mae.config.schema.variant`.
    """

    modalities: tuple[str, ...] = ()
    variant: str = "B/16x2"

    @property
    def size(self) -> str:
        """The variant without its patch: `S` of `S/16x2`."""
        return self.variant.partition("/")[0]


ALL = Options()


def options(arg: str, *, variant: str = "B/16x2", modalities: str | None = None) -> Options:
    """Reads a config's argument; what it does not name keeps the default given here.

    Raises:
        ConfigError: an unknown name, or a modality that does not exist.
    """
    values = {}
    for part in re.split(r",(?=\w+=)", arg) if arg else ():
        name, equals, value = part.partition("=")
        if not equals or name not in ("modalities", "variant"):
            raise limits.ConfigError(
                f"config argument {part!r}: expected modalities=... or variant=..., "
                "as in modalities=audio,video,variant=S/16x2"
            )
        values[name] = value
    chosen = values.get("modalities", modalities)
    names = () if chosen is None else tuple(chosen.split(","))
    if not set(names) <= set(modality.KINDS) or len(set(names)) < len(names):
        raise limits.ConfigError(
            f"config argument modalities={chosen}: expected one or more of "
            f"{', '.join(modality.KINDS)}, each once, as in modalities=audio,video"
        )
    return Options(names, values.get("variant", variant))


def pretrain(
    chosen: Options = ALL, *, records: str, **inputs: Mapping[str, Any]
) -> ml_collections.ConfigDict:
    """All keys of a pretraining run of `chosen.variant`, its decoder included.

    Args:
        chosen: variant and modalities, as `options` reads them.
        records: name of the data set; its records are in `records/NAME` unless a flag says where.
        inputs: keys of each modality that the recipe has, as in `audio={"seconds": 4.0}`.

    Raises:
        ConfigError: an unknown variant or modality, or one that the recipe does not have.
    """
    sizes, _ = schema.variant(chosen.variant)
    decoder = zip(sizes, DECODERS[chosen.size], strict=True)
    return _experiment(
        chosen, "pretrain", records, inputs, {f"decoder_{name}": size for name, size in decoder}
    )


def finetune(
    chosen: Options = ALL, *, records: str, **inputs: Mapping[str, Any]
) -> ml_collections.ConfigDict:
    """All keys of a classifier; arguments as of `pretrain`.

    `--config.init_from.path` says what it starts from; without it training is from scratch.
    """
    return _experiment(chosen, "classify", records, inputs, {})


def evaluators(**named: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Evaluators by name, each with all its keys."""
    return ml_collections.ConfigDict(
        {name: _keys(schema.Evaluator(**values)) for name, values in named.items()}
    )


def for_size(by_size: Mapping[str, Value], chosen: Options) -> Value:
    """The entry of the chosen size in a table of published recipes.

    Raises:
        ConfigError: there is none.
    """
    if chosen.size not in by_size:
        raise limits.ConfigError(
            f"config argument variant={chosen.variant}: a recipe is published for "
            f"{', '.join(by_size)}; take the nearest and override its model.* by flags"
        )
    return by_size[chosen.size]


def per_256(c: ml_collections.ConfigDict, rate: float) -> config_dict.FieldReference:
    """`rate * batch_size / 256`: also when the batch size is overridden by a flag."""
    return c.get_ref("batch_size").to_float() * (rate / 256)


@functools.cache
def load(name: str) -> types.SimpleNamespace:
    """The contents of a published config, as in `load("audioset/finetune").get_config(arg)`.

    Raises:
        ConfigError: there is none of this name.
    """
    return types.SimpleNamespace(**runpy.run_path(str(published.file(name))))


def _experiment(
    chosen: Options,
    task: str,
    records: str,
    inputs: Mapping[str, Mapping[str, Any]],
    decoder: Mapping[str, int],
) -> ml_collections.ConfigDict:
    for name in chosen.modalities:
        if name not in inputs:
            raise limits.ConfigError(
                f"config argument modalities={','.join(chosen.modalities)}: the recipe has "
                f"{' and '.join(inputs) or 'no modality'} only"
            )
    for name in inputs:
        if name not in modality.KINDS:
            near = limits.nearest(name, modality.KINDS, "expected")
            raise limits.ConfigError(f"unknown modality {name!r}; {near}")

    sizes, patch = schema.variant(chosen.variant)
    e = schema.Experiment(
        task=task,
        dataset=schema.Dataset(path=f"records/{records}"),
        model=dataclasses.replace(schema.Model(), **sizes, **decoder),
    )
    c = ml_collections.ConfigDict(e.to_dict())
    patches: dict[str, dict[str, Any]] = {"video": {"patch": patch}}
    c.modalities = {
        name: _keys(kind(**{**patches.get(name, {}), **inputs[name]}))
        for name, kind in modality.KINDS.items()
        if name in (chosen.modalities or inputs)
    }
    return c.lock()


def _keys(values: Any) -> dict[str, Any]:
    """All fields of a dataclass; those that may be None take a number from a flag."""
    hints = typing.get_type_hints(type(values))
    keys = dataclasses.asdict(values)
    for name in [name for name, value in keys.items() if value is None]:
        kind = next(kind for kind in typing.get_args(hints[name]) if kind is not type(None))
        keys[name] = config_dict.placeholder(kind)
    return keys
