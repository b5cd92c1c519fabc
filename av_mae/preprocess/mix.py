"""Mixup and cutmix of whole batches, with one weight for all modalities or one for each.

Mixup: Zhang et al. 2018 (arXiv 1710.09412). Cutmix: Yun et al. 2019 (arXiv 1905.04899). One weight
for each modality: Georgescu et al. 2023 (arXiv 2212.05922), "mixmod".
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

# Axes of an input (batch first) that a cut box spans: height and width of every frame, or time.
CUT_AXES = {"video": (2, 3), "audio": (1,)}
CUTMIX_SHARE = 0.5  # share of the batches that are cut where mixup and cutmix are both on


def mix(
    inputs: Mapping[str, Float[Array, "b ..."]],
    labels_bk: Float[Array, "b k"],
    key: Key[Array, ""],
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    per_modality: bool = False,
    valid_b: Bool[Array, " b"] | None = None,
    present: Mapping[str, Bool[Array, " b"]] | None = None,
) -> tuple[dict[str, Float[Array, "b ..."]], dict[str, Float[Array, "b k"]]]:
    """Mixes every row with its partner: row i with row -1 - i of the batch.

    Rows stay unmixed where they or their partners are padding. A modality that only one of the two
    has stays unmixed: by itself if each modality has its own weight, otherwise with the rest of the
    row, whose modalities share one label.

    Args:
        inputs: normalised model inputs by modality.
        key: one key for the batch; the weights are shared by its rows.
        mixup, cutmix: parameters of Beta(a, a); 0 = off. With both, each is used in half the
            batches. Cutmix takes one box for all frames of a clip, and a time span of the sound.
        per_modality: own weights for each modality, hence labels that differ.
        valid_b: False on padding rows; None = all are real.
        present: False where a row lacks a modality, by modality; absent names are always there.

    Returns:
        (inputs, labels `{modality: [b k]}`); the labels are equal unless `per_modality`.
    """
    names = list(inputs)
    if not mixup and not cutmix:
        return dict(inputs), dict.fromkeys(names, labels_bk)

    everywhere = jnp.ones((labels_bk.shape[0],), bool)
    valid_b = everywhere if valid_b is None else valid_b
    has = {name: (present or {}).get(name, everywhere) & valid_b for name in names}
    may_mix = {name: x & x[::-1] for name, x in has.items()}
    if not per_modality:  # only rows that have the same modalities
        alike = valid_b & valid_b[::-1]
        for x in has.values():
            alike &= x == x[::-1]
        may_mix = dict.fromkeys(names, alike)

    shared_key, *own_keys = jax.random.split(key, 1 + len(names))
    mixed: dict[str, jax.Array] = {}
    kept: dict[str, jax.Array] = {}
    for name, own_key in zip(names, own_keys, strict=True):
        weight, cut = _draw(own_key if per_modality else shared_key, mixup, cutmix)
        mask, kept[name] = _mask(inputs[name].shape, own_key, weight, cut, CUT_AXES[name])
        may_mix_b1 = may_mix[name].reshape(-1, *(1,) * (inputs[name].ndim - 1))
        share = jnp.where(may_mix_b1, mask, 1.0)
        mixed[name] = share * inputs[name] + (1.0 - share) * inputs[name][::-1]
    if not per_modality:
        kept = dict.fromkeys(names, jnp.stack(list(kept.values())).mean())
    labels = {}
    for name in names:
        share = jnp.where(may_mix[name], kept[name], 1.0)[:, None]
        labels[name] = share * labels_bk + (1.0 - share) * labels_bk[::-1]
    return mixed, labels


def _draw(key: jax.Array, mixup: float, cutmix: float) -> tuple[jax.Array, jax.Array]:
    """(weight of the row itself, whether it is cut rather than blended)."""
    up_key, cut_key, choice_key = jax.random.split(key, 3)
    if not cutmix:
        return jax.random.beta(up_key, mixup, mixup), jnp.array(False)
    if not mixup:
        return jax.random.beta(cut_key, cutmix, cutmix), jnp.array(True)
    cut = jax.random.bernoulli(choice_key, CUTMIX_SHARE)
    blend_weight = jax.random.beta(up_key, mixup, mixup)
    return jnp.where(cut, jax.random.beta(cut_key, cutmix, cutmix), blend_weight), cut


def _mask(shape, key, weight, cut, axes) -> tuple[jax.Array, jax.Array]:
    """(the row's own share at every place, broadcastable to `shape`; its mean)."""
    inside = jnp.ones((1,) * len(shape), bool)
    side = (1.0 - weight) ** (1.0 / len(axes))
    for axis, axis_key in zip(axes, jax.random.split(key, len(axes)), strict=True):
        size = shape[axis]
        half = (size * side).astype(jnp.int32) // 2
        centre = jax.random.randint(axis_key, (), 0, size)
        place = jnp.arange(size).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        inside &= (place >= centre - half) & (place < centre + half)
    box = 1.0 - inside.astype(jnp.float32)
    mask = jnp.where(cut, box, weight)
    # The box may reach over the edge, so the label follows the area that was really cut.
    return mask, jnp.where(cut, box.mean(), weight)
