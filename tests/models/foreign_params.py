"""Parameters of Scenic's and VideoMAE's programs under our names, for the golden tests.

Each family is a table from our names to theirs: `_BLOCK` for one transformer block and a dict of
stacks and single arrays built by the functions below.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from av_mae.convert import torch_file
from av_mae.convert.foreign import Arrays

_SCENIC_BLOCK = {
    "norm1/scale": "LayerNorm_0/scale",
    "norm1/bias": "LayerNorm_0/bias",
    "norm2/scale": "LayerNorm_1/scale",
    "norm2/bias": "LayerNorm_1/bias",
    "attention/out/kernel": "MultiHeadDotProductAttention_0/out/kernel",
    "attention/out/bias": "MultiHeadDotProductAttention_0/out/bias",
    "mlp/up/kernel": "MlpBlock_0/Dense_0/kernel",
    "mlp/up/bias": "MlpBlock_0/Dense_0/bias",
    "mlp/down/kernel": "MlpBlock_0/Dense_1/kernel",
    "mlp/down/bias": "MlpBlock_0/Dense_1/bias",
}
_VIDEOMAE_BLOCK = {
    "norm1/scale": "norm1.weight",
    "norm1/bias": "norm1.bias",
    "norm2/scale": "norm2.weight",
    "norm2/bias": "norm2.bias",
    "attention/out/bias": "attn.proj.bias",
    "mlp/up/bias": "mlp.fc1.bias",
    "mlp/down/bias": "mlp.fc2.bias",
}


def load(make: Callable[[], nnx.Module], values: Arrays) -> Any:
    """A model with all its parameters set; a missing, extra or misshapen one is an error."""
    graphdef, params, rest = nnx.split(nnx.eval_shape(make), nnx.Param, ...)
    flat = {"/".join(map(str, path)): variable for path, variable in nnx.to_flat_state(params)}
    assert set(flat) == set(values), set(flat) ^ set(values)
    for name, variable in flat.items():
        assert variable.shape == values[name].shape, name
        variable.set_value(jnp.asarray(values[name]))
    rest = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), rest)
    return nnx.merge(graphdef, params, rest)


def scenic_stack(params: Arrays, blocks: list[str]) -> Arrays:
    """Blocks of Scenic (path prefixes) stacked under our names."""
    ours = {
        name: np.stack([params[f"{block}/{theirs}"] for block in blocks])
        for name, theirs in _SCENIC_BLOCK.items()
    }
    for kind, axis in (("kernel", 1), ("bias", 0)):
        packed = [
            np.stack(
                [params[f"{block}/{_SCENIC_ATTENTION}/{part}/{kind}"] for part in _PARTS], axis
            )
            for block in blocks
        ]
        ours[f"attention/qkv/{kind}"] = np.stack(packed)
    return {f"blocks/{name}": x for name, x in ours.items()}


_SCENIC_ATTENTION = "MultiHeadDotProductAttention_0"
_PARTS = ("query", "key", "value")


def scenic_encoder(
    params: Arrays, theirs: str, ours: str, layers: int, first: int = 0, suffix: str = ""
) -> Arrays:
    """One encoder or decoder of Scenic, its final norm included where it has one."""
    blocks = [f"{theirs}/encoderblock_{first + i}{suffix}" for i in range(layers)]
    result = {f"{ours}/{name}": x for name, x in scenic_stack(params, blocks).items()}
    for name in ("scale", "bias"):
        if f"{theirs}/encoder_norm/{name}" in params and not suffix and ours:
            result[f"{ours}/norm/{name}"] = params[f"{theirs}/encoder_norm/{name}"]
    return result


def scenic_dense(params: Arrays, theirs: str, ours: str) -> Arrays:
    """A Dense layer, or a patch embedding's convolution flattened to one product."""
    kernel = params[f"{theirs}/kernel"]
    return {
        f"{ours}/kernel": kernel.reshape(-1, kernel.shape[-1]),
        f"{ours}/bias": params[f"{theirs}/bias"],
    }


def videomae_stack(state: Arrays, prefix: str, layers: int, heads: int) -> Arrays:
    """Blocks `<prefix>.0 ...` of the official program stacked under our names."""
    blocks = [_videomae_block(state, f"{prefix}.{i}", heads) for i in range(layers)]
    return {f"blocks/{name}": np.stack([b[name] for b in blocks]) for name in blocks[0]}


def _videomae_block(state: Arrays, block: str, heads: int) -> Arrays:
    ours = {name: state[f"{block}.{theirs}"] for name, theirs in _VIDEOMAE_BLOCK.items()}
    qkv = state[f"{block}.attn.qkv.weight"]
    width = qkv.shape[1]
    ours["attention/qkv/kernel"] = qkv.T.reshape(width, 3, heads, width // heads)
    out = state[f"{block}.attn.proj.weight"]
    ours["attention/out/kernel"] = out.T.reshape(heads, width // heads, width)
    ours["mlp/up/kernel"] = state[f"{block}.mlp.fc1.weight"].T
    ours["mlp/down/kernel"] = state[f"{block}.mlp.fc2.weight"].T
    if f"{block}.attn.q_bias" in state:
        biases = [state[f"{block}.attn.{part}_bias"] for part in "qv"]
        ours["attention/qkv/bias"] = np.stack(biases).reshape(2, heads, -1)
    for number in "12":
        if f"{block}.gamma_{number}" in state:
            ours[f"gamma{number}"] = state[f"{block}.gamma_{number}"]
    return ours


def videomae_embedding(state: Arrays, prefix: str) -> Arrays:
    kernel = state[f"{prefix}patch_embed.proj.weight"]  # [d, c, t, h, w]
    return {
        "embed/video/kernel": kernel.transpose(2, 3, 4, 1, 0).reshape(-1, kernel.shape[0]),
        "embed/video/bias": state[f"{prefix}patch_embed.proj.bias"],
    }


def read_torch(path: pathlib.Path) -> dict:
    """The saved dict, with arrays for tensors."""
    return jax.tree.map(
        lambda x: x.numpy() if isinstance(x, torch_file.Tensor) else x, torch_file.read(path)
    )
