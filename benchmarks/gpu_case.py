"""What benchmarks of a pretraining step share: the model, and how the clock is read."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

from av_mae import recipes
from av_mae.config import parse, schema

_CONFIGS = {  # names and arguments
    "videomae-B": ("kinetics400/pretrain", "variant=B/16x2"),
    "videomae-L": ("kinetics400/pretrain", "variant=L/16x2"),
    "av_mae-L": ("audioset/pretrain", ""),
}
_TINY_MODEL = {"width": 32, "depth": 2, "heads": 2, "mlp": 64}
_TINY_DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "decoder_mlp": 32}
WINDOWS = 3


def experiment(job: dict[str, Any], dtype: str) -> schema.Experiment:
    """The experiment of a job, as benchmarks/gpu.py describes it to its processes.

    Raises:
        ConfigError: no such case.
    """
    if job["case"] not in _CONFIGS:
        raise schema.ConfigError(f"--cases has {job['case']!r}; known are {', '.join(_CONFIGS)}")
    name, arg = _CONFIGS[job["case"]]
    c = recipes.load(name).get_config(arg)
    c.batch_size = job["batch_size"]
    c.compute.update(dtype=dtype, scan=job["scan"], remat=job["remat"])
    if job["tiny"]:
        c.model.update(_TINY_MODEL | _TINY_DECODER)
        c.modalities.video.update(frames=4, size=32)
        if "audio" in c.modalities:
            c.modalities.audio.seconds = 0.64
    return parse.experiment(c)


def flops(job: dict[str, Any]) -> float:
    """FLOPs of a step that the model needs."""
    from av_mae import tasks

    e = experiment(job, "float32")
    return tasks.make(e).flops().train * e.batch_size


def seconds_a_step(run: Callable[[int], None], steps: int) -> float:
    """Median over windows of `steps` steps; `run(n)` takes n of them and waits for the last."""
    run(max(2, steps // 4))  # warms up
    windows = []
    for _ in range(WINDOWS):
        begin = time.perf_counter()
        run(steps)
        windows.append((time.perf_counter() - begin) / steps)
    return statistics.median(windows)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a process reports.

    Attributes:
        product: FLOP/s of a large product.
        first: seconds until the first step was done, compiling included.
        peak: most bytes of the device held at a time; None where nobody counts them.
    """

    job: dict[str, Any]
    device: str
    versions: str
    dtype: str
    parameters: int
    seconds: float
    product: float
    first: float
    peak: float | None

    def report(self) -> dict[str, Any]:
        needed = flops(self.job)
        return {
            "device": self.device,
            "versions": self.versions,
            "dtype": self.dtype,
            "parameters": self.parameters,
            "step_seconds": self.seconds,
            "clips_per_second": self.job["batch_size"] / self.seconds,
            "analytic_tflop": needed / 1e12,
            "tflop_per_second": needed / self.seconds / 1e12,
            "product_tflop_per_second": self.product / 1e12,
            "of_product": needed / self.seconds / self.product,
            "peak_gb": None if self.peak is None else self.peak / 1e9,
            "first_step_seconds": self.first,
            "scan": self.job["scan"],
            "remat": self.job["remat"],
        }
