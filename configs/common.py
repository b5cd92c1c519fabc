"""What all configs share: every key with its default, sizes of models, arguments.

A config starts from `pretrain` or `finetune`, which hold all keys of
`av_mae.config.schema.Experiment`: so any of them can be overridden by a flag, and a misspelt one is
an error at its own line.
"""

import dataclasses
import re
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from av_mae.config import modality, schema

Value = typing.TypeVar("Value")

# width, depth, heads, mlp. B and L: Scenic's; VideoMAE's differ in the depth of L and H.
DECODERS = {
    "Ti": (96, 4, 3, 384),
    "S": (192, 4, 3, 768),
    "B": (384, 4, 6, 1536),
    "L": (512, 4, 8, 2048),
    "H": (640, 4, 8, 2560),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What stands behind the colon of `--config=FILE:modalities=audio,video,variant=S/16x2`."""

    modalities: tuple[str, ...]
    variant: str

    @property
    def size(self) -> str:
        """The variant without its patch: `S` of `S/16x2`."""
        return self.variant.partition("/")[0]


def options(arg: str, *, variant: str = "B/16x2", modalities: str = "video,audio") -> Options:
    """Reads a config's argument; what it does not name keeps the default given here.

    Raises:
        ConfigError: an unknown name, or a modality that does not exist.
    """
    values = {"modalities": modalities, "variant": variant}
    for part in re.split(r",(?=\w+=)", arg) if arg else ():
        name, equals, value = part.partition("=")
        if not equals or name not in values:
            raise schema.ConfigError(
                f"config argument {part!r}: expected modalities=... or variant=..., "
                "as in modalities=audio,video,variant=S/16x2"
            )
        values[name] = value
    names = values["modalities"].split(",")
    if not set(names) <= set(modality.KINDS) or len(set(names)) < len(names):
        raise schema.ConfigError(
            f"config argument modalities={values['modalities']}: expected one or more of "
            f"{', '.join(modality.KINDS)}, each once, as in modalities=audio,video"
        )
    ordered = tuple(name for name in modality.KINDS if name in names)
    return Options(ordered, values["variant"])


def pretrain(
    chosen: Options, *, records: str, video: Mapping[str, Any], audio: Mapping[str, Any]
) -> ml_collections.ConfigDict:
    """All keys of a pretraining run of `chosen.variant`, its decoder included."""
    c = _experiment(chosen, "pretrain", records, {"video": video, "audio": audio})
    width, depth, heads, mlp = DECODERS[chosen.size]
    c.model.update(decoder_width=width, decoder_depth=depth, decoder_heads=heads, decoder_mlp=mlp)
    return c


def finetune(
    chosen: Options, *, records: str, video: Mapping[str, Any], audio: Mapping[str, Any]
) -> ml_collections.ConfigDict:
    """All keys of a classifier of `chosen.variant`; `--config.init_from.path` says what it is
    started from, and without it the training is from scratch."""
    return _experiment(chosen, "classify", records, {"video": video, "audio": audio})


def published(by_size: Mapping[str, Value], chosen: Options) -> Value:
    """The entry of the chosen size in a table of what is published.

    Raises:
        ConfigError: there is none.
    """
    if chosen.size not in by_size:
        raise schema.ConfigError(
            f"config argument variant={chosen.variant}: a recipe is published for "
            f"{', '.join(by_size)}; take the nearest and override its model.* by flags"
        )
    return by_size[chosen.size]


def evaluators(**named: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Evaluators by name, each with all its keys."""
    return ml_collections.ConfigDict(
        {name: _keys(schema.Evaluator(**values)) for name, values in named.items()}
    )


def per_256(c: ml_collections.ConfigDict, rate: float) -> config_dict.FieldReference:
    """`rate * batch_size / 256`: also when the batch size is overridden by a flag."""
    return c.get_ref("batch_size").to_float() * (rate / 256)


def _experiment(
    chosen: Options, task: str, records: str, kinds: Mapping[str, Mapping[str, Any]]
) -> ml_collections.ConfigDict:
    sizes, patch = schema.variant(chosen.variant)
    c = ml_collections.ConfigDict(schema.Experiment(task=task).to_dict())
    c.dataset.path = f"records/{records}"
    c.model.update(sizes)
    kinds = {**kinds, "video": {"patch": patch, **kinds["video"]}}
    c.modalities = {n: _keys(modality.KINDS[n](**kinds[n])) for n in chosen.modalities}
    return c.lock()


def _keys(values: Any) -> dict[str, Any]:
    """All fields of a dataclass; those that may be None take a number from a flag."""
    hints = typing.get_type_hints(type(values))
    keys = dataclasses.asdict(values)
    for name in [name for name, value in keys.items() if value is None]:
        kind = next(kind for kind in typing.get_args(hints[name]) if kind is not type(None))
        keys[name] = config_dict.placeholder(kind)
    return keys
