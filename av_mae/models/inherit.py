"""Starting a model from the parameters of another one with a different job or fusion.

Encoder layers correspond by their number from the bottom and their modality: a bottleneck
classifier takes its separate layers from a pretraining's separate stacks and its fused layers from
the joint one, each modality its own copy. What corresponds to nothing is reported, never silent.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from av_mae.config import schema
from av_mae.models import fusion, positions

Path = tuple[str, ...]
Params = dict[Path, Any]  # arrays of either kind, by path


@dataclasses.dataclass
class Report:
    """Where every parameter went.

    Attributes:
        loaded: target paths that were taken over.
        resized: target paths (learned positions) interpolated to another token grid.
        fresh: target paths left as they were initialised.
        unused: source paths that have no place in the target.
        sources: for loaded and resized paths, where they came from.
        inputs: keys by which the inputs are prepared otherwise than the source's were.
    """

    loaded: list[str] = dataclasses.field(default_factory=list)
    resized: list[str] = dataclasses.field(default_factory=list)
    fresh: list[str] = dataclasses.field(default_factory=list)
    unused: list[str] = dataclasses.field(default_factory=list)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    inputs: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        """A table with one line for all parameters of a stack of blocks."""
        lines = []
        for title in ("loaded", "resized", "fresh", "unused"):
            paths = getattr(self, title)
            lines.append(f"{title}: {len(paths)}")
            lines += [f"  {line}" for line in _lines(paths, self.sources)]
        lines += [f"inputs differ: {line}" for line in self.inputs]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Stack:
    """Layers `first` to `last` (exclusive) of the network, as the modality sees it."""

    prefix: str
    first: int
    last: int


def inherit(
    target_params: Params,
    source_params: Mapping[Path, np.ndarray],
    source: schema.Experiment,
    target: schema.Experiment,
) -> tuple[Params, Report]:
    """Replaces freshly initialised parameters by those of a trained model.

    Layers are matched as the module says. A final norm follows its modality; norms of separate
    encoders that become one shared norm are averaged; a `head_norm` takes the final norm when the
    target has none of its own. Learned positions are interpolated. Heads stay fresh.

    Raises:
        ConfigError: architectures that do not fit, naming both values and the key to change.
    """
    _check(source, target)
    found = {"/".join(path): np.asarray(value) for path, value in source_params.items()}
    plan = _Plan(found, source, target)
    report = Report(inputs=list(_input_differences(source, target)))
    result = dict(target_params)
    for path, old in target_params.items():
        name = "/".join(path)
        value, origin = plan.value(name, tuple(old.shape))
        if value is None:
            report.fresh.append(name)
            continue
        resized = value.shape != tuple(old.shape)
        (report.resized if resized else report.loaded).append(name)
        report.sources[name] = origin
        result[path] = plan.resize(name, value) if resized else value
    report.unused = [name for name in found if name not in plan.used]
    return result, report


def _input_differences(source: schema.Experiment, target: schema.Experiment) -> Iterator[str]:
    for name in filter(source.modalities.__contains__, target.modalities):
        theirs, ours = (dataclasses.asdict(e.modalities[name]) for e in (source, target))
        for key in ("mean", "std", "remove_still"):
            if key in ours and ours[key] != theirs[key]:
                yield f"modalities.{name}.{key} is {ours[key]}, was {theirs[key]}"


class _Plan:
    """Finds the source of each target parameter and remembers which source was used."""

    def __init__(
        self, found: Mapping[str, np.ndarray], source: schema.Experiment, target: schema.Experiment
    ):
        self.found, self.source, self.target = found, source, target
        self.used: set[str] = set()
        self.stacks: dict[str, tuple[Stack, list[str]]] = {}
        for modality in target.modalities:
            for stack in stacks(target.model, modality):
                self.stacks.setdefault(stack.prefix, (stack, []))[1].append(modality)

    def value(self, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray | None, str]:
        """The source's value of a target parameter and where it lies; None if there is none."""
        if name.startswith("encoders/"):
            prefix, _, leaf = name.partition("/blocks/")
            if leaf:
                return self._blocks(prefix, leaf)
            if "/norm/" in name or "/inner_norm/" in name:
                return self._mean(self._norms(name), name.rsplit("/", 1)[1])
        if name.startswith("head_norm/"):
            return self._head_norm(name)
        if name.startswith("head/") or name not in self.found:
            return None, ""
        if self.found[name].shape != shape and "positions/" not in name:
            return None, ""
        return self._take(name), name

    def resize(self, name: str, value: np.ndarray) -> np.ndarray:
        """Learned positions `[n d]` on another token grid, by cubic interpolation of each axis."""
        modality = name.rsplit("/", 1)[1]
        old = self.source.modalities[modality].grid
        new = self.target.modalities[modality].grid
        return positions.resize(value, old, new)

    def _blocks(self, prefix: str, leaf: str) -> tuple[np.ndarray | None, str]:
        stack, modalities = self.stacks[prefix]
        known = [m for m in modalities if m in self.source.modalities]
        choices = {tuple(_pieces(stacks(self.source.model, m), stack)): m for m in known}
        if len(choices) > 1:
            raise schema.ConfigError(
                f"model.fusion {self.target.model.fusion} has one {prefix} for "
                f"{' and '.join(known)}, but init_from was trained with fusion "
                f"{self.source.model.fusion}, where layers {stack.first} to {stack.last - 1} are "
                "several; use fusion separate or bottleneck"
            )
        if not choices:
            return None, ""
        pieces = next(iter(choices))
        parts = [self._take(f"{p.prefix}/blocks/{leaf}")[p.first : p.last] for p in pieces]
        origin = " + ".join(f"{p.prefix}/blocks[{p.first}:{p.last}]" for p in pieces)
        return np.concatenate(parts), origin

    def _norms(self, name: str) -> list[str]:
        """Prefixes of the source norms that a target norm stands for."""
        prefix = name.rsplit("/", 1)[0]
        norms = set()
        for modality in self.target.modalities:
            if modality not in self.source.modalities:
                continue
            inner, outer = norm_prefixes(self.target.model, modality)
            source_inner, source_outer = norm_prefixes(self.source.model, modality)
            if prefix == outer and source_outer:
                norms.add(source_outer)
            if prefix == inner and source_inner:
                norms.add(source_inner)
        return sorted(norms)

    def _head_norm(self, name: str) -> tuple[np.ndarray | None, str]:
        if name in self.found:
            return self._take(name), name
        if self.target.model.final_norm:
            return None, ""
        known = [m for m in self.target.modalities if m in self.source.modalities]
        norms = {norm_prefixes(self.source.model, modality)[1] for modality in known}
        return self._mean(sorted(norms - {""}), name.rsplit("/", 1)[1])

    def _mean(self, prefixes: list[str], leaf: str) -> tuple[np.ndarray | None, str]:
        if not prefixes:
            return None, ""
        values = [self._take(f"{prefix}/{leaf}") for prefix in prefixes]
        origin = prefixes[0] if len(prefixes) == 1 else f"mean of {', '.join(prefixes)}"
        return np.mean(values, axis=0), origin

    def _take(self, name: str) -> np.ndarray:
        self.used.add(name)
        return self.found[name]


