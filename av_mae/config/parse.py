"""From a config mapping to a checked `schema.Experiment`.

An unknown key or a value of the wrong type stops here, with the nearest key or what is expected.
What keys mean for a task is checked by `av_mae.tasks.check`.
"""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections

from av_mae.config import keys as keys_lib
from av_mae.config import limits, schema
from av_mae.config import modality as modality_lib
from av_mae.config.limits import ConfigError

_MOST_SIDE = 10_000  # pixels
_MOST_VALUES = 10**11  # of a model: 400 GB


def experiment(values: Mapping[str, Any] | ml_collections.ConfigDict) -> schema.Experiment:
    """Checks a config mapping (ConfigDict or dict) key by key and returns the experiment.

    Raises:
        ConfigError: unknown key, wrong type, value outside its limits, or values that contradict
            each other.
    """
    plain = values.to_dict() if isinstance(values, ml_collections.ConfigDict) else values
    e = _build(schema.Experiment, plain, "")
    _check(e)
    return e


def _build(kind: type, values: Any, where: str) -> Any:
    """A dataclass from a mapping of its fields, which stands at the key `where`."""
    hints = typing.get_type_hints(kind, include_extras=True)
    known = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}, expected a dict of {', '.join(known)}")
    keys = {name: f"{where}.{name}".removeprefix(".") for name in values}
    for name, key in keys.items():
        if name not in known:
            raise ConfigError(f"unknown key {key!r}; {keys_lib.advice(key, _known(where, known))}")
    return kind(**{name: _value(hints[name], values[name], key) for name, key in keys.items()})


def _known(where: str, names: Iterable[str]) -> list[str]:
    """Whole paths of the keys that every experiment has, and of those at `where`."""
    kinds = {
        name: {field.name: None for field in dataclasses.fields(kind)}
        for name, kind in modality_lib.KINDS.items()
    }
    everywhere = keys_lib.flat(schema.Experiment().to_dict() | {"modalities": kinds})
    here = [f"{where}.{name}".removeprefix(".") for name in names]
    return list(dict.fromkeys([*everywhere, *filter(None, [where]), *here]))


def _value(hint: Any, value: Any, where: str) -> Any:
    """The value of the key `where`, of any type that the schema has, checked."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    if origin is types.UnionType:  # such as float | None
        return None if value is None else _value(args[0], value, where)

    if origin is dict:  # evaluators by any name, or modalities in the order of KINDS
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, expected a dict by name")
        kinds: dict[str, type] = dict.fromkeys(value, args[1])
        if args[1] is modality_lib.Modality:
            kinds = dict(modality_lib.KINDS)
        for name in value:
            if name not in kinds:
                key, known = f"{where}.{name}", _known(where, kinds)
                raise ConfigError(f"unknown key {key!r}; {keys_lib.advice(key, known)}")
        return {n: _build(kinds[n], value[n], f"{where}.{n}") for n in kinds if n in value}

    if origin is not tuple:
        return limits.check(hint, value, where)
    if not isinstance(value, (tuple, list)):
        raise ConfigError(f"{where} is {value!r}, expected a tuple, as in (1, 2)")
    hints = (args[0],) * len(value) if args[-1] is Ellipsis else args
    if len(value) != len(hints):
        raise ConfigError(f"{where} is {tuple(value)}, expected {len(hints)} values")
    pairs = enumerate(zip(hints, value, strict=True))
    return tuple(limits.check(h, v, f"{where}[{i}]") for i, (h, v) in pairs)


def _check(e: schema.Experiment) -> None:
    """Raises ConfigError if values contradict each other."""
    data, m = e.dataset, e.model
    for key in ("prepare", "cache"):
        if getattr(data, key) and not data.source:
            raise ConfigError(
                f"dataset.{key} is set, but nothing is prepared: set dataset.source, too, or leave "
                f"dataset.{key} empty"
            )
    if data.source and data.format != "records":
        raise ConfigError(
            f"dataset.format is {data.format!r}, but dataset.source is prepared into records; "
            "leave out one of them"
        )
    if not e.modalities:
        raise ConfigError("modalities is empty, expected video, audio or both")
    for key, size in (("optim.accumulate", e.optim.accumulate), ("dataset.repeat", data.repeat)):
        if e.batch_size % size:
            raise ConfigError(f"batch_size {e.batch_size} is not divisible by {key} {size}")
    if any(data.canvas) and not 1 <= min(data.canvas) <= max(data.canvas) <= _MOST_SIDE:
        raise ConfigError(
            f"dataset.canvas is {data.canvas}, expected a height and a width of pictures, 1 to "
            f"{_MOST_SIDE:,} pixels, or (0, 0) for crops by the host"
        )
    for name, evaluator in e.evaluators.items():
        if data.multilabel and evaluator.merge == "softmax":
            raise ConfigError(
                f"evaluators.{name}.merge is softmax, which is for clips of one label, but "
                "dataset.multilabel is True; use logits"
            )

    for key, width, heads in (
        ("model", m.width, m.heads),
        ("model.decoder", m.decoder_width, m.decoder_heads),
    ):
        if width % heads:
            raise ConfigError(f"{key}: width {width} is not divisible by {heads} heads")
    encoder = m.depth * (4 * m.width**2 + 2 * m.width * m.mlp)
    decoder = m.decoder_depth * (4 * m.decoder_width**2 + 2 * m.decoder_width * m.decoder_mlp)
    rows = m.bottlenecks + m.head_width + sum(x.tokens + x.patch_dim for x in e.modalities.values())
    for key, size in (("model", encoder + rows * m.width), ("model.decoder", decoder)):
        if size > _MOST_VALUES:
            raise ConfigError(
                f"{key}: width, depth and mlp make {size:,} numbers, at most {_MOST_VALUES:,} are "
                "possible; use smaller ones"
            )
    for key, size in (("model.heads", m.heads), ("model.mlp", m.mlp)):
        if size % e.compute.tensor:
            raise ConfigError(
                f"{key} is {size}, which compute.tensor {e.compute.tensor} does not divide"
            )
    if not 0 <= m.fusion_norm_layer < m.depth:
        raise ConfigError(
            f"model.fusion_norm_layer is {m.fusion_norm_layer}, expected 0 (where fusion begins) "
            f"or less than model.depth ({m.depth})"
        )
    if m.inpainting and len(e.modalities) < 2:
        raise ConfigError("model.inpainting needs two modalities; add one or turn it off")
