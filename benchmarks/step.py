"""Training-step speed: clips/s, FLOPs against the analytic count, MFU, memory; as JSON.

    python -m benchmarks.step --config=configs/audioset/pretrain.py:variant=B/16x2 --batch_size=2 \
        --config.compute.scan=False

The rate of a 2048 x 2048 x 2048 product is measured in the same process, between the steps, because
machines differ and are shared: `of_product` is the figure to compare. Input is synthetic.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags
from ml_collections import config_flags

from av_mae import parse, run, sharding, synthetic

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment to take a step of.")
_BATCH = flags.DEFINE_integer("batch_size", 2, "Clips a step.")
_STEPS = flags.DEFINE_integer("steps", 8, "Timed steps.")
_CLASSES = flags.DEFINE_integer("classes", 527, "Labels of a classifier.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")

PRODUCT = 2048


def main(_: list[str]) -> None:
    experiment = dataclasses.replace(parse.experiment(_CONFIG.value), batch_size=_BATCH.value)
    info = synthetic.info(experiment, clips=100 * _BATCH.value, labels=_CLASSES.value)
    result = measure(run.assemble(experiment, info), _STEPS.value)
    text = json.dumps(result, indent=1)
    if _OUT.value:
        with open(_OUT.value, "w") as file:
            file.write(text + "\n")
    print(text)


def measure(plan: run.Run, steps: int) -> dict[str, Any]:
    """Compiles and times the real train step of an experiment on synthetic clips."""
    rows = synthetic.batch(plan.experiment, len(plan.info.labels), plan.experiment.batch_size)
    batch = sharding.to_devices(rows, plan.mesh)
    current = plan.init()
    begin = time.perf_counter()
    compiled = plan.train_step().lower(current, batch).compile()
    compile_seconds = time.perf_counter() - begin
    times, products = [], []
    product, operands = _product()
    for number in range(steps + 1):
        begin = time.perf_counter()
        current, metrics = compiled(current, batch)
        jax.block_until_ready(metrics)
        if number:  # the first one warms up
            times.append(time.perf_counter() - begin)
            products.append(_time(product, operands))
    return _report(plan, compiled, times, products, compile_seconds)


def _report(
    plan: run.Run,
    compiled: Any,
    times: list[float],
    products: list[float],
    compile_seconds: float,
) -> dict[str, Any]:
    experiment, analytic = plan.experiment, plan.flops_per_step
    seconds, product_rate = statistics.median(times), 2 * PRODUCT**3 / statistics.median(products)
    ratios = [analytic / t / (2 * PRODUCT**3 / p) for t, p in zip(times, products, strict=True)]
    memory = compiled.memory_analysis()
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "dtype": experiment.compute.dtype,
        "batch_size": experiment.batch_size,
        "step_seconds": seconds,
        "clips_per_second": experiment.batch_size / seconds,
        "analytic_gflop": analytic / 1e9,
        "compiler_gflop": compiled.cost_analysis().get("flops", 0.0) / 1e9,
        "gflop_per_second": analytic / seconds / 1e9,
        "product_gflop_per_second": product_rate / 1e9,
        "of_product": statistics.median(ratios),
        "temporary_gb": memory.temp_size_in_bytes / 1e9,
        "argument_gb": memory.argument_size_in_bytes / 1e9,
        "compile_seconds": compile_seconds,
        "scan": experiment.compute.scan,
        "remat": experiment.compute.remat,
    }


def _product() -> tuple[Callable[..., jax.Array], tuple[jax.Array, jax.Array]]:
    key = jax.random.key(0)
    operands = jax.random.normal(key, (2, PRODUCT, PRODUCT), jnp.float32)
    product = jax.jit(jnp.matmul)
    product(operands[0], operands[1]).block_until_ready()
    return product, (operands[0], operands[1])


def _time(product: Callable[..., jax.Array], operands: tuple[jax.Array, jax.Array]) -> float:
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        product(*operands).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