def stacks(model: schema.Model, modality: str) -> list[Stack]:
    """The stacks that a modality's tokens pass through, from the bottom."""
    lower = model.depth - model.fusion_layers
    whole = {"early": "encoders/joint", "shared": "encoders/shared"}
    if model.fusion in ("mid", "bottleneck"):
        upper = {"mid": "encoders/joint", "bottleneck": f"encoders/fused/{modality}"}
        split = [(f"encoders/{modality}", 0, lower), (upper[model.fusion], lower, model.depth)]
        return [Stack(*s) for s in split if s[1] < s[2]]
    return [Stack(whole.get(model.fusion, f"encoders/{modality}"), 0, model.depth)]


def _pieces(source: list[Stack], wanted: Stack) -> Iterable[Stack]:
    """Parts of the source's stacks (numbered within each) that make up the wanted layers."""
    for stack in source:
        first, last = max(stack.first, wanted.first), min(stack.last, wanted.last)
        if first < last:
            yield Stack(stack.prefix, first - stack.first, last - stack.first)


def norm_prefixes(model: schema.Model, modality: str) -> tuple[str, str]:
    """(norm inside the network, final norm) on a modality's way; "" = there is none."""
    inner = ""
    if model.fusion in ("mid", "bottleneck"):
        inner = _inner_norm(model, modality)
    outer = {
        "early": "encoders/joint/norm",
        "mid": "encoders/joint/norm",
        "shared": "encoders/shared/norm",
        "separate": f"encoders/{modality}/norm",
        "bottleneck": f"encoders/fused/{modality}/norm",
    }[model.fusion]
    if model.shared_norm and model.fusion in ("separate", "bottleneck"):
        outer = "encoders/norm"
    return inner, outer if model.final_norm else ""


