"""From batches to model inputs, for training, evaluation and single files alike."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from av_mae.config import modality, schema
from av_mae.preprocess import audio, video
from av_mae.preprocess import augment as augment_lib


def prepare(
    batch: Mapping[str, Shaped[Array, "b ..."]],
    modalities: modality.Modalities,
    *,
    augment: schema.Augment | None = None,
    keys_b: Key[Array, " b"] | None = None,
) -> dict[str, Float[Array, "b ..."]]:
    """Turns `video` uint8 `[b f h w 3]` and `audio` int16 `[b s]` into normalised float32 inputs.

    Sound may also be a log-mel spectrogram float32 `[b t m]` already, as some records hold it.

    Prepares the modalities that the batch holds and ignores its other entries.

    Args:
        augment: what is done to training examples; needs `keys_b`. Mixing is `mix.mix`.
        keys_b: one key an example; None = no augmentation.

    Returns:
        `video` `[b f h w 3]`, `audio` log-mel `[b t m]`, in the order of `modalities`.

    Raises:
        ValueError: the batch holds none of the modalities, a shape is wrong, or the sound's
            statistics are not known yet.
    """
    names = [name for name in modalities if name in batch]
    if not names:
        raise ValueError(
            f"the batch holds {', '.join(sorted(batch)) or 'nothing'}, expected at least one of "
            f"{', '.join(modalities)}"
        )
    if keys_b is None:
        augment = None
    inputs = {}
    for name in names:
        keys = None if keys_b is None else _fold(keys_b, name)
        inputs[name] = _PREPARE[name](batch[name], modalities[name], augment, keys)
    return inputs


def unpack(
    batch: Mapping[str, Shaped[Array, "_ ..."]], modalities: modality.Modalities
) -> dict[str, Shaped[Array, "b ..."]]:
    """Cuts the crops of a batch whose pictures the host left whole; any other batch as it is.

    This comes before the batch is split into micro-batches, since a canvas serves several rows.
    """
    if "canvas" not in batch:
        return dict(batch)
    rest = {name: x for name, x in batch.items() if name not in ("canvas", "crops")}
    cut = video.crops(batch["canvas"], batch["crops"], modalities["video"].axes[1])
    return {"video": cut} | rest


def _video(
    frames: jax.Array, spec: modality.Video, augment: schema.Augment | None, keys: Any
) -> jax.Array:
    _check_shape(frames, spec.input_shape, "batch['video'] has shape")
    if augment and augment.rand_augment:
        frames = augment_lib.rand_augment(
            frames,
            _fold(keys, "rand_augment"),
            layers=augment.rand_augment,
            magnitude=augment.rand_augment_magnitude,
            deviation=augment.rand_augment_deviation,
        )
    x = frames.astype(jnp.float32) / 255.0
    if augment:
        x = video.augment(x, keys, flip=augment.flip, color=augment.color, gray=augment.gray)
    if spec.remove_still:
        x = video.remove_still(x, spec.mean)
    x = video.normalise(x, spec.mean, spec.std)
    if augment and augment.erase:
        x = augment_lib.erase(x, _fold(keys, "erase"), augment.erase)
    return x


def _audio(
    sound: jax.Array, spec: modality.Audio, augment: schema.Augment | None, keys: Any
) -> jax.Array:
    if spec.mean is None or spec.std is None:
        raise ValueError(
            "modalities.audio.mean and modalities.audio.std are None; set them, or take those of "
            "the data set (audio_mean and audio_std in its av_mae.json)"
        )
    x = sound
    if sound.ndim != 3:
        why = f" for {spec.seconds} seconds"
        _check_shape(sound, (spec.samples,), "batch['audio'] has shape", why)
        x = audio.log_mel(sound.astype(jnp.float32) / 32768.0, spec.mels, spec.axes[0])
    _check_shape(x, spec.input_shape, "batch['audio'] holds spectrograms of shape")
    x = (x - spec.mean) / spec.std
    if augment and augment.audio_roll:
        x = audio.roll(x, _fold(keys, "roll"))
    if augment and (augment.freq_masks or augment.time_masks):
        x = audio.spec_augment(
            x,
            _fold(keys, "spec_augment"),
            freq_masks=augment.freq_masks,
            freq_mask_bins=augment.freq_mask_bins,
            time_masks=augment.time_masks,
            time_mask_columns=augment.time_mask_columns,
        )
    return x


def _check_shape(x: jax.Array, shape: tuple[int, ...], what: str, why: str = "") -> None:
    if x.shape[1:] != shape:
        raise ValueError(
            f"{what} {x.shape}, expected (batch, {', '.join(map(str, shape))}){why}; "
            "fold views into the batch first"
        )


_PREPARE: dict[str, Callable[..., jax.Array]] = {"video": _video, "audio": _audio}

# Constants folded into an example's key, one a draw; the numbers mean nothing but must not change.
_FOLDS = {
    "video": 101,
    "audio": 102,
    "roll": 103,
    "spec_augment": 104,
    "rand_augment": 105,
    "erase": 106,
}


def _fold(keys_b: jax.Array, name: str) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (0, None))(keys_b, _FOLDS[name])
