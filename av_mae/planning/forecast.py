"""What a run will need of every device of a topology: memory, work and time of its real step.

The compiler says it where there is one for the devices. Elsewhere it is estimated from shapes.
"""

import dataclasses
import math
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from av_mae import tasks
from av_mae.config import schema
from av_mae.experiment import hardware, sharding
from av_mae.experiment.run import Run
from av_mae.input import records
from av_mae.models import fusion
from av_mae.planning import hlo, synthetic
from av_mae.planning.topology import Topology

# Widths of a token that a layer keeps for the backward pass, by compute.remat: whole ones (input,
# the sum before the perceptron, what the two norms give), those that are split with the heads
# (query, key, value, attention's output), and the perceptron's, split as well.
_KEPT = {"none": (4, 4, 2), "dots": (2, 4, 1), "full": (1, 0, 0)}

# A layer sums its output over "tensor" after attention and after the perceptron, and its gradient
# as often backwards.
_SUMS = 4

# How often a kept value is written or read in a step: written, read, and read again backwards, with
# about as much for the gradients that flow past it.
_PASSES = 6


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device.

    Attributes:
        temporaries: activations, gradients and whatever else lives only within the step, when most
            of it is alive.
        reserved: what the program sets aside for them; more, where freed space stays unused.
        peak: all of it together, what is updated in place counted once; on GPUs with all that is
            reserved.
    """

    parameters: float
    optimizer: float
    averages: float
    batch: float
    temporaries: float
    reserved: float
    peak: float

    @property
    def update(self) -> float:
        """Bytes moved by the optimizer: parameters and moments read and written, gradients read."""
        return 2 * (self.parameters + self.optimizer) + self.parameters


@dataclasses.dataclass(frozen=True)
class Work:
    """What one device does in a step.

    Attributes:
        flops: as the compiler counts them, our kernels by their own estimate; None without one.
        needed: matrix products that the model needs, as `av_mae.models.flops` counts them.
        moved: bytes between the device and its memory; None where they were not counted.
        sent: bytes to other devices, by kind of collective.
    """

    flops: float | None
    needed: float
    moved: float | None
    sent: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Forecast:
    """The figures of a step.

    Attributes:
        estimated: whether memory and bytes are estimates, not a compiler's.
        compile_seconds: of the program that was compiled for its memory.
        text: that program, as the compiler writes it (XLA's HLO).
    """

    memory: Memory
    work: Work
    estimated: bool
    compile_seconds: float
    text: str = ""


class TooLargeError(Exception):
    """The compiler found that the step needs more memory than a program may use.

    Attributes:
        needed: bytes.
        available: bytes, None where the compiler does not say.
    """

    def __init__(self, needed: float, available: float | None):
        super().__init__(f"the step needs {needed / 1e9:.1f} GB a device")
        self.needed, self.available = needed, available


def make(
    experiment: schema.Experiment, info: records.Info, topology: Topology, *, costs: bool = True
) -> Forecast:
    """Compiles the step for the topology and reads off what it needs.

    The compiler counts the body of a loop once. Where layers are scanned or a batch is accumulated,
    bytes and FLOPs come from two shallow programs without loops: both grow by the same with every
    layer.

    Args:
        costs: False does without those two, and without bytes and FLOPs of a program with loops.

    Raises:
        ConfigError: the experiment cannot run on this number of devices.
        TooLargeError: the compiler says so.
    """
    run = Run.assemble(experiment, info, topology.devices)
    if not topology.compiles:
        return _estimated(run)
    compiled, seconds = _compile(run)
    e = run.experiment
    if not e.compute.scan and e.optim.accumulate == 1:
        flops, moved = _cost(compiled)
    else:
        flops, moved = _cost_without_loops(run, topology) if costs else (None, None)
    needed, text = run.flops_per_step / run.mesh.size, compiled.as_text()
    work = Work(flops, needed, moved, hlo.collective_bytes(text))
    return Forecast(memory(run, compiled), work, False, seconds, text)


def seconds(work: Work, chip: hardware.Chip) -> dict[str, float]:
    """Times of the three things a step does, if each ran alone at the chip's best rate.

    The step takes `roofline` if all of them overlap, `estimated` if nothing does. Empty for a step
    whose bytes were not counted. The network between slices, which belongs to their hosts, is left
    out.
    """
    if work.moved is None:
        return {}
    parts = {
        "compute": max(work.flops or 0.0, work.needed) / chip.flops,
        "memory": work.moved / chip.bandwidth,
        "collectives": sum(b for k, b in work.sent.items() if k != hlo.BETWEEN_SLICES) / chip.link,
    }
    return parts | {"roofline": max(parts.values()), "estimated": sum(parts.values())}


def memory(run: Run, compiled: Any) -> Memory:
    """The memory of a compiled step."""
    found = compiled.memory_analysis()
    held = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    alive, reserved = max(float(found.peak_memory_in_bytes), held), float(found.temp_size_in_bytes)
    # On GPUs a program takes all that it reserves in one piece.
    peak = held + reserved if run.mesh.devices.flat[0].platform == "gpu" else alive
    return dataclasses.replace(_held(run), temporaries=alive - held, reserved=reserved, peak=peak)


def out_of_memory(message: str, held: float) -> TooLargeError | None:
    """The error that a compiler's message of too little memory becomes; None for other messages.

    libtpu names either all that is needed or the temporaries alone, to which belongs what is
    `held` from step to step.
    """
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    units, sizes = {"K": 2**10, "M": 2**20, "G": 2**30}, []
    for words in (r"Used ", r"HLO temporaries \(", r"(?:available HBM \(|of )"):
        found = re.search(rf"{words}([\d.]+)([KMG])", message)  # as in 15.75G
        sizes.append(float(found[1]) * units[found[2]] if found else None)
    everything, temporaries, available = sizes
    if everything is None and temporaries is None:
        return None
    needed = held + (temporaries or 0.0) if everything is None else everything
    return TooLargeError(needed, available)


def tree_bytes(tree: Any) -> float:
    """Bytes of one device's part of a tree of shapes with shardings."""
    shards = (
        (x.sharding.shard_shape(x.shape) if x.sharding else x.shape, x.dtype.itemsize)
        for x in jax.tree.leaves(tree)
    )
    return float(sum(math.prod(shape) * itemsize for shape, itemsize in shards))


def activations(e: schema.Experiment, rows: int) -> float:
    """Bytes kept for the backward pass of `rows` examples, attention fused."""
    task, (whole, split, perceptrons) = tasks.make(e), _KEPT[e.compute.remat]
    kept = 0.0
    for p in task.passes():
        of_devices = (split * p.width + perceptrons * p.mlp) / e.compute.tensor
        kept += p.layers * p.tokens * (whole * p.width + of_devices)
    inputs = task.input_copies * sum(m.tokens * m.patch_dim for m in e.modalities.values())
    return math.ceil(rows / e.optim.accumulate) * (_itemsize(e) * kept + 4.0 * inputs)


def sent(run: Run) -> dict[str, float]:
    """Bytes a device sends in rings, by kind of collective, in the type of the products.

    Gradients are summed over "data", parts of them where "fsdp" splits the parameters; these are
    gathered forwards and backwards. With "tensor", every layer's outputs are summed.
    """
    e, sizes = run.experiment, run.mesh.shape
    # How much of an array a device passes on until all of its ring have had every part of it.
    data, fsdp, tensor = ((sizes[axis] - 1) / sizes[axis] for axis in sharding.AXES)
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(run.abstract.params))
    own = _itemsize(e) * count / sizes["tensor"] * e.optim.accumulate
    rows = e.batch_size // sharding.row_shards(run.mesh)
    outputs = sum(p.layers * p.tokens * p.width for p in run.task.passes())
    summed = data * own / sizes["fsdp"] + _SUMS * tensor * _itemsize(e) * rows * outputs
    found = {"all-reduce": 2 * summed, "all-gather": 2 * fsdp * own, "reduce-scatter": fsdp * own}
    return {kind: float(sent) for kind, sent in found.items() if sent}


