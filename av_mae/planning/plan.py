"""The plan of a run: figures of an experiment on a topology, what to change, and a table."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from flax import traverse_util

from av_mae.config import limits, schema
from av_mae.experiment import sharding
from av_mae.experiment.run import Run, steps_per_epoch
from av_mae.input import description, records
from av_mae.planning import forecast, synthetic, topology

# The estimates are rough: what is suggested has to leave this share of the memory free.
_SPARE = 0.1


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
    figures: dict[str, Any] = {
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
    try:
        found = forecast.make(e, info, place, costs=costs)
    except forecast.TooLargeError as error:
        available, needed = error.available or place.memory, error.needed
        figures |= {"estimated": False, "available": available, "needed": needed, "fits": False}
        return figures | {"suggestions": smaller(e, info, place, needed)}
    if text:
        pathlib.Path(text).write_text(found.text)
    return figures | _of_step(e, info, place, found)


def _of_step(
    e: schema.Experiment, info: records.Info, place: topology.Topology, found: forecast.Forecast
) -> dict[str, Any]:
    """What the step needs, and how long the run takes on a chip that is known."""
    peak = found.memory.peak
    figures = {
        "estimated": found.estimated,
        "memory": dataclasses.asdict(found.memory),
        "available": place.memory,
        "fits": None if place.memory is None else peak <= place.memory,
        "work": dataclasses.asdict(found.work),
        "compile_seconds": round(found.compile_seconds, 1),
    }
    if figures["fits"] is False:
        figures["suggestions"] = smaller(e, info, place, peak)
    times = forecast.seconds(found.work, place.chip) if place.chip else {}
    if not times:
        return figures
    per_epoch = steps_per_epoch(e, info)
    steps = limits.steps(e.total, steps_per_epoch=per_epoch, batch_size=e.batch_size)
    return figures | {
        "seconds": times,
        "clips_per_second": e.batch_size / times["estimated"],
        "steps": steps,
        "hours": steps * times["estimated"] / 3600,
    }


def smaller(
    e: schema.Experiment, info: records.Info, place: topology.Topology, needed: float
) -> list[str]:
    """Flags that should make the step fit: first with the batch as it is, then with a smaller one.

    What a change saves is scaled from `needed`, the bytes that a device would need now.

    Returns:
        Flags, each entry an alternative; empty where only more devices help.
    """
    if place.memory is None:
        return []
    memory, count = place.memory, len(place.devices) // e.compute.tensor

    @functools.cache
    def held(fsdp: int) -> float:
        """Bytes of a device's state with its gradients."""
        compute = dataclasses.replace(e.compute, fsdp=fsdp)
        state = Run.assemble(dataclasses.replace(e, compute=compute), info, place.devices).abstract
        return forecast.tree_bytes((state.params, state.opt_state, state.ema, state.params))

    kept = forecast.activations(e, e.batch_size // count)
    scale = max(needed - held(e.compute.fsdp), kept) / kept

    def fits(changed: schema.Experiment) -> bool:
        try:
            sharding.check_batches(changed, sharding.mesh_of(changed.compute, place.devices))
        except schema.ConfigError:
            return False
        kept = forecast.activations(changed, changed.batch_size // count)
        return held(changed.compute.fsdp) + scale * kept <= memory * (1 - _SPARE)

    rows, found = e.batch_size // count, []
    halved = ((rows >> n) * count for n in range(1, rows.bit_length()))
    smaller_batch = (dataclasses.replace(e, batch_size=size) for size in halved)
    for changes in (_same_batch(e, count), smaller_batch):
        changed = next(filter(fits, changes), None)
        if changed:
            old, new = (traverse_util.flatten_dict(x.to_dict(), sep=".") for x in (e, changed))
            keys = ("compute.remat", "compute.fsdp", "optim.accumulate", "batch_size")
            flags = [f"--config.{key}={new[key]}" for key in keys if new[key] != old[key]]
            found.append(" ".join(flags))
    return found


def _same_batch(e: schema.Experiment, devices: int) -> Iterator[schema.Experiment]:
    """From the cheapest change to the dearest."""
    # Unrolled layers keep with "none" what "dots" keeps.
    policies = ("none", "dots", "full") if e.compute.scan else ("none", "full")
    asked = e.compute.remat
    policies = policies[policies.index(asked) :] if asked in policies else (asked, "full")

    def doubled(first: int, whole: int) -> list[int]:
        every = (first << n for n in range(whole.bit_length()))
        return [size for size in every if size <= whole and whole % size == 0]

    accumulated = doubled(e.optim.accumulate, e.batch_size // devices)
    split = doubled(e.compute.fsdp, devices)
    for accumulate, fsdp, remat in itertools.product(accumulated, split, policies):
        compute = dataclasses.replace(e.compute, fsdp=fsdp, remat=remat)
        optim = dataclasses.replace(e.optim, accumulate=accumulate)
        yield dataclasses.replace(e, compute=compute, optim=optim)


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

    def gigabytes(name: str, value: float, note: str = "") -> None:
        lines.append(f"  {name:<14}{value / 1e9:10.2f} GB{note}")

    for name, value in figures.get("memory", {}).items():
        gigabytes(name, value)
    words = {None: "of a device whose memory is not known", True: "fits", False: "DOES NOT FIT"}
    verdict = words[figures["fits"]]
    if figures["available"] is None:
        lines.append(f"  {verdict}")
    else:
        gigabytes("available", figures["available"], f": {verdict}")
    if "needed" in figures:
        gigabytes("needed", figures["needed"], ", says the compiler")
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
            gigabytes("moved", work["moved"])
        for kind, sent in work["sent"].items():
            gigabytes(kind, sent, " sent")
    if "seconds" in figures:
        lines += [f"  {k:<14}{1e3 * v:10.1f} ms" for k, v in figures["seconds"].items()]
        lines.append(f"{figures['clips_per_second']:,.0f} clips/s at the estimated step time")
        lines.append(f"{figures['steps']:,} steps in {figures['hours']:,.1f} h")
    return lines
