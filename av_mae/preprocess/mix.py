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
    """Mixes every row with its partner, the batch in reverse order.

    A row is left as it is where it or its partner is padding. A modality that one of the two lacks
    is never mixed: with a weight for each modality only that modality stays, otherwise the whole
    row does, because its modalities share one label.

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
    rows = labels_bk.shape[0]
    may_mix = _may_mix(names, rows, valid_b, present or {}, per_modality)
    if not mixup and not cutmix:
        return dict(inputs), dict.fromkeys(names, labels_bk)
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


def _may_mix(names, rows, valid_b, present, per_modality) -> dict[str, jax.Array]:
    """By modality, True `[b]` where a row and its partner both have what is to be mixed."""
    everywhere = jnp.ones((rows,), bool)
    valid_b = everywhere if valid_b is None else valid_b
    has = {name: present.get(name, everywhere) & valid_b for name in names}
    both = {name: x & x[::-1] for name, x in has.items()}
    if per_modality:
        return both
    alike = valid_b & valid_b[::-1]
    for x in has.values():
        alike &= x == x[::-1]
    return dict.fromkeys(names, alike)


def _draw(key: jax.Array, mixup: float, cutmix: float) -> tuple[jax.Array, jax.Array]:
    """(share of the row that stays, whether it is cut rather than blended)."""
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
