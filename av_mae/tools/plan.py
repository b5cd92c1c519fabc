"""What a run will need: memory, work and time of its real step, on devices one need not have.

    python -m av_mae.tools.plan --config=configs/audioset/pretrain.py --topology=v5p:4x4x4 \
        --clips=1900000 --labels=527 --json=plan.json

For TPUs the step is compiled by libtpu, which needs no TPU; for GPUs that are not here the figures
are estimated from the config, and say so. `--topology=here` plans for this machine.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax
from absl import app, flags

from av_mae.config import command_line, durations, parse, schema
from av_mae.experiment import sharding
from av_mae.experiment.run import steps_per_epoch
from av_mae.input import description, records
from av_mae.planning import forecast, suggest, synthetic, topology
from av_mae.tools import experiments

_TOPOLOGY = flags.DEFINE_string(
    "topology", "here", "here, TPUs (v5e:16x16, 2*v5p:4x4x4), or GPUs (gpu:8, a100:16)."
)
_COSTS = flags.DEFINE_bool(
    "costs", True, "Count FLOPs and bytes of scanned layers, too: two more compilations."
)
_TEXT = flags.DEFINE_string(
    "text", None, "File for the compiled program, such as benchmarks.traffic reads."
)

DOES_NOT_FIT = 1


def main() -> None:
    """Runs the program; exits with 0 if the step fits, 1 if it does not, 78 for a bad config."""
    flags.mark_flags_as_required(["config"])
    app.run(_main, flags_parser=lambda arguments: command_line.parse(arguments, experiments.CONFIG))


def _main(_: list[str]) -> None:
    command = {"command": command_line.given("av_mae.tools.plan")}
    command_line.log_ours()
    try:
        experiment = parse.experiment(experiments.CONFIG.value)
        figures = command | plan(
            experiment,
            _TOPOLOGY.value,
            experiments.CLIPS.value,
            experiments.LABELS.value,
            costs=_COSTS.value,
            text=_TEXT.value,
        )
    except schema.ConfigError as error:
        command_line.leave(command_line.BAD_CONFIG, error)
    if experiments.JSON.value:
        pathlib.Path(experiments.JSON.value).write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(table(figures)))
    sys.exit(0 if figures["fits"] is not False else DOES_NOT_FIT)


def plan(
    experiment: schema.Experiment,
    where: str,
    clips: int | None,
    labels: int | None,
    *,
    costs: bool = True,
    text: str | None = None,
) -> dict[str, Any]:
    """All figures of an experiment on a topology, as plain numbers.

    Args:
        text: file to write the compiled program to.

    Raises:
        ConfigError: an unknown topology, a config that cannot run on it, or neither records nor
            the size of the data set.
    """
    place = topology.find(where)
    info = _data(experiment, clips, labels)
    figures = _setting(experiment, place)
    try:
        found = forecast.make(experiment, info, place, costs=costs)
    except forecast.TooLargeError as error:
        return figures | _too_large(experiment, info, place, error)
    if text:
        pathlib.Path(text).write_text(found.text)
    memory = dataclasses.asdict(found.memory)
    figures |= {
        "estimated": found.estimated,
        "memory": memory,
        "available": place.memory,
        "fits": None if place.memory is None else found.memory.peak <= place.memory,
        "work": dataclasses.asdict(found.work),
        "compile_seconds": round(found.compile_seconds, 1),
    }
    if figures["fits"] is False:
        figures["suggestions"] = suggest.smaller(experiment, info, place, found.memory.peak)
    return figures | _times(experiment, info, place, found.work)


def table(figures: dict[str, Any]) -> list[str]:
    """The figures as lines to read."""
    lines = [
        f"{figures['devices']} x {figures['chip']} ({figures['topology']}), mesh "
        + " x ".join(f"{k} {n}" for k, n in figures["mesh"].items())
        + f"; batch {figures['batch_size']}, {figures['dtype']}, remat {figures['remat']}, "
        f"{'scanned' if figures['scan'] else 'unrolled'}, {figures['accumulate']} a step"
    ]
    if figures.get("estimated"):
        lines.append("ESTIMATED from the config: there is no compiler for these devices here")
    lines.append("a device:")
    for name, value in figures.get("memory", {}).items():
        lines.append(f"  {name:<14}{value / 1e9:10.2f} GB")
    lines += _verdict(figures)
    if "work" in figures:
        lines += _work(figures["work"])
    if "seconds" in figures:
        lines += [f"  {k:<14}{1e3 * v:10.1f} ms" for k, v in figures["seconds"].items()]
        lines.append(f"{figures['clips_per_second']:,.0f} clips/s at the estimated step time")
        lines.append(f"{figures['steps']:,} steps in {figures['hours']:,.1f} h")
    return lines


def _verdict(figures: dict[str, Any]) -> list[str]:
    if figures["fits"] is None:
        return ["  of a device whose memory is not known"]
    words = "fits" if figures["fits"] else "DOES NOT FIT"
    lines = [f"  {words}"]
    if figures["available"] is not None:
        lines = [f"  {'available':<14}{figures['available'] / 1e9:10.2f} GB: {words}"]
    if "needed" in figures:
        lines.append(f"  {'needed':<14}{figures['needed'] / 1e9:10.2f} GB, says the compiler")
    if not figures["fits"]:
        tries = figures["suggestions"] or ["more devices: nothing else is enough"]
        lines += [f"{'or' if number else 'try'} {text}" for number, text in enumerate(tries)]
    return lines


def _work(work: dict[str, Any]) -> list[str]:
    lines = [f"  {'needed':<14}{work['needed'] / 1e12:10.3f} TFLOP (matrix products)"]
    if work["flops"]:
        ratio = work["flops"] / work["needed"]
        lines.append(f"  {'compiled':<14}{work['flops'] / 1e12:10.3f} TFLOP, {ratio:.3f} of them")
    if work["moved"] is not None:
        lines.append(f"  {'moved':<14}{work['moved'] / 1e9:10.2f} GB")
    for kind, sent in work["sent"].items():
        lines.append(f"  {kind:<14}{sent / 1e9:10.2f} GB sent")
    return lines


def _data(e: schema.Experiment, clips: int | None, labels: int | None) -> records.Info:
    """The data set's description, or one of the size given."""
    if clips is not None:
        return synthetic.info(e, clips, labels or 0)
    try:
        return description.of(e.dataset)
    except schema.ConfigError as error:
        raise schema.ConfigError(
            f"{error}; or say how many clips there will be with --clips=N, and how many labels "
            "with --labels=N"
        ) from error


