"""How fast this machine trains an experiment: its steps, its input, and both together.

    python -m av_mae.tools.bench --config=configs/sample/pretrain.py --steps=20 --json=bench.json

Steps are timed on a batch that lies on the devices, input without any step, and both as in
training. `--clips=N --labels=N` measure steps on noise, without records. `--trace=DIR` writes a
profile of the last of them for TensorBoard or Perfetto.
"""

import contextlib
import json
import pathlib
from typing import Any

import jax
from absl import app, flags

from av_mae.config import command_line, parse, schema
from av_mae.experiment.run import Run
from av_mae.input import records
from av_mae.planning import speed
from av_mae.tools import experiments
from av_mae.training import host, loop

_WHAT = flags.DEFINE_list("what", ["step", "input", "both"], "What to time.")
_STEPS = flags.DEFINE_integer("steps", 20, "Steps, or batches, of each.", lower_bound=1)
_TRACE = flags.DEFINE_string("trace", None, "Folder for a profile of the last thing timed.")

WHAT = ("step", "input", "both")
_WARM = 3  # batches that lay ready before the clock began


def main() -> None:
    """Runs the program; exits with 0, 65 (unusable records) or 78 (a config that cannot run)."""
    flags.mark_flags_as_required(["config"])
    app.run(_main, flags_parser=lambda arguments: command_line.parse(arguments, experiments.CONFIG))


def _main(_: list[str]) -> None:
    command_line.log_ours()
    host.keep_compiled()
    host.keep_memory()
    command = {"command": command_line.given("av_mae.tools.bench")}
    try:
        experiment = parse.experiment(experiments.CONFIG.value)
        bench = prepared(experiment, experiments.CLIPS.value, experiments.LABELS.value)
        what = _wanted(_WHAT.value, noise=experiments.CLIPS.value is not None)
        figures = command | measure(bench, what, _STEPS.value, _TRACE.value)
    except schema.ConfigError as error:
        command_line.leave(command_line.BAD_CONFIG, error)
    except records.DataError as error:
        command_line.leave(command_line.BAD_DATA, error)
    if experiments.JSON.value:
        pathlib.Path(experiments.JSON.value).write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(table(figures)))


def prepared(e: schema.Experiment, clips: int | None, labels: int | None) -> speed.Bench:
    """The step compiled for the experiment's records, or for noise where `clips` is given.

    Raises:
        ConfigError: the config cannot run here, or has neither records nor `clips`.
    """
    if clips is not None:
        return speed.on_noise(e, clips, labels or 0)
    run = Run.build(e)
    return speed.Bench(run, loop.batches(run, 0))


def measure(
    bench: speed.Bench, what: list[str], steps: int, trace: str | None = None
) -> dict[str, Any]:
    """Seconds of each thing named, with what is known of the step where one is taken."""
    times: dict[str, float] = {}
    dtype = bench.run.experiment.compute.dtype
    product = speed.product_flops(dtype) if "step" in what else 0.0
    timed = {"step": bench.steps, "input": bench.input, "both": bench.both}
    for name in what:
        if name == "input":
            bench.input(_WARM)
        profiled = trace if name == what[-1] else None
        with jax.profiler.trace(profiled) if profiled else contextlib.nullcontext():
            times[name] = timed[name](steps)
    rows = bench.run.experiment.batch_size
    figures: dict[str, Any] = {"seconds": times}
    figures["clips_per_second"] = {name: rows / seconds for name, seconds in times.items()}
    if "step" in times:
        figures["step"] = bench.report(times["step"], (product + speed.product_flops(dtype)) / 2)
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
    return lines + _limit(times)


def _limit(times: dict[str, float]) -> list[str]:
    """Which of the two the other waits for."""
    if not {"step", "input"} <= times.keys():
        return []
    step, fed = times["step"], times["input"]
    if fed > step:
        return [f"the input is the limit: the devices could take {fed / step:.1f} times as much"]
    return [f"the devices are the limit: the input could feed {step / fed:.1f} times as much"]


def _wanted(what: list[str], *, noise: bool) -> list[str]:
    unknown = [name for name in what if name not in WHAT]
    if unknown or not what:
        raise schema.ConfigError(f"--what={','.join(what)}: expected some of {', '.join(WHAT)}")
    return [name for name in what if name == "step" or not noise]


if __name__ == "__main__":
    main()
