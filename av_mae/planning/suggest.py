"""What to change in an experiment whose step does not fit into the devices' memory."""

import dataclasses
import functools
from collections.abc import Iterator

from av_mae.config import schema
from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.input import records
from av_mae.planning import estimate
from av_mae.planning.topology import Topology

# The estimates are rough: what is suggested has to leave this share of the memory free.
_SPARE = 0.1


def smaller(e: schema.Experiment, info: records.Info, place: Topology, needed: float) -> list[str]:
    """Flags that should make the step fit: first with the batch as it is, then with a smaller one.

    What a change saves is scaled from `needed`, the bytes that a device would need now.

    Returns:
        Flags, each entry an alternative; empty where only more devices help.
    """
    if place.memory is None:
        return []
    room = place.memory * (1 - _SPARE)
    count = len(place.devices) // e.compute.tensor
    held = functools.cache(lambda fsdp: _state(e, info, place, fsdp))
    kept = estimate.activations(e, e.batch_size // count)
    scale = max(needed - held(e.compute.fsdp), kept) / kept

    def fits(changed: schema.Experiment) -> bool:
        if not _runs(changed, place):
            return False
        kept = estimate.activations(changed, changed.batch_size // count)
        return held(changed.compute.fsdp) + scale * kept <= room

    choices = (_same_batch(e, count), _smaller_batch(e, count))
    found = [next((c for c in changed if fits(c)), None) for changed in choices]
    return [_flags(e, changed) for changed in found if changed]


def _same_batch(e: schema.Experiment, devices: int) -> Iterator[schema.Experiment]:
    """From the cheapest change to the dearest."""
    policies = _policies(e.compute)
    parts = e.optim.accumulate
    while e.batch_size % (parts * devices) == 0:
        for fsdp in _powers(e.compute.fsdp, devices):
            for remat in policies:
                compute = dataclasses.replace(e.compute, fsdp=fsdp, remat=remat)
                optim = dataclasses.replace(e.optim, accumulate=parts)
                yield dataclasses.replace(e, compute=compute, optim=optim)
        parts *= 2


def _policies(compute: schema.Compute) -> tuple[str, ...]:
    """What is asked for and what keeps less; unrolled layers keep with "none" what "dots" keeps."""
    policies = ("none", "dots", "full") if compute.scan else ("none", "full")
    if compute.remat not in policies:
        return (compute.remat, "full")
    return policies[policies.index(compute.remat) :]


def _smaller_batch(e: schema.Experiment, devices: int) -> Iterator[schema.Experiment]:
    rows = e.batch_size // devices // 2
    while rows:
        yield dataclasses.replace(e, batch_size=rows * devices)
        rows //= 2


def _runs(e: schema.Experiment, place: Topology) -> bool:
    try:
        sharding.check_batches(e, sharding.mesh_of(e.compute, place.devices))
    except schema.ConfigError:
        return False
    return True


def _powers(first: int, most: int) -> Iterator[int]:
    while first <= most and most % first == 0:
        yield first
        first *= 2


def _state(e: schema.Experiment, info: records.Info, place: Topology, fsdp: int) -> float:
    """Bytes of a device's state with its gradients."""
    compute = dataclasses.replace(e.compute, fsdp=fsdp)
    state = Run.assemble(dataclasses.replace(e, compute=compute), info, place.devices).abstract
    trees = (state.params, state.opt_state, state.ema, state.params)
    return sum(map(estimate.tree_bytes, trees))


def _flags(before: schema.Experiment, after: schema.Experiment) -> str:
    """The overrides that lead from one to the other."""
    pairs = (
        ("compute.remat", before.compute.remat, after.compute.remat),
        ("compute.fsdp", before.compute.fsdp, after.compute.fsdp),
        ("optim.accumulate", before.optim.accumulate, after.optim.accumulate),
        ("batch_size", before.batch_size, after.batch_size),
    )
    return " ".join(f"--config.{key}={new}" for key, old, new in pairs if new != old)
