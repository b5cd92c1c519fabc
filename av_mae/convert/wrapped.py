"""Where a file keeps its model: in dicts of any names, wrapped in modules of any names.

The model is found by its patch embedding. What stands before that array's name stands before all
of the model's, but for a head or a decoder that was put beside a wrapped encoder.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from av_mae.config import schema
from av_mae.convert import torch_file

T = TypeVar("T")

# What PyTorch's wrappers put into names, wherever a part of the model was wrapped.
_WRAPPER = re.compile(
    r"(?<![^.])(_orig_mod|module|_(fsdp|checkpoint)_wrapped_module|_forward_module)\."
)
# The patch embedding of the official program and mmaction2, and of Hugging Face.
_EMBEDDING = re.compile(
    r"(|.*?\.)((encoder\.)?patch_embed\.proj(ection)?"
    r"|(videomae\.)?embeddings\.patch_embeddings\.projection)\.weight"
)
_BESIDE = re.compile(
    r"(head|cls_head|classifier|norm|fc_norm|decoder|encoder_to_decoder|mask_token|pos_embed)\b"
)
_DEEP = 5  # dicts in dicts that are searched


def search(
    content: Any, path: pathlib.Path
) -> tuple[dict[str, torch_file.Tensor], dict[str, Any], tuple[str, ...]]:
    """(tensors of the model by name in it, what stands beside them, names of those left out).

    Of several models the first one is read, but averaged weights only where there are no others.

    Raises:
        ConfigError: there is no model.
    """
    if not isinstance(content, dict):
        kind = getattr(content, "name", type(content).__name__)
        raise schema.ConfigError(
            f"{path} holds a {kind}, expected a dict of tensors; write one with "
            "torch.save(model.state_dict(), FILE) where that program runs"
        )
    most, seen = {}, set()
    todo: list[tuple[tuple[str, ...], dict]] = [((), content)]
    models: list[tuple[tuple[str, ...], dict]] = []
    for keys, node in todo:  # which grows
        if id(node) in seen or len(keys) > _DEEP:
            continue
        seen.add(id(node))
        named = [(k, v) for k, v in node.items() if isinstance(k, str)]
        todo += [((*keys, k), v) for k, v in named if isinstance(v, dict)]
        tensors = {k: v for k, v in named if isinstance(v, torch_file.Tensor)}
        most = max(most, tensors, key=len)
        if any(_EMBEDDING.fullmatch(name) for name in tensors):
            models.append((keys, tensors))
    models.sort(key=lambda model: _is_averaged(".".join(model[0])))
    everything = {k: v for k, v in content.items() if isinstance(k, str)}
    keys, tensors = models[0] if models else ((), most or everything)
    rest: dict[str, Any] = {}
    for key in keys:
        rest |= content
        content = content[key]
    named, dropped = unwrap(tensors, path)
    return named, rest, dropped + tuple(".".join((*other, "*")) for other, _ in models[1:])


def unwrap(state: Mapping[str, T], path: pathlib.Path) -> tuple[dict[str, T], tuple[str, ...]]:
    """(arrays by their names in the model, names of those that are not of it).

    Raises:
        ConfigError: there is no model, or two arrays have the same name in it.
    """
    bare = {name: _WRAPPER.sub("", name) for name in state}
    found = [m[1] for name in bare.values() if (m := _EMBEDDING.fullmatch(name))]
    if not found:
        raise schema.ConfigError(
            f"{path} has no array patch_embed.proj.weight, nor what other programs call it, by "
            f"which a model of VideoMAE is known in any wrapper; it has {', '.join(state)[:100]}. "
            "Save the state_dict() of the whole model"
        )
    start = min(found, key=lambda x: (_is_averaged(x), len(x)))
    others = {x for x in found if not start.startswith(x)}
    alone = not any(name.startswith(f"{start}decoder.") for name in bare.values())
    if alone and f"{start}encoder.patch_embed.proj.weight" in bare.values():
        start += "encoder."
    outer = ["", *(start[: m.end()] for m in re.finditer(r"\.", start))]

    result: dict[str, T] = {}
    dropped = []
    for name, x in state.items():
        before = max((p for p in outer if bare[name].startswith(p)), key=len)
        own = bare[name].removeprefix(before)
        elsewhere = any(bare[name][: m.end()] in others for m in re.finditer(r"\.", bare[name]))
        if elsewhere or (before != start and not _BESIDE.match(own)):
            dropped.append(name)
        elif own in result:
            raise schema.ConfigError(f"{path} has {own} twice, once as {name}; save one of them")
        else:
            result[own] = x
    return result, tuple(dropped)


def _is_averaged(name: str) -> bool:
    return re.search("ema|averag|swa|teacher|momentum", name, re.IGNORECASE) is not None
