"""The plan of a run: all figures of an experiment on a topology, and how they read as a table."""

import dataclasses
import pathlib
from typing import Any

import jax

from av_mae.config import durations, schema
from av_mae.experiment import sharding
from av_mae.experiment.run import steps_per_epoch
from av_mae.input import description
from av_mae.planning import forecast, suggest, synthetic, topology


def make(
    e: schema.Experiment,
    where: str,
    clips: int | None,
    labels: int | None,
    *,
    costs: bool = True,
    text: str | None = None,
) -> dict[str, Any]:
    """All figures of an experiment on a topology, as plain numbers.

    Args:
        clips, labels: the size of the data set; None = that of the records.
        costs: as of `forecast.make`.
        text: file to write the compiled program to.

    Raises:
        ConfigError: an unknown topology, a config that cannot run on it, or neither records nor
            the size of the data set.
    """
    place = topology.find(where)
    try:
        info = description.of(e.dataset) if clips is None else synthetic.info(e, clips, labels or 0)
    except schema.ConfigError as error:
        raise schema.ConfigError(
            f"{error}; or say how many clips there will be with --clips=N, and how many labels "
            "with --labels=N"
        ) from error
    figures = _setting(e, place)
    try:
        found = forecast.make(e, info, place, costs=costs)
    except forecast.TooLargeError as error:
        return figures | {
            "estimated": False,
            "available": error.available or place.memory,
            "needed": error.needed,
            "fits": False,
            "suggestions": suggest.smaller(e, info, place, error.needed),
        }
    if text:
        pathlib.Path(text).write_text(found.text)
    figures |= {
        "estimated": found.estimated,
        "memory": dataclasses.asdict(found.memory),
        "available": place.memory,
        "fits": None if place.memory is None else found.memory.peak <= place.memory,
        "work": dataclasses.asdict(found.work),
        "compile_seconds": round(found.compile_seconds, 1),
    }
    if figures["fits"] is False:
        figures["suggestions"] = suggest.smaller(e, info, place, found.memory.peak)

    times = forecast.seconds(found.work, place.chip) if place.chip else {}
    if times:
        per_epoch = steps_per_epoch(e, info)
        steps = durations.steps(e.total, steps_per_epoch=per_epoch, batch_size=e.batch_size)
        figures |= {
            "seconds": times,
            "clips_per_second": e.batch_size / times["estimated"],
            "steps": steps,
            "hours": steps * times["estimated"] / 3600,
        }
    return figures


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

    words = {None: "of a device whose memory is not known", True: "fits", False: "DOES NOT FIT"}
    verdict = words[figures["fits"]]
    if figures["available"] is not None:
        verdict = f"{'available':<14}{figures['available'] / 1e9:10.2f} GB: {verdict}"
    lines.append(f"  {verdict}")
    if "needed" in figures:
        lines.append(f"  {'needed':<14}{figures['needed'] / 1e9:10.2f} GB, says the compiler")
    if figures["fits"] is False:
        tries = figures["suggestions"] or ["more devices: nothing else is enough"]
        lines += [f"{'or' if number else 'try'} {text}" for number, text in enumerate(tries)]

    if "work" in figures:
        work = figures["work"]
        lines.append(f"  {'needed':<14}{work['needed'] / 1e12:10.3f} TFLOP (matrix products)")
        if work["flops"]:
            tflop, ratio = work["flops"] / 1e12, work["flops"] / work["needed"]
            lines.append(f"  {'compiled':<14}{tflop:10.3f} TFLOP, {ratio:.3f} of them")
        if work["moved"] is not None:
            lines.append(f"  {'moved':<14}{work['moved'] / 1e9:10.2f} GB")
        for kind, sent in work["sent"].items():
            lines.append(f"  {kind:<14}{sent / 1e9:10.2f} GB sent")
    if "seconds" in figures:
        lines += [f"  {k:<14}{1e3 * v:10.1f} ms" for k, v in figures["seconds"].items()]
        lines.append(f"{figures['clips_per_second']:,.0f} clips/s at the estimated step time")
        lines.append(f"{figures['steps']:,} steps in {figures['hours']:,.1f} h")
    return lines
