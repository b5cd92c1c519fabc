"""Which clips of a batch have which modality: `<modality>_present` entries, by modality."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

Present = Mapping[str, Bool[Array, "b"]]

_SUFFIX = "_present"
_USE = 0x64726F70  # separates these draws from others that an example's key is folded for


def of(batch: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{modality: bool [b]}` of the modalities that a clip of the batch may lack.

    None where every clip has everything, so that attention needs no mask.
    """
    return {k.removesuffix(_SUFFIX): v for k, v in batch.items() if k.endswith(_SUFFIX)} or None


def drop(
    present: Present | None, names: Sequence[str], probability: float, keys_b: Key[Array, "b"]
) -> Present | None:
    """Leaves a clip, with this probability, only one of the modalities that it has.

    Modality dropout (Shi et al. 2022, arXiv 2201.02184): no modality is learned at the expense of
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


def of_tokens(
    tokens: Mapping[str, Float[Array, "b _ d"]], present: Present | None
) -> Bool[Array, "b t"] | None:
    """Of the concatenated tokens, False for those of absent modalities; None: all are there."""
    if not present or len(tokens) == 1:
        return None
    parts = []
    for name, x_btd in tokens.items():
        here_b = present.get(name, jnp.ones(x_btd.shape[0], bool))
        parts.append(jnp.broadcast_to(here_b[:, None], x_btd.shape[:2]))
    return jnp.concatenate(parts, axis=1)


def mean(values: Mapping[str, Float[Array, "b ..."]], present: Present | None) -> jax.Array:
    """Mean `[b ...]` over the modalities that are present in each example."""
    stacked = jnp.stack(list(values.values()))
    if not present:
        return stacked.mean(0)
    everyone = jnp.ones(stacked.shape[1], bool)
    here = jnp.stack([present.get(name, everyone) for name in values])
    here = here.reshape(*here.shape, *(1,) * (stacked.ndim - 2)).astype(stacked.dtype)
    return (stacked * here).sum(0) / jnp.maximum(here.sum(0), 1)
