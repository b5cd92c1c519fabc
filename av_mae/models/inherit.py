"""Starting a model from the parameters of another one with a different job or fusion.

Encoder layers correspond by their number from the bottom and their modality: a bottleneck
classifier takes its separate layers from a pretraining's separate stacks and its fused layers from
the joint one, each modality its own copy. What corresponds to nothing is reported, never silent.
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from av_mae.config import schema
from av_mae.models import fusion, positions

Path = tuple[str, ...]
Params = dict[Path, Any]  # arrays of either kind, by path

_GROUPS = 8  # named in a sentence


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

    def counts(self) -> str:
        """`loaded 71 arrays; newly initialised: head (2 arrays); left over: decoders (18 arrays)`.

        A part of one array is given by its whole name.
        """
        parts = [f"loaded {_arrays(len(self.loaded))}"]
        for title, paths in (
            ("resized", self.resized),
            ("newly initialised", self.fresh),
            ("left over", self.unused),
        ):
            groups: dict[str, list[str]] = {}
            for path in paths:
                groups.setdefault(re.split(r"[/.]", path)[0], []).append(path)
            named = [
                f"{name} ({_arrays(len(own))})" if len(own) > 1 else own[0]
                for name, own in groups.items()
            ]
            if len(named) > _GROUPS:
                named[_GROUPS:] = [f"and {len(named) - _GROUPS} more parts"]
            parts += [f"{title}: {', '.join(named)}"] if named else []
        return "; ".join(parts)

    def __str__(self) -> str:
        """A table with one line for all parameters of a stack of blocks."""
        lines = []
        for title in ("loaded", "resized", "fresh", "unused"):
            paths, counts = getattr(self, title), collections.Counter()
            for path in paths:
                short = path.split("/blocks/")[0] + "/blocks" if "/blocks/" in path else path
                origin = self.sources.get(path, short)
                counts[short if origin == short else f"{short} <- {origin}"] += 1
            lines.append(f"{title}: {len(paths)}")
            for line, count in counts.items():
                lines.append(f"  {line}" if count == 1 else f"  {line} ({count} parameters)")
        lines += [f"inputs differ: {line}" for line in self.inputs]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Route:
    """What the encoder's tokens of a modality pass through; paths are those of parameters.

    Attributes:
        stacks: those with layers, from the bottom.
        inner_norm: path of the LayerNorm between two layers, the one before `inner_layer`; "" and
            None: there is none.
        last_norm: path of the LayerNorm after the last layer; "": there is none.
    """

    stacks: tuple[fusion.Stack, ...]
    inner_norm: str
    inner_layer: int | None
    last_norm: str


def route(model: schema.Model, modality: str) -> Route:
    """A modality's way through the encoders, as the model's fusion describes its stacks."""
    every = [
        dataclasses.replace(stack, path=f"encoders/{stack.path}")
        for stack in fusion.of(model).stacks(model, (modality,))
    ]
    inner, place = "", None
    for stack in every:
        if stack.inner_norm is not None:
            inner, place = f"{stack.path}/inner_norm", stack.inner_norm
        elif stack.norm and stack is not every[-1]:
            inner, place = f"{stack.path}/norm", stack.last
    last = ""
    if model.final_norm:
        last = f"{every[-1].path}/norm" if every[-1].norm else "encoders/norm"
    return Route(tuple(s for s in every if s.first < s.last), inner, place, last)


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
    matched = _Match(found, source, target)
    report = Report()
    for name in filter(source.modalities.__contains__, target.modalities):
        theirs, ours = (dataclasses.asdict(e.modalities[name]) for e in (source, target))
        for key in ("mean", "std", "remove_still"):
            if key in ours and ours[key] != theirs[key]:
                now, was = map(_rounded, (ours[key], theirs[key]))
                report.inputs.append(f"modalities.{name}.{key} is {now}, was {was}")
    result, used = dict(target_params), set()
    for path, old in target_params.items():
        name, shape = "/".join(path), tuple(old.shape)
        parts, origin = matched.parts(name, shape)
        if not parts:
            report.fresh.append(name)
            continue
        used |= {part for part, _ in parts}
        value, *others = (found[part][layers] for part, layers in parts)
        if others:  # stacks follow one another, norms become one
            join = np.concatenate if "/blocks/" in name else functools.partial(np.mean, axis=0)
            value = join([value, *others])
        if value.shape == shape:
            report.loaded.append(name)
        else:  # learned positions
            grids = [e.modalities[path[-1]].grid for e in (source, target)]
            value = positions.resize(value, *grids)
            report.resized.append(name)
        report.sources[name] = origin
        result[path] = value
    report.unused = [name for name in found if name not in used]
    return result, report


Parts = list[tuple[str, slice]]  # source paths, and the layers wanted of each (or all there is)


class _Match:
    """Finds the sources of each target parameter: `(parts, where they lie)`, no parts if none."""

    def __init__(
        self, found: Mapping[str, np.ndarray], source: schema.Experiment, target: schema.Experiment
    ):
        self.found, self.source, self.target = found, source, target
        self.routes = {
            name: (route(source.model, name), route(target.model, name))
            for name in target.modalities
            if name in source.modalities
        }
        self.stacks = {
            f"encoders/{stack.path}": stack
            for stack in fusion.of(target.model).stacks(target.model, tuple(target.modalities))
        }

    def parts(self, name: str, shape: tuple[int, ...]) -> tuple[Parts, str]:
        prefix, _, leaf = name.rpartition("/")
        norms, ways = None, self.routes.values()  # prefixes of the source's norms; "": it has none
        if name.startswith("encoders/"):
            stack, _, inner = name.partition("/blocks/")
            if inner:
                return self._layers(stack, inner)
            if "/norm/" in name or "/inner_norm/" in name:
                norms = {theirs.last_norm for theirs, ours in ways if prefix == ours.last_norm}
                norms |= {theirs.inner_norm for theirs, ours in ways if prefix == ours.inner_norm}
        if prefix == "head_norm" and name not in self.found:
            own = self.target.model.final_norm
            norms = set() if own else {theirs.last_norm for theirs, _ in ways}
        if norms is not None:
            known = sorted(norms - {""})
            origin = known[0] if len(known) == 1 else f"mean of {', '.join(known)}"
            return [(f"{norm}/{leaf}", slice(None)) for norm in known], origin
        if name.startswith("head/") or name not in self.found:
            return [], ""
        if self.found[name].shape != shape and "positions/" not in name:
            return [], ""
        return [(name, slice(None))], name

    def _layers(self, prefix: str, leaf: str) -> tuple[Parts, str]:
        """The layers of a target's stack, in the stacks of the source that have them."""
        wanted = self.stacks[prefix]
        known = [name for name in wanted.names if name in self.routes]
        choices = set()
        for name in known:
            parts = []
            for stack in self.routes[name][0].stacks:
                first, last = max(stack.first, wanted.first), min(stack.last, wanted.last)
                if first < last:
                    parts.append((stack.path, first - stack.first, last - stack.first))
            choices.add(tuple(parts))
        if len(choices) > 1:
            raise schema.ConfigError(
                f"model.fusion {self.target.model.fusion} has one {prefix} for "
                f"{' and '.join(known)}, but init_from was trained with fusion "
                f"{self.source.model.fusion}, where layers {wanted.first} to {wanted.last - 1} are "
                "several; use fusion separate or bottleneck"
            )
        parts = choices.pop() if choices else ()
        origin = " + ".join(f"{path}/blocks[{first}:{last}]" for path, first, last in parts)
        return [(f"{path}/blocks/{leaf}", slice(*layers)) for path, *layers in parts], origin


