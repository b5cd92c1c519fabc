"""From a config mapping to a checked `config.Experiment`.

An unknown key or a value of the wrong kind stops here with the nearest key. What keys mean for a
task is checked by `av_mae.tasks.check`.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from av_mae.config import durations, schema
from av_mae.config import modality as modality_lib


def experiment(
    values: Mapping[str, Any] | ml_collections.ConfigDict,
) -> schema.Experiment:
    """Checks a config mapping (ConfigDict or dict) key by key and returns the experiment.

    Raises:
        ConfigError: unknown key, wrong type, unknown choice, or values that contradict each other.
    """
    plain = values.to_dict() if isinstance(values, ml_collections.ConfigDict) else values
    parsed = _build(schema.Experiment, plain, "")
    _check(parsed)
    return parsed


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise schema.ConfigError(f"{where} is {values!r}, expected a dict of {_names(kind)}")
    hints = typing.get_type_hints(kind)
    known = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            raise schema.ConfigError(_unknown(f"{where}{key}", key, known))
    try:
        return kind(**{k: _value(known[k], v, f"{where}{k}") for k, v in values.items()})
    except schema.ConfigError:
        raise
    except ValueError as error:
        raise schema.ConfigError(str(error)) from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _value(next(a for a in args if a is not type(None)), value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, where + ".")
    if origin is dict:
        return _mapping(args[1], value, where)
    if origin is tuple:
        return _tuple(args, value, where)
    return _scalar(hint, value, where)


def _mapping(kind: type, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise schema.ConfigError(f"{where} is {value!r}, expected a dict by name")
    if kind is modality_lib.Modality:
        for name in value:
            if name not in modality_lib.KINDS:
                raise schema.ConfigError(_unknown(f"{where}.{name}", name, modality_lib.KINDS))
        order = [name for name in modality_lib.KINDS if name in value]
        return {n: _build(modality_lib.KINDS[n], value[n], f"{where}.{n}.") for n in order}
    return {name: _build(kind, sub, f"{where}.{name}.") for name, sub in value.items()}


def _tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise schema.ConfigError(f"{where} is {value!r}, expected a tuple, as in (1, 2)")
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(value) != len(args):
        raise schema.ConfigError(f"{where} is {tuple(value)}, expected {len(args)} values")
    pairs = enumerate(zip(args, value, strict=True))
    return tuple(_scalar(a, v, f"{where}[{i}]") for i, (a, v) in pairs)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise schema.ConfigError(
            f"{where} is {value!r} ({type(value).__name__}), expected {kind.__name__}"
        )
    return value


def _unknown(where: str, key: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key {where!r}; {hint}"


def _names(kind: type) -> str:
    return ", ".join(f.name for f in dataclasses.fields(kind))


def _check(e: schema.Experiment) -> None:
    for path, choices in schema.CHOICES.items():
        for where, value in _at(e, path):
            if value not in choices:
                raise schema.ConfigError(
                    f"{where} is {value!r}, expected one of {', '.join(choices)}"
                )
    for path, least in schema.MINIMA.items():
        for where, value in _at(e, path):
            if value < least:
                raise schema.ConfigError(f"{where} is {value}, expected {least} or more")
    for path in schema.SHARES:
        for where, value in _at(e, path):
            if not 0.0 <= value < 1.0:
                raise schema.ConfigError(f"{where} is {value}, expected 0 to less than 1")
    for path, (least, most) in schema.RANGES.items():
        for where, value in _at(e, path):
            if not least <= value <= most:
                raise schema.ConfigError(f"{where} is {value}, expected {least} to {most}")
    for path in schema.DURATIONS:
        for where, value in _at(e, path):
            _check_duration(where, value)
    _check_source(e)
    _check_sizes(e)
    _check_fusion(e)
    _check_merging(e)


def _at(e: schema.Experiment, path: str) -> list[tuple[str, Any]]:
    """The values at a path and where each stands; `*` is every entry of a dict."""
    found: list[tuple[str, Any]] = [("", e)]
    for name in path.split("."):
        if name == "*":
            found = [(f"{where}.{key}", v) for where, value in found for key, v in value.items()]
        else:
            found = [(f"{where}.{name}", getattr(value, name)) for where, value in found]
    return [(where.removeprefix("."), value) for where, value in found]


def _check_duration(where: str, value: str) -> None:
    if value == "end" and where.startswith("evaluators."):
        return
    try:
        durations.steps(value, steps_per_epoch=1.0, batch_size=1)
    except schema.ConfigError as error:
        raise schema.ConfigError(f"{where}: {error}") from error


def _check_source(e: schema.Experiment) -> None:
    for key in ("prepare", "cache"):
        if getattr(e.dataset, key) and not e.dataset.source:
            raise schema.ConfigError(
                f"dataset.{key} is set, but nothing is prepared: set dataset.source, too, or leave "
                f"dataset.{key} empty"
            )
    if e.dataset.source and e.dataset.format != "records":
        raise schema.ConfigError(
            f"dataset.format is {e.dataset.format!r}, but dataset.source is prepared into records; "
            "leave out one of them"
        )


def _check_sizes(e: schema.Experiment) -> None:
    if not e.modalities:
        raise schema.ConfigError("modalities is empty, expected video, audio or both")
    if e.batch_size % e.optim.accumulate:
        raise schema.ConfigError(
            f"batch_size {e.batch_size} is not divisible by optim.accumulate {e.optim.accumulate}"
        )
    if e.batch_size % e.dataset.repeat:
        raise schema.ConfigError(
            f"batch_size {e.batch_size} is not divisible by dataset.repeat {e.dataset.repeat}"
        )
    if any(e.dataset.canvas) and min(e.dataset.canvas) < 1:
        raise schema.ConfigError(
            f"dataset.canvas is {e.dataset.canvas}, expected a height and a width of pictures in "
            "pixels, or (0, 0) for crops by the host"
        )
    m = e.model
    for key, width, heads in (
        ("model", m.width, m.heads),
        ("model.decoder", m.decoder_width, m.decoder_heads),
    ):
        if width % heads:
            raise schema.ConfigError(f"{key}: width {width} is not divisible by {heads} heads")
    parts = {"model.heads": m.heads, "model.mlp": m.mlp}
    for key, size in parts.items():
        if size % e.compute.tensor:
            raise schema.ConfigError(
                f"{key} is {size}, which compute.tensor {e.compute.tensor} does not divide"
            )


def _check_fusion(e: schema.Experiment) -> None:
    m = e.model
    if not 0 <= m.fusion_norm_layer < m.depth:
        raise schema.ConfigError(
            f"model.fusion_norm_layer is {m.fusion_norm_layer}, expected 0 (where fusion begins) "
            f"or less than model.depth ({m.depth})"
        )
    if m.inpainting and len(e.modalities) < 2:
        raise schema.ConfigError("model.inpainting needs two modalities; add one or turn it off")


def _check_merging(e: schema.Experiment) -> None:
    for name, evaluator in e.evaluators.items():
        if e.dataset.multilabel and evaluator.merge == "softmax":
            raise schema.ConfigError(
                f"evaluators.{name}.merge is softmax, which is for clips of one label, but "
                "dataset.multilabel is True; use logits"
            )