def _estimated(run: Run) -> Forecast:
    e, held = run.experiment, _held(run)
    kept = activations(e, e.batch_size // sharding.row_shards(run.mesh))
    share, parts = _itemsize(e) / 4, e.optim.accumulate
    # A copy of the parameters in the type of the products, where that is another one.
    temporaries = kept + held.parameters * (1.5 if share < 1 else 1.0)
    whole = dataclasses.replace(
        held, temporaries=temporaries, reserved=temporaries, peak=held.peak + temporaries
    )
    # Each micro-batch reads the parameters forwards and twice backwards, and writes gradients.
    weights = (3 * share + 1) * held.parameters * parts
    moved = held.update + weights + _PASSES * parts * kept
    work = Work(None, run.flops_per_step / run.mesh.size, moved, sent(run))
    return Forecast(whole, work, estimated=True, compile_seconds=0.0)


def _cost_without_loops(run: Run, topology: Topology) -> np.ndarray:
    """(FLOPs, bytes) of a step as if its layers and micro-batches stood one after another."""
    e, m, parts = run.experiment, run.experiment.model, run.experiment.optim.accumulate
    first, *_ = fusion.of(m).stacks(m, tuple(e.modalities))
    shallow = min(m.depth - first.last + 1, m.depth)  # all fused layers, and one below
    costs = []
    for depth in (shallow, shallow + 1):
        flat = dataclasses.replace(
            e,
            batch_size=e.batch_size // parts,
            # A micro-batch may hold a part of a clip's copies, so each has a canvas of its own.
            dataset=e.dataset if parts == 1 else dataclasses.replace(e.dataset, repeat=1),
            model=dataclasses.replace(m, depth=depth),
            compute=dataclasses.replace(e.compute, scan=False),
            optim=dataclasses.replace(e.optim, accumulate=1),
        )
        costs.append(_cost(_compile(Run.assemble(flat, run.info, topology.devices))[0]))
    few, more = costs
    once = few + (m.depth - shallow) * (more - few)
    update = np.array([0.0, _held(run).update])
    return parts * (once - update) + update


def _cost(compiled: Any) -> np.ndarray:
    """(FLOPs, bytes) of one run on one device."""
    counted = compiled.cost_analysis()
    return np.array([counted["flops"], counted["bytes accessed"]])


def _compile(run: Run) -> tuple[Any, float]:
    """(the compiled step, seconds that compiling took)."""
    lowered = run.train_step().lower(run.abstract, _batch(run, run.experiment.batch_size))
    begin = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = out_of_memory(str(error), _held(run).peak)
        if not found:
            raise
        raise found from error
    return compiled, time.perf_counter() - begin


def _held(run: Run) -> Memory:
    """The parts of memory that are known beforehand; `peak` is their sum."""
    state, rows = run.abstract, run.experiment.batch_size // sharding.row_shards(run.mesh)
    trees = (state.params, state.opt_state, state.ema, _batch(run, rows))
    sizes = [tree_bytes(tree) for tree in trees]
    return Memory(*sizes, temporaries=0.0, reserved=0.0, peak=sum(sizes))


def _batch(run: Run, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    copies = run.experiment.dataset.repeat
    few = synthetic.batch(run.experiment, run.info, copies)
    return {
        k: jax.ShapeDtypeStruct((len(x) * rows // copies, *x.shape[1:]), x.dtype)
        for k, x in few.items()
    }


def _itemsize(e: schema.Experiment) -> int:
    return jnp.dtype(e.compute.dtype).itemsize