def _setting(e: schema.Experiment, place: topology.Topology) -> dict[str, Any]:
    return {
        "jax": jax.__version__,
        "topology": place.name,
        "devices": len(place.devices),
        "chip": place.chip.name if place.chip else place.devices[0].device_kind,
        "mesh": dict(sharding.mesh_of(e.compute, place.devices).shape),
        "task": e.task,
        "batch_size": e.batch_size,
        "dtype": e.compute.dtype,
        "scan": e.compute.scan,
        "remat": e.compute.remat,
        "accumulate": e.optim.accumulate,
    }


def _too_large(
    e: schema.Experiment,
    info: records.Info,
    place: topology.Topology,
    error: forecast.TooLargeError,
) -> dict[str, Any]:
    return {
        "estimated": False,
        "available": error.available or place.memory,
        "needed": error.needed,
        "fits": False,
        "suggestions": suggest.smaller(e, info, place, error.needed),
    }


def _times(
    e: schema.Experiment, info: records.Info, place: topology.Topology, work: forecast.Work
) -> dict[str, Any]:
    times = forecast.seconds(work, place.chip) if place.chip else {}
    if not times:
        return {}
    per_epoch = steps_per_epoch(e, info)
    steps = durations.steps(e.total, steps_per_epoch=per_epoch, batch_size=e.batch_size)
    return {
        "seconds": times,
        "clips_per_second": e.batch_size / times["estimated"],
        "steps": steps,
        "hours": steps * times["estimated"] / 3600,
    }


if __name__ == "__main__":
    main()
