"""What a run will need of every device of a topology: memory, work and time of its real step."""

import dataclasses
import re
import time
from typing import Any

import jax
import numpy as np

from av_mae.config import schema
from av_mae.experiment import hardware, sharding
from av_mae.experiment.run import Run
from av_mae.input import records
from av_mae.models import fusion
from av_mae.planning import estimate, hlo, synthetic
from av_mae.planning.topology import Topology


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


@dataclasses.dataclass(frozen=True)
class Work:
    """What one device does in a step.

    Attributes:
        flops: as the compiler counts them, our kernels at what they tell it; None without one.
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
    """A plan's figures; `seconds` are None where the chip is unknown.

    Attributes:
        estimated: whether memory and bytes come from `av_mae.planning.estimate`, not from a
            compiler.
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
        ConfigError: the experiment cannot run on so many devices.
        TooLargeError: the compiler says so.
    """
    run = Run.assemble(experiment, info, topology.devices)
    if not topology.compiles:
        return _estimated(run)
    compiled, seconds = _compile(run)
    e = run.experiment
    if e.compute.scan or e.optim.accumulate > 1:
        flops, moved = _cost_without_loops(run, topology) if costs else (None, None)
    else:
        flops, moved = _cost(compiled)
    needed = run.flops_per_step / run.mesh.size
    text = compiled.as_text()
    work = Work(flops, needed, moved, hlo.collective_bytes(text))
    return Forecast(_memory(run, compiled), work, False, seconds, text)


def seconds(work: Work, chip: hardware.Chip) -> dict[str, float]:
    """Times of the three things a step does, if each ran alone at the chip's best rate.

    The step takes `roofline` if all of them overlap, `estimated` if nothing does. Nothing is told
    of a step whose bytes were not counted, nor of the network between slices, which belongs to
    their hosts.
    """
    if work.moved is None:
        return {}
    flops = max(work.flops or 0.0, work.needed)
    parts = {
        "compute": flops / chip.flops,
        "memory": work.moved / chip.bandwidth,
        "collectives": sum(b for k, b in work.sent.items() if k != hlo.BETWEEN_SLICES) / chip.link,
    }
    return parts | {"roofline": max(parts.values()), "estimated": sum(parts.values())}


def _cost(compiled: Any) -> np.ndarray:
    """(FLOPs, bytes) of one run on one device."""
    counted = compiled.cost_analysis()
    return np.array([counted["flops"], counted["bytes accessed"]])


def _cost_without_loops(run: Run, topology: Topology) -> np.ndarray:
    """(FLOPs, bytes) of a step as if its layers and micro-batches stood one after another."""
    e, parts = run.experiment, run.experiment.optim.accumulate
    depth = e.model.depth
    first, *_ = fusion.of(e.model).stacks(e.model, tuple(e.modalities))
    shallow = min(depth - first.last + 1, depth)  # all fused layers, and one below
    few, more = (
        _cost(_compile(Run.assemble(_flat(e, depth), run.info, topology.devices))[0])
        for depth in (shallow, shallow + 1)
    )
    once = few + (e.model.depth - shallow) * (more - few)
    held = _state(run)
    update = np.array([0.0, estimate.update(held.parameters, held.optimizer)])
    return parts * (once - update) + update


def _flat(e: schema.Experiment, depth: int) -> schema.Experiment:
    """The step of one micro-batch without loops, with so many layers.

    A micro-batch may hold a part of a clip's copies, so each has a canvas of its own.
    """
    parts = e.optim.accumulate
    return dataclasses.replace(
        e,
        batch_size=e.batch_size // parts,
        dataset=e.dataset if parts == 1 else dataclasses.replace(e.dataset, repeat=1),
        model=dataclasses.replace(e.model, depth=depth),
        compute=dataclasses.replace(e.compute, scan=False),
        optim=dataclasses.replace(e.optim, accumulate=1),
    )


def _compile(run: Run) -> tuple[Any, float]:
    rows = run.experiment.batch_size
    lowered = run.train_step().lower(run.abstract, _batch(run, rows))
    begin = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = out_of_memory(str(error), _state(run).peak)
        if not found:
            raise
        raise found from error
    return compiled, time.perf_counter() - begin


def out_of_memory(message: str, held: float) -> TooLargeError | None:
    """What a compiler's complaint asks for, None if it is about something else.

    libtpu names either all that is needed or the temporaries alone, to which belongs what is
    `held` from step to step.
    """
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    everything, temporaries, available = (
        _bytes(re.search(rf"{words}([\d.]+)([KMG])", message))
        for words in (r"Used ", r"HLO temporaries \(", r"(?:available HBM \(|of )")
    )
    if everything is None and temporaries is None:
        return None
    needed = held + (temporaries or 0.0) if everything is None else everything
    return TooLargeError(needed, available)


def _bytes(found: re.Match[str] | None) -> float | None:
    """Of a number and its unit, such as 15.75 and G."""
    return float(found[1]) * {"K": 2**10, "M": 2**20, "G": 2**30}[found[2]] if found else None


def _batch(run: Run, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    copies = run.experiment.dataset.repeat
    few = synthetic.batch(run.experiment, run.info, copies)
    return {
        k: jax.ShapeDtypeStruct((len(x) * rows // copies, *x.shape[1:]), x.dtype)
        for k, x in few.items()
    }


def _memory(run: Run, compiled: Any) -> Memory:
    found = compiled.memory_analysis()
    held = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    alive, reserved = max(float(found.peak_memory_in_bytes), held), float(found.temp_size_in_bytes)
    # On GPUs a program takes all that it reserves in one piece.
    whole = run.mesh.devices.flat[0].platform == "gpu"
    peak = held + reserved if whole else alive
    return dataclasses.replace(_state(run), temporaries=alive - held, reserved=reserved, peak=peak)


def _estimated(run: Run) -> Forecast:
    e, held = run.experiment, _state(run)
    rows = e.batch_size // sharding.row_shards(run.mesh)
    kept = estimate.activations(e, rows)
    gradients = held.parameters * (1.5 if e.compute.dtype == "bfloat16" else 1.0)
    temporaries = kept + gradients
    memory = dataclasses.replace(
        held, temporaries=temporaries, reserved=temporaries, peak=held.peak + temporaries
    )
    moved = estimate.moved(e, rows, held.parameters, held.optimizer)
    needed = run.flops_per_step / run.mesh.size
    work = Work(None, needed, moved, estimate.sent(e, run.mesh, run.abstract.params))
    return Forecast(memory, work, estimated=True, compile_seconds=0.0)


def _state(run: Run) -> Memory:
    """The parts of memory that are known beforehand; `peak` is their sum."""
    rows = run.experiment.batch_size // sharding.row_shards(run.mesh)
    state = run.abstract
    params, moments, averages = (
        estimate.tree_bytes(t) for t in (state.params, state.opt_state, state.ema)
    )
    inputs = estimate.tree_bytes(_batch(run, rows))
    held = params + moments + averages + inputs
    return Memory(params, moments, averages, inputs, 0.0, 0.0, held)
