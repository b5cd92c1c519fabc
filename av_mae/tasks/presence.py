"""Which clips of a batch have which modality: `<modality>_present` entries, by modality."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

_SUFFIX = "_present"
_USE = 0x64726F70  # tells these draws from the others that an example's key is folded for


def of(batch: dict[str, jax.Array]) -> dict[str, jax.Array] | None:
    """`{modality: bool [b]}` of the modalities that a clip of the batch may lack.

    None where every clip has everything, so that attention needs no mask.
    """
    return {k.removesuffix(_SUFFIX): v for k, v in batch.items() if k.endswith(_SUFFIX)} or None


def drop(
    present: dict[str, Bool[Array, "b"]] | None,
    names: Sequence[str],
    probability: float,
    keys_b: Key[Array, "b"],
) -> dict[str, Bool[Array, "b"]] | None:
    """Leaves a clip, with this probability, only one of the modalities that it has.

    Modality dropout (Shi et al. 2022, arXiv 2201.02184): no modality is learnt at the expense of
    the others. Each one that a clip has is as likely to stay.
    """
    if not probability or len(names) == 1:
        return present
    everyone = jnp.ones(keys_b.shape[0], bool)
    here_bm = jnp.stack([(present or {}).get(name, everyone) for name in names], axis=1)

    def one(key: jax.Array, here_m: jax.Array) -> jax.Array:
        whether, which = jax.random.split(jax.random.fold_in(key, _USE))
        chances = jax.random.uniform(which, here_m.shape)
        chosen_m = jnp.arange(len(names)) == jnp.where(here_m, chances, -1.0).argmax()
        return here_m & (chosen_m | ~jax.random.bernoulli(whether, probability))

    kept_bm = jax.vmap(one)(keys_b, here_bm)
    return {name: kept_bm[:, number] for number, name in enumerate(names)}
