"""What training minimises: masked reconstruction error and classification cross entropy.

All means are over the global batch: sums of weighted rows divided by the sum of weights, where a
row weighs 1, or what its classes weigh, if it is valid and has the modality. Everything is computed
in float32.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from av_mae.config import modality as modality_lib

_EPSILON = 1e-8


@flax.struct.dataclass
class Sum:
    """A weighted sum of a batch and its weight; sums of several batches add up."""

    total: Any  # arrays, or the placeholders of jax transformations
    weight: Any

    @property
    def mean(self) -> Any:
        """total / weight; 0 where nothing was weighed."""
        return self.total / (self.weight + _EPSILON)


def reconstruction(
    predictions: Mapping[str, Float[Array, "b _ _"]],
    inputs: Mapping[str, Float[Array, "b ..."]],
    hidden: Mapping[str, Int[Array, "b _"]] | None,
    modalities: Mapping[str, modality_lib.Modality],
    *,
    normalise: str,
    valid_b: Bool[Array, "b"],
    present: Mapping[str, Bool[Array, "b"]] | None = None,
) -> tuple[Float[Array, ""], dict[str, Sum]]:
    """Weighted sum over modalities of the mean squared error of their predicted patches.

    Args:
        predictions: `[b h p]` for the tokens `hidden`, or `[b n p]` for all of them.
        inputs: what the patches are cut from, `{video: [b f h w 3], audio: [b t m]}`.
        hidden: token indices the predictions are about; None: all tokens.
        normalise: see `targets`.
        present: rows that have a modality; others do not count for it.

    Returns:
        The loss, and each modality's error a value and token as a `Sum`.
    """
    errors = {}
    for name, predicted in predictions.items():
        patches = modalities[name].patchify(inputs[name])
        if hidden is not None:
            index = hidden[name][..., None]
            patches = jnp.take_along_axis(patches, index, axis=1, mode="promise_in_bounds")
        wanted = targets(patches, modalities[name], normalise)
        error_bt = jnp.square(predicted.astype(jnp.float32) - wanted).mean(-1)
        row = _sum(error_bt.sum(1), valid_b, present, name)
        errors[name] = Sum(row.total, row.weight * error_bt.shape[1])
    return weighted(errors, modalities), errors


def weighted(
    errors: Mapping[str, Sum], modalities: Mapping[str, modality_lib.Modality]
) -> Float[Array, ""]:
    """The reconstruction loss: each modality's mean error times its weight, summed."""
    terms = [modalities[name].weight * error.mean for name, error in errors.items()]
    return jnp.sum(jnp.stack(terms))


def targets(
    patches_bnp: Float[Array, "b n p"], modality: modality_lib.Modality, normalise: str
) -> Float[Array, "b n p"]:
    """What is predicted for raw patches.

    `none`: the model's input. `patch`: (x - mean) / sqrt(var + 1e-6) of each patch (Scenic, MAE).
    `raw`: the input before its normalisation by `modality.mean` and `std`. `patch_channel`: of
    that, (x - mean) / (std + 1e-6) for each channel of each patch, unbiased (VideoMAE).
    """
    x = patches_bnp.astype(jnp.float32)
    if normalise == "none":
        return x
    x = _before(x, modality, normalise)
    if normalise != "raw":
        mean, deviation = _statistics(x, normalise)
        x = (x - mean) / deviation
    return x.reshape(patches_bnp.shape)


def denormalise(
    predicted_bnp: Float[Array, "b n p"],
    patches_bnp: Float[Array, "b n p"],
    modality: modality_lib.Modality,
    normalise: str,
) -> Float[Array, "b n p"]:
    """Predictions as model inputs, for pictures; uses the true patches' means and deviations."""
    if normalise == "none":
        return predicted_bnp
    x = _by_channel(predicted_bnp, modality)
    if normalise != "raw":
        mean, deviation = _statistics(_before(patches_bnp, modality, normalise), normalise)
        x = x * deviation + mean
    if normalise != "patch":
        mean, std = _normalisation(modality)
        x = (x - mean) / std
    return x.reshape(predicted_bnp.shape)


