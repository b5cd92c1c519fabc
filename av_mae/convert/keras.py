"""VideoMAE's Keras port: the `.h5` files of `save_weights`.

Names inside a block carry counters of the process that wrote them, so its arrays are told apart by
their order, which never changes; biases of query and value stand with the block before them.
"""

import math
import pathlib
import re
from typing import Any

import numpy as np

from av_mae.config import schema
from av_mae.convert import describe, table, videomae

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

# What a block holds, in order, under the official program's names.
_ATTENTION = ("norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.proj.weight", "attn.proj.bias")
_BIASES = ("attn.q_bias", "attn.v_bias")
_MLP = ("norm2.weight", "norm2.bias", *(f"mlp.fc{i}.{x}" for i in "12" for x in ("weight", "bias")))
_GAMMAS = ("gamma_1", "gamma_2")

_BLOCK = re.compile(r"TFBlock(Encoder|Decoder|)(\d+)/")
_PLACES = {"": "blocks", "Encoder": "encoder.blocks", "Decoder": "decoder.blocks"}
_LAYERS = {
    "patch_embed": "patch_embed.proj",
    "patch_embed_encoder": "encoder.patch_embed.proj",
    "norm": "norm",
    "norm_encoder": "encoder.norm",
    "norm_decoder": "decoder.norm",
    "fc_norm": "fc_norm",
    "head": "head",
    "head_decoder": "decoder.head",
    "encoder_to_decoder": "encoder_to_decoder",
}
_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}


def describe_file(source: pathlib.Path) -> describe.Description | None:
    """A file of weights of the Keras port, or another one of HDF5."""
    if not source.is_file():
        return None
    with source.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return None
    return videomae.of_state("Keras", to_official(source))


def to_official(path: pathlib.Path) -> table.Arrays:
    """The arrays under the names and in the layouts of the official program.

    Raises:
        ConfigError: damaged, or no weights file of Keras 2.
    """
    blocks: dict[str, list[tuple[str, np.ndarray]]] = {}
    state: table.Arrays = {}
    here = ""
    for name, x in _weights(path):
        # Kernels `[in, out]` and `[t, h, w, in, out]` get their output first.
        x = x.T if x.ndim == 2 else x.transpose(4, 3, 0, 1, 2) if x.ndim == 5 else x
        found = _BLOCK.search(name)
        if found:
            here = f"{_PLACES[found[1]]}.{int(found[2]) - 1}"
        if found or name.startswith(("q_bias_", "v_bias_", "gamma_1", "gamma_2")):
            blocks.setdefault(here, []).append((name, x))
        elif name.startswith("mask_token"):
            state["mask_token"] = x.reshape(1, 1, -1)
        else:
            parts = name.removesuffix(":0").split("/")
            layer = next((part for part in parts if part in _LAYERS), None)
            if layer is None or parts[-1] not in _LEAVES:
                raise schema.ConfigError(f"{path}: {name} is no array of VideoMAE's Keras port")
            state[f"{_LAYERS[layer]}.{_LEAVES[parts[-1]]}"] = x
    for block, entries in blocks.items():
        biases = any(name.startswith("q_bias") for name, _ in entries)
        gammas = any(name.startswith("gamma_1") for name, _ in entries)
        names = (*_ATTENTION, *(_BIASES if biases else ()), *_MLP, *(_GAMMAS if gammas else ()))
        if len(names) != len(entries):
            raise schema.ConfigError(
                f"{path}: {block} has {len(entries)} arrays, expected {len(names)}: "
                f"{', '.join(names)}"
            )
        state |= {f"{block}.{name}": x for name, (_, x) in zip(names, entries, strict=True)}
    return state


def _weights(path: pathlib.Path) -> list[tuple[str, np.ndarray]]:
    """Names and arrays in the order of the layers, the model's own ones last."""
    import h5py

    hard = h5py.h5l.TYPE_HARD  # pyright: ignore[reportAttributeAccessIssue]
    room = path.stat().st_size  # what the arrays that are still to come can have, in bytes

    def find(group: Any, name: str) -> Any:
        """What `name` means inside the file, without following it to another one."""
        for part in name.split("/"):
            links = group.id.links if isinstance(group, h5py.Group) else None
            if links is None or not links.exists(part.encode()):
                return None
            if links.get_info(part.encode()).type != hard:
                raise schema.ConfigError(
                    f"{path}: {name} is a link to another place, which is not followed; write the "
                    "file with model.save_weights('FILE.h5') under Keras 2"
                )
            group = group[part]
        return group

    def names(of: Any, key: str) -> list[str]:
        place = of.attrs.get_id(key)
        shape = list(place.shape or ())
        if len(shape) != 1 or shape[0] * place.dtype.itemsize > room:
            raise schema.ConfigError(
                f"{path}: the attribute {key} is of shape {shape}, expected names "
                "in a row; write the file with model.save_weights('FILE.h5') under Keras 2"
            )
        found: Any = of.attrs[key]
        return [x.decode() if isinstance(x, bytes) else str(x) for x in found]

    result: list[tuple[str, np.ndarray]] = []
    with describe.reading(path, "HDF5 file"), h5py.File(path) as file:
        if "layer_names" not in file.attrs:
            raise schema.ConfigError(
                f"{path} has no attribute layer_names: it is no weights file of Keras 2. "
                "Write one with model.save_weights('FILE.h5') under Keras 2"
            )
        for layer in (*names(file, "layer_names"), "top_level_model_weights"):
            group = find(file, layer)
            for name in names(group, "weight_names") if group is not None else ():
                x: Any = find(group, name)
                stored = isinstance(x, h5py.Dataset) and not (x.is_virtual or x.external)
                if stored and x.shape is not None and x.dtype.kind == "f":
                    room -= x.dtype.itemsize * max(math.prod(x.shape), math.prod(x.chunks or ()))
                else:
                    room = -1
                if room < 0:
                    raise schema.ConfigError(
                        f"{path}: {name} is not stored in it as floats, or larger than the file; "
                        "copy it again"
                    )
                result.append((name, np.asarray(x)))
    return result
