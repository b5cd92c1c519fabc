"""VideoMAE's Keras port: the `.h5` files of `save_weights`.

Names inside a block carry counters of the process that wrote them, so its arrays are told apart by
their order, which never changes; biases of query and value stand with the block before them.
"""

import importlib.util
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import threading

import numpy as np

from av_mae.config import schema
from av_mae.convert import describe, table, videomae

_PATIENCE, _SPEED = 60.0, 5e6  # seconds for any file, and bytes a second of a large one
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
    if importlib.util.find_spec("h5py") is None:
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
    program = pathlib.Path(__file__).with_name("hdf5.py")
    start = f"import runpy; runpy.run_path({os.fspath(program)!r})['main']()"
    command = [sys.executable, "-P", "-c", start, os.fspath(path.absolute())]
    patience = _PATIENCE + path.stat().st_size / _SPEED
    with (
        describe.reading(path, "HDF5 file"),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader,
    ):
        assert reader.stdout is not None
        reader.stdout.readline()  # it is ready
        timer = threading.Timer(patience, reader.kill)
        timer.start()
        try:
            found = json.loads(reader.stdout.readline() or b"{}")
            if "refusal" in found:
                raise schema.ConfigError(f"{path}: {found['refusal']}")
            result = []
            for name, kind, shape in found.get("arrays", ()):
                dtype = np.dtype(kind)
                content = reader.stdout.read(math.prod(shape) * dtype.itemsize)
                result.append((name, np.frombuffer(content, dtype).reshape(shape)))
            if "arrays" not in found or reader.stdout.read():
                raise OSError(found.get("damage", "HDF5's library does not come to its end"))
            return result
        finally:
            timer.cancel()
            reader.kill()
