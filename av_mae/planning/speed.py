"""How fast an experiment runs on this machine's devices: its steps, its input, both together."""

import contextlib
import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from av_mae.config import schema
from av_mae.experiment import hardware, sharding
from av_mae.experiment.run import Run
from av_mae.planning import synthetic

_TIMES = 5  # a product is quick: the median of several
_WARM = 3  # batches that were ready before the clock began


class Bench:
    """The compiled train step of a run, and what feeds it.

    Args:
        rows: batches on the host, such as those of `training.loop.batches`; the first one decides
            what is compiled.

    Attributes:
        step: that step.
        ready_seconds: what compiling took, or reading what was compiled before.
    """

    def __init__(self, run: Run, rows: Iterator[dict[str, np.ndarray]]):
        self.run, self._rows = run, rows
        self._batch = self._next()
        self._current = run.init()
        begin = time.perf_counter()
        self.step = run.train_step().lower(self._current, self._batch).compile()
        self.ready_seconds = time.perf_counter() - begin
        self.steps(1)

    def steps(self, count: int, *, fed: bool = False) -> float:
        """Seconds a step, of `count` in a row.

        Args:
            fed: every step has its own batch, fetched during the one before. Otherwise all have the
                one that lies on the devices.
        """
        begin = time.perf_counter()
        for _ in range(count):
            self._current, metrics = self.step(self._current, self._batch)
            self._batch = self._next() if fed else self._batch
        jax.block_until_ready(metrics)
        return (time.perf_counter() - begin) / count

    def input(self, count: int) -> float:
        """Seconds a batch, of `count` read in a row, without any step between them."""
        begin = time.perf_counter()
        for _ in range(count):
            next(self._rows)
        return (time.perf_counter() - begin) / count

    def _next(self) -> dict[str, jax.Array]:
        return sharding.to_devices(next(self._rows), self.run.mesh)


def on_noise(e: schema.Experiment, clips: int, labels: int) -> Bench:
    """The step on one batch of noise, as of a data set of that many clips and labels.

    Raises:
        ConfigError: the config cannot run on this machine.
    """
    run = Run.assemble(e, synthetic.info(e, clips, labels))
    return Bench(run, itertools.repeat(synthetic.batch(run.experiment, run.info, e.batch_size)))


def measure(bench: Bench, what: list[str], steps: int, trace: str | None = None) -> dict[str, Any]:
    """Seconds of each thing named, with what is known of the step where one is taken."""
    e, times, product = bench.run.experiment, {}, 0.0
    if "step" in what:
        product = product_flops(e.compute.dtype)
    for name in what:
        if name == "input":
            bench.input(_WARM)
        profiled = trace if name == what[-1] else None
        with jax.profiler.trace(profiled) if profiled else contextlib.nullcontext():
            own = bench.input(steps) if name == "input" else bench.steps(steps, fed=name == "both")
        times[name] = own
    rates = {name: e.batch_size / seconds for name, seconds in times.items()}
    figures: dict[str, Any] = {"seconds": times, "clips_per_second": rates}
    if "step" in times:
        product = (product + product_flops(e.compute.dtype)) / 2
        memory, peak = bench.step.memory_analysis(), hardware.peak_flops()
        rate = bench.run.flops_per_step / times["step"]
        figures["step"] = {
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "dtype": e.compute.dtype,
            "batch_size": e.batch_size,
            "scan": e.compute.scan,
            "remat": e.compute.remat,
            "ready_seconds": bench.ready_seconds,
            "step_seconds": times["step"],
            "clips_per_second": rates["step"],
            "analytic_gflop": bench.run.flops_per_step / 1e9,
            "gflop_per_second": rate / 1e9,
            "product_gflop_per_second": product / 1e9,
            "of_product": rate / product / jax.device_count(),
            "mfu": rate / peak if peak else None,
            "temporary_gb": memory.temp_size_in_bytes / 1e9,
            "argument_gb": memory.argument_size_in_bytes / 1e9,
        }
    return figures


def table(figures: dict[str, Any]) -> list[str]:
    """The figures as lines to read."""
    times, lines = figures["seconds"], []
    if "step" in figures:
        s = figures["step"]
        looped = "scanned" if s["scan"] else "unrolled"
        mfu = "" if s["mfu"] is None else f", MFU {s['mfu']:.1%}"
        lines = [
            f"{s['devices']} x {s['device']}, batch {s['batch_size']}, {s['dtype']}, remat "
            f"{s['remat']}, {looped}; ready in {s['ready_seconds']:.1f} s",
            f"{s['gflop_per_second']:,.0f} GFLOP/s in matrix products{mfu}; "
            f"{s['of_product']:.2f} of what a bare product reaches",
        ]
    for name, seconds in times.items():
        rate = figures["clips_per_second"][name]
        lines.append(f"{name:<6}{1e3 * seconds:10.1f} ms{rate:12,.1f} clips/s")
    if {"step", "input"} <= times.keys():  # which of the two does the other wait for?
        step, fed = times["step"], times["input"]
        if fed > step:
            slower = f"the input is the limit: the devices could take {fed / step:.1f} times"
        else:
            slower = f"the devices are the limit: the input could feed {step / fed:.1f} times"
        lines.append(f"{slower} as much")
    return lines


def product_flops(dtype: str) -> float:
    """FLOP/s of one device in a bare product of numbers of a type, right now.

    Machines differ and are shared; a step is best compared with what a bare product reaches beside
    it: of 2048 squared on a CPU, elsewhere of 8192 squared, ten in a row, so that starting them
    costs nothing.
    """
    size, count = (2048, 1) if jax.default_backend() == "cpu" else (8192, 10)
    operands = list(jax.random.normal(jax.random.key(0), (2, size, size), dtype))
    jnp.matmul(*operands).block_until_ready()  # compiled
    seconds = []
    for _ in range(_TIMES):
        begin = time.perf_counter()
        jax.block_until_ready([jnp.matmul(*operands) for _ in range(count)])
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 * count / statistics.median(seconds)