def classification(
    logits: Mapping[str, Float[Array, "b k"]],
    labels: Mapping[str, Float[Array, "b k"]],
    *,
    multilabel: bool,
    smoothing: float = 0.0,
    class_weights: Sequence[float] = (),
    valid_b: Bool[Array, "b"],
    present: Mapping[str, Bool[Array, "b"]] | None = None,
) -> tuple[Float[Array, ""], dict[str, Sum]]:
    """Mean over modalities of the cross entropy of each one's logits with its own labels.

    Labels are distributions over the classes, or (`multilabel`) independent probabilities. They
    differ between modalities when clips are mixed with a weight for each.

    Args:
        class_weights: factor of each class's term; () = all are 1. A row then weighs the mean of
            its labels' weights, y . w before smoothing, so that the mean is that of PyTorch's
            CrossEntropyLoss(weight, label_smoothing=s). With `multilabel` they are factors of the
            positive terms, as `pos_weight` of BCEWithLogitsLoss, and rows weigh the same.

    Returns:
        The loss, and each modality's cross entropy as a `Sum` over rows.
    """
    cross_entropy = sigmoid_cross_entropy if multilabel else softmax_cross_entropy
    weights_k = jnp.asarray(class_weights, jnp.float32) if len(class_weights) else None
    errors = {}
    for name, logits_bk in logits.items():
        error_b = cross_entropy(logits_bk, labels[name], smoothing, weights_k)
        row_b = None if multilabel or weights_k is None else labels[name] @ weights_k
        errors[name] = _sum(error_b, valid_b, present, name, row_b)
    return jnp.mean(jnp.stack([error.mean for error in errors.values()])), errors


def softmax_cross_entropy(
    logits_bk: Float[Array, "b k"],
    labels_bk: Float[Array, "b k"],
    smoothing: float = 0.0,
    weights_k: Float[Array, "k"] | None = None,
) -> Float[Array, "b"]:
    """-sum of w labels log softmax(logits), labels smoothed to y (1 - s) + s / k."""
    y_bk = labels_bk * (1.0 - smoothing) + smoothing / labels_bk.shape[-1]
    if weights_k is not None:
        y_bk = y_bk * weights_k
    return -(y_bk * jax.nn.log_softmax(logits_bk.astype(jnp.float32))).sum(-1)


def sigmoid_cross_entropy(
    logits_bk: Float[Array, "b k"],
    labels_bk: Float[Array, "b k"],
    smoothing: float = 0.0,
    weights_k: Float[Array, "k"] | None = None,
) -> Float[Array, "b"]:
    """Binary cross entropies summed over the classes, labels smoothed to y (1 - s) + s / k.

    Args:
        weights_k: factors of the positive terms.
    """
    logits_bk = logits_bk.astype(jnp.float32)
    y_bk = labels_bk * (1.0 - smoothing) + smoothing / labels_bk.shape[-1]
    positive, negative = jax.nn.log_sigmoid(logits_bk), jax.nn.log_sigmoid(-logits_bk)
    if weights_k is not None:
        positive = positive * weights_k
    return -(y_bk * positive + (1.0 - y_bk) * negative).sum(-1)


def _sum(
    error_b: jax.Array,
    valid_b: jax.Array,
    present: Mapping[str, jax.Array] | None,
    name: str,
    row_b: jax.Array | None = None,
) -> Sum:
    """Of the valid rows that have the modality; others may hold anything, even NaN.

    Args:
        row_b: what a row weighs; None: 1.
    """
    counted_b = valid_b & present[name] if present and name in present else valid_b
    weight_b = counted_b if row_b is None else jnp.where(counted_b, row_b, 0.0)
    return Sum(jnp.where(counted_b, error_b, 0.0).sum(), weight_b.sum(dtype=jnp.float32))


def _by_channel(patches: jax.Array, modality: modality_lib.Modality) -> jax.Array:
    *rows, values = patches.shape  # explicit: without rows, -1 is ambiguous
    return patches.reshape(*rows, values // modality.channels, modality.channels)


def _before(patches: jax.Array, modality: modality_lib.Modality, normalise: str) -> jax.Array:
    """What is normalised, `[b n p/c c]`: unless by `patch`, values before the modality's own."""
    x = _by_channel(patches, modality)
    if normalise == "patch":
        return x
    mean, std = _normalisation(modality)
    return x * std + mean


def _statistics(x: jax.Array, normalise: str) -> tuple[jax.Array, jax.Array]:
    """Mean and deviation of each patch of `[b n p/c c]`: `[b n 1 1]`, or by channel `[b n 1 c]`."""
    if normalise == "patch_channel":
        return x.mean(2, keepdims=True), x.std(2, keepdims=True, ddof=1) + 1e-6
    return x.mean((2, 3), keepdims=True), jnp.sqrt(x.var((2, 3), keepdims=True) + 1e-6)


def _normalisation(modality: modality_lib.Modality) -> tuple[jax.Array, jax.Array]:
    mean, std = (getattr(modality, key) for key in ("mean", "std"))
    if mean is None or std is None:
        raise ValueError(
            f"modalities.{modality.name}: targets before normalisation need its mean and std; "
            "set both, or normalise_targets none or patch"
        )
    return jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
