"""What a training step needs of a device, worked out from its shapes where no compiler says it."""

import math
from typing import Any

import jax
from jax.sharding import Mesh

from av_mae import tasks
from av_mae.config import schema
from av_mae.experiment import sharding

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
    task = tasks.make(e)
    kept = sum(p.layers * p.tokens * _per_token(e.compute, p.width, p.mlp) for p in task.passes())
    inputs = task.input_copies * sum(m.tokens * m.patch_dim for m in e.modalities.values())
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
    outputs = sum(p.layers * p.tokens * p.width for p in tasks.make(e).passes())
    summed = _ring(data) * own / fsdp + _SUMS * _ring(tensor) * _width(e) * rows * outputs
    found = {
        "all-reduce": 2 * summed,
        "all-gather": 2 * _ring(fsdp) * own,
        "reduce-scatter": _ring(fsdp) * own,
    }
    return {kind: float(sent) for kind, sent in found.items() if sent}


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
