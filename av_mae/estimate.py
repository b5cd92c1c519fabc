"""What a training step needs of a device, worked out from its shapes where no compiler says it."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from av_mae import config
from av_mae import modality as modality_lib

Modalities = Mapping[str, modality_lib.Modality]

# Widths of a token that a layer keeps for the backward pass, beside its perceptron's: input, query,
# key, value, attention's output, the sum before the perceptron, and what the two norms give.
_KEPT = {"none": 8, "dots": 6, "full": 1}

# How often a kept value is written or read in a step: made, used, and used again backwards, with
# about as much for the gradients that flow past it.
_PASSES = 6


def tree_bytes(tree: Any) -> float:
    """Bytes of one device's part of a tree of shapes with shardings."""
    return float(sum(_leaf_bytes(leaf) for leaf in jax.tree.leaves(tree)))


def activations(e: config.Experiment, rows: int) -> float:
    """Bytes kept for the backward pass of `rows` examples, attention fused."""
    rows = math.ceil(rows / e.optim.accumulate)
    width = 2 if e.compute.dtype == "bfloat16" else 4
    kept = sum(
        layers * tokens * _per_token(e.compute.remat, size, mlp)
        for layers, tokens, size, mlp in stacks(e)
    )
    predicted = sum(m.tokens * m.patch_dim for m in e.modalities.values())
    inputs = predicted * (4 if e.task == "pretrain" else 2)
    return rows * (width * kept + 4.0 * inputs)


def update(parameters: float, optimizer: float) -> float:
    """Bytes moved by the optimizer: parameters and moments read and written, gradients read."""
    return 2 * (parameters + optimizer) + parameters


def moved(e: config.Experiment, rows: int, parameters: float, optimizer: float) -> float:
    """Bytes between a device and its memory in a step: state and gradients, then activations."""
    share = 0.5 if e.compute.dtype == "bfloat16" else 1.0
    # Each micro-batch reads the parameters forwards and twice backwards, and writes gradients.
    weights = (3 * share + 1) * parameters * e.optim.accumulate
    passes = _PASSES * e.optim.accumulate * activations(e, rows)
    return update(parameters, optimizer) + weights + passes


def sent(mesh: Mesh, params: Any) -> dict[str, float]:
    """Bytes a device sends for gradients (and, with fsdp, parameters), float32, in rings."""
    n = mesh.size
    if n == 1:
        return {}
    whole = float(sum(math.prod(x.shape) * 4 for x in jax.tree.leaves(params)))
    if mesh.shape["fsdp"] == 1:
        return {"all-reduce": 2 * whole * (n - 1) / n}
    return {"all-gather": 2 * whole * (n - 1) / n, "reduce-scatter": whole * (n - 1) / n}


def stacks(e: config.Experiment) -> list[tuple[int, int, int, int]]:
    """(layers, tokens, width, mlp) of every stack of layers that an example goes through."""
    m, found = e.model, []
    pretrain = e.task == "pretrain"
    lengths = [x.visible if pretrain else x.tokens for x in e.modalities.values()]
    fused = m.fusion_layers if m.fusion in ("mid", "bottleneck") else 0
    if m.fusion == "early":
        found.append((m.depth, sum(lengths), m.width, m.mlp))
    else:
        found += [(m.depth - fused, n, m.width, m.mlp) for n in lengths]
    if fused:
        found.append((fused, sum(lengths), m.width, m.mlp))
    if pretrain:
        tokens = sum(x.tokens for x in e.modalities.values())
        found.append((m.decoder_depth, tokens, m.decoder_width, m.decoder_mlp))
    return found


def _per_token(remat: str, width: int, mlp: int) -> int:
    perceptron = {"none": 2 * mlp, "dots": mlp, "full": 0}[remat]
    return _KEPT[remat] * width + perceptron


def _leaf_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    shape = leaf.sharding.shard_shape(leaf.shape) if leaf.sharding else leaf.shape
    return math.prod(shape) * leaf.dtype.itemsize
