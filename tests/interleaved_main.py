"""`python -m av_mae.main` on a mesh where the processes' devices take turns, as on a torus."""

import runpy

import jax

from av_mae.experiment import sharding

if __name__ == "__main__":
    make_mesh = sharding.make_mesh

    def in_turns(fsdp=1, devices=None, *, tensor=1):
        devices = devices or sorted(jax.devices(), key=lambda d: (d.id % 4, d.process_index))
        return make_mesh(fsdp, devices, tensor=tensor)

    sharding.make_mesh = in_turns
    runpy.run_module("av_mae.main", run_name="__main__")
