"""Which clips of a batch have which modality: `<modality>_present` entries, by modality."""

import jax

_SUFFIX = "_present"


def of(batch: dict[str, jax.Array]) -> dict[str, jax.Array] | None:
    """`{modality: bool [b]}` of the modalities that a clip of the batch may lack.

    None where every clip has everything, so that attention needs no mask.
    """
    return {k.removesuffix(_SUFFIX): v for k, v in batch.items() if k.endswith(_SUFFIX)} or None
