"""What the compiler is told of how a step's arrays lie on the devices of a mesh."""

import math

import jax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Shaped

# Names of mesh axes: what splits the rows of a batch, and what splits the heads.
BATCH_AXES, HEAD_AXIS = ("data", "fsdp"), "tensor"


def rows(x: Shaped[Array, "b ..."]) -> Shaped[Array, "b ..."]:
    """The same, every device with rows of its own; the other axes are left to the compiler.

    Where "fsdp" splits a kernel, the compiler would as soon split what comes of it in the same way,
    and send activations instead of parameters.
    """
    mesh = jax.sharding.get_abstract_mesh()
    parts = math.prod(mesh.shape.get(axis, 1) for axis in BATCH_AXES)
    if parts == 1 or x.shape[0] % parts:
        return x
    open_axes = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES, *open_axes))
