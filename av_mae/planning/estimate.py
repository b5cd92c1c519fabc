"""What a training step needs of a device, worked out from its shapes where no compiler says it."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from av_mae.config import modality as modality_lib
from av_mae.config import schema
from av_mae.experiment import sharding

Modalities = Mapping[str, modality_lib.Modality]

# Widths of a token that a layer keeps for the backward pass, beside its perceptron's: whole ones
# (input, the sum before the perceptron, what the two norms give), and those that are split with the
# heads (query, key, value, attention's output).
_KEPT = {"none": (4, 4), "dots": (2, 4), "full": (1, 0)}

# A layer sums its output over "tensor" after attention and after the perceptron, and its gradient
# as often backwards.
_SUMS = 4

# How often a kept value is written or read in a step: made, used, and used again backwards, with
# about as much for the gradients that flow past it.
_PASSES = 6


def tree_bytes(tree: Any) -> float:
    """Bytes of one device's part of a tree of shapes with shardings."""
    return float(sum(_leaf_bytes(leaf) for leaf in jax.tree.leaves(tree)))


def activations(e: schema.Experiment, rows: int) -> float:
    """Bytes kept for the backward pass of `rows` examples, attention fused."""
    rows = math.ceil(rows / e.optim.accumulate)
    kept = sum(
        layers * tokens * _per_token(e.compute, size, mlp)
        for layers, tokens, size, mlp in stacks(e)
    )
    predicted = sum(m.tokens * m.patch_dim for m in e.modalities.values())
    inputs = predicted * (4 if e.task == "pretrain" else 2)
    return rows * (_width(e) * kept + 4.0 * inputs)


def update(parameters: float, optimizer: float) -> float:
    """Bytes moved by the optimizer: parameters and moments read and written, gradients read."""
    return 2 * (parameters + optimizer) + parameters


def moved(e: schema.Experiment, rows: int, parameters: float, optimizer: float) -> float:
    """Bytes between a device and its memory in a step: state and gradients, then activations."""
    share = 0.5 if e.compute.dtype == "bfloat16" else 1.0
    # Each micro-batch reads the parameters forwards and twice backwards, and writes gradients.
    weights = (3 * share + 1) * parameters * e.optim.accumulate
    passes = _PASSES * e.optim.accumulate * activations(e, rows)
    return update(parameters, optimizer) + weights + passes


def sent(e: schema.Experiment, mesh: Mesh, params: Any) -> dict[str, float]:
    """Bytes a device sends in rings, by kind of collective, in the type of the products.

    Gradients are summed over "data", parts of them where "fsdp" splits the parameters; these are
    gathered forwards and backwards. With "tensor", every layer's outputs are summed.
    """
    data, fsdp, tensor = (mesh.shape[axis] for axis in sharding.AXES)
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(params))
    own = _width(e) * count / tensor * e.optim.accumulate
    rows = e.batch_size // (data * fsdp)
    outputs = sum(layers * tokens * width for layers, tokens, width, _ in stacks(e))
    summed = _ring(data) * own / fsdp + _SUMS * _ring(tensor) * _width(e) * rows * outputs
    found = {
        "all-reduce": 2 * summed,
        "all-gather": 2 * _ring(fsdp) * own,
        "reduce-scatter": _ring(fsdp) * own,
    }
    return {kind: float(sent) for kind, sent in found.items() if sent}


def stacks(e: schema.Experiment) -> list[tuple[int, int, int, int]]:
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


def _ring(devices: int) -> float:
    """How much of an array a device passes on until all have had every part of it."""
    return (devices - 1) / devices


def _width(e: schema.Experiment) -> int:
    return 2 if e.compute.dtype == "bfloat16" else 4


def _per_token(compute: schema.Compute, width: int, mlp: int) -> float:
    perceptron = {"none": 2 * mlp, "dots": mlp, "full": 0}[compute.remat]
    whole, split = _KEPT[compute.remat]
    return whole * width + (split * width + perceptron) / compute.tensor


def _leaf_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    shape = leaf.sharding.shard_shape(leaf.shape) if leaf.sharding else leaf.shape
    return math.prod(shape) * leaf.dtype.itemsize
