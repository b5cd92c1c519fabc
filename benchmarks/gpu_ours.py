"""Our side of benchmarks/gpu.py: one measurement, its JSON on the last line."""

import gzip
import json
import pathlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.experiment.step import TrainState
from av_mae.planning import synthetic
from av_mae.tasks import Batch, Metrics
from av_mae.training import host
from benchmarks import gpu_case

KERNELS = 25


def main(job: dict[str, Any]) -> None:
    device = jax.devices()[0]
    host.keep_memory()
    gpu = device.platform == "gpu"
    dtype = "bfloat16" if gpu else "float32"
    experiment = gpu_case.experiment(job, dtype)
    run = Run.assemble(experiment, synthetic.info(experiment, clips=10_000, labels=400))
    rows = synthetic.batch(experiment, run.info, experiment.batch_size)
    batch = sharding.to_devices(rows, run.mesh)
    current = run.init()
    parameters = sum(x.size for x in jax.tree.leaves(current.params))
    begin = time.perf_counter()
    compiled = run.train_step().lower(current, batch).compile()
    steps = Steps(compiled, current, batch)
    steps(1)
    first = time.perf_counter() - begin
    seconds = gpu_case.seconds_a_step(steps, job["steps"])
    if job["profile"]:
        print(_kernels(steps))
    measured = gpu_case.Measured(
        job=job,
        device=device.device_kind,
        versions=f"jax {jax.__version__}",
        dtype=dtype,
        parameters=parameters,
        seconds=seconds,
        product=_product(8192 if gpu and not job["tiny"] else 2048, dtype),
        first=first,
        peak=_peak(device, compiled),
    )
    print(json.dumps(measured.report()))


class Steps:
    """Takes steps, one after another without waiting, and waits for the last one's loss."""

    def __init__(self, step: Callable[..., Any], current: TrainState, batch: Batch):
        self._step, self._current, self._batch = step, current, batch

    def __call__(self, count: int) -> None:
        metrics: Metrics = {}
        for _ in range(count):
            self._current, metrics = self._step(self._current, self._batch)
        jax.block_until_ready(metrics)


def _peak(device: Any, compiled: Any) -> float:
    """Most bytes held so far, or (where the device does not count) what the step needs."""
    counted = device.memory_stats()
    if counted and "peak_bytes_in_use" in counted:
        return float(counted["peak_bytes_in_use"])
    memory = compiled.memory_analysis()
    return float(memory.argument_size_in_bytes + memory.temp_size_in_bytes)


def _product(size: int, dtype: str) -> float:
    """FLOP/s of a product of matrices of `size` squared."""
    a, b = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
    product = jax.jit(jnp.matmul)

    def run_products(count: int) -> None:
        jax.block_until_ready([product(a, b) for _ in range(count)])

    return 2 * size**3 / gpu_case.seconds_a_step(run_products, 10)


def _kernels(steps: Steps) -> str:
    """The kernels of two steps that took longest, microseconds a step."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            steps(2)
        file = next(pathlib.Path(folder).rglob("perfetto_trace.json.gz"))
        trace = json.loads(gzip.decompress(file.read_bytes()))
    events = trace["traceEvents"] if isinstance(trace, dict) else trace
    names = {e["pid"]: e["args"]["name"] for e in events if e.get("name") == "process_name"}
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("ph") == "X" and "GPU" in names.get(event["pid"], ""):
            spent[event["name"]] += event["dur"] / 2
    total = sum(spent.values())
    lines = [f"{us:10.0f} us {us / total:6.1%}  {name}" for name, us in spent.most_common(KERNELS)]
    return "\n".join([f"{total:10.0f} us a step in {len(spent)} kernels", *lines])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