def _arrays(count: int) -> str:
    return "1 array" if count == 1 else f"{count} arrays"


def _rounded(value: Any) -> str:
    """A number, or several, in four digits; anything else as it is."""
    if isinstance(value, tuple | list):
        return ", ".join(map(_rounded, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check(source: schema.Experiment, target: schema.Experiment) -> None:
    common = [name for name in target.modalities if name in source.modalities]
    if not common:
        raise schema.ConfigError(
            f"init_from was trained on {', '.join(source.modalities)}, this run uses "
            f"{', '.join(target.modalities)}; they share no modality"
        )
    old, new = source.model, target.model
    values = {}
    for key in ("depth", "width", "heads", "mlp", "gelu", "qkv_bias", "positions"):
        values[f"model.{key}"] = getattr(old, key), getattr(new, key)
    values["model.layer_scale > 0"] = old.layer_scale > 0, new.layer_scale > 0
    for name in common:
        patches = source.modalities[name].patch, target.modalities[name].patch
        values[f"modalities.{name}.patch"] = patches
    for key, (was, now) in values.items():
        if was != now:
            raise schema.ConfigError(
                f"{key} is {now!r}, but init_from was trained with {was!r}; set it to {was!r}"
            )

    # A fresh LayerNorm between trained layers would undo what they learned.
    trained, place = (route(model, common[0]).inner_layer for model in (old, new))
    if place in (None, 0, new.depth) or place == trained:
        return
    advice = f"set model.fusion_norm_layer = {trained}, where it has one"
    if trained in (None, 0, old.depth):
        advice = "set model.fusion_norm = False"
    raise schema.ConfigError(
        f"model.fusion_norm puts a LayerNorm after layer {place}, where init_from was trained "
        f"without one; {advice}"
    )