def _inner_norm(model: schema.Model, modality: str) -> str:
    lower, place = model.depth - model.fusion_layers, fusion.norm_layer(model)
    if place is None:
        return ""
    if place == lower:
        return f"encoders/{modality}/norm"
    upper = "joint" if model.fusion == "mid" else f"fused/{modality}"
    return f"encoders/{modality if place < lower else upper}/inner_norm"


def _check(source: schema.Experiment, target: schema.Experiment) -> None:
    common = [name for name in target.modalities if name in source.modalities]
    if not common:
        raise schema.ConfigError(
            f"init_from was trained on {', '.join(source.modalities)}, this run uses "
            f"{', '.join(target.modalities)}; they share no modality"
        )
    for key in ("depth", "width", "heads", "mlp", "gelu", "qkv_bias", "positions"):
        _must_agree(f"model.{key}", getattr(source.model, key), getattr(target.model, key))
    scaled = [m.layer_scale > 0 for m in (source.model, target.model)]
    _must_agree("model.layer_scale > 0", *scaled)
    for name in common:
        patches = (source.modalities[name].patch, target.modalities[name].patch)
        _must_agree(f"modalities.{name}.patch", *patches)
    _check_inner_norm(source, target)


def _check_inner_norm(source: schema.Experiment, target: schema.Experiment) -> None:
    """A fresh LayerNorm between trained layers would undo what they learned."""
    old, new = source.model, target.model
    place = fusion.norm_layer(new) if new.fusion in ("mid", "bottleneck") else None
    if place is None or not 0 < place < new.depth:
        return
    trained = fusion.norm_layer(old) if old.fusion in ("mid", "bottleneck") else None
    if trained is None or not 0 < trained < old.depth:
        advice = "set model.fusion_norm = False"
    else:
        advice = f"set model.fusion_norm_layer = {trained}, where it has one"
    if place != trained:
        raise schema.ConfigError(
            f"model.fusion_norm puts a LayerNorm after layer {place}, where init_from was trained "
            f"without one; {advice}"
        )


def _must_agree(key: str, old: object, new: object) -> None:
    if old != new:
        raise schema.ConfigError(
            f"{key} is {new!r}, but init_from was trained with {old!r}; set it to {old!r}"
        )


def _lines(paths: list[str], sources: Mapping[str, str]) -> list[str]:
    counts: dict[str, int] = {}
    for path in paths:
        short = path.split("/blocks/")[0] + "/blocks" if "/blocks/" in path else path
        origin = sources.get(path, "")
        line = short if origin in ("", short) else f"{short} <- {origin}"
        counts[line] = counts.get(line, 0) + 1
    return [
        line if count == 1 else f"{line} ({count} parameters)" for line, count in counts.items()
    ]
