"""Models of ours in the forms of other programs: Hugging Face's folder, VideoMAE's names."""

import json
import os
import pathlib
from typing import Any

from absl import logging
from flax import traverse_util

from av_mae import tasks
from av_mae.config import schema
from av_mae.convert import huggingface, table, videomae
from av_mae.convert.foreign import Arrays
from av_mae.experiment import checkpoint
from av_mae.models import inherit

# What VideoMAE's program has, by key; whatever else would be lost.
_NEEDS: dict[str, tuple[Any, ...]] = {
    "qkv_bias": ("qv", "none"),
    "positions": ("sincos", "learned"),
    "modality_tokens": (False,),
    "linear_probe": (False,),
}
_OF_PRETRAINING = {
    "project_bias": (False,),
    "decoder": ("shared", "joint", "separate"),
    "decoder_norm": (True,),
    "decoder_positions": ("sincos",),
    "normalise_targets": ("patch_channel", "raw"),
    "positions": ("sincos",),
}
_OF_FINETUNING = {"head_width": (0,), "pool": ("mean", "first")}


def official(saved: checkpoint.Saved) -> Arrays:
    """A video model's arrays under the names of the official program.

    Raises:
        ConfigError: it has what VideoMAE has not; names the key.
    """
    e = saved.experiment
    _check(
        e, "VideoMAE", _NEEDS | (_OF_FINETUNING if tasks.find(e.task).labelled else _OF_PRETRAINING)
    )
    flat: Any = traverse_util.flatten_dict(saved.params, sep="/")
    return table.write(videomae.rules(e), flat)


def to_videomae(saved: checkpoint.Saved, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `checkpoint.pth` with the arrays under `model`; needs PyTorch.

    Raises:
        ConfigError: the model has what VideoMAE has not, or the file is there already.
    """
    import torch  # pyright: ignore[reportMissingImports]  (as large as all the rest)

    arrays = official(saved)
    _check(saved.experiment, "VideoMAE", {"gelu": ("erf",), "norm_eps": (1e-6,)})
    file = _new(folder, "checkpoint.pth")
    torch.save({"model": {k: torch.tensor(x) for k, x in arrays.items()}}, file)
    return file


def to_huggingface(saved: checkpoint.Saved, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the folder that `from_pretrained` of transformers takes.

    Raises:
        ConfigError: the model has what Hugging Face's VideoMAE has not, or the folder holds one.
    """
    import safetensors.numpy

    e = saved.experiment
    _check(e, "Hugging Face's VideoMAE", {"layer_scale": (0.0,), "positions": ("sincos",)})
    arrays = huggingface.from_official(official(saved))
    settings = huggingface.settings(e, saved.labels)
    eps = e.model.outer_norm_eps or e.model.norm_eps
    if eps != huggingface.OUTER_EPS:
        logging.warning(
            "Hugging Face's last norms add %g to the variance, this model adds %g: outputs differ "
            "in the fifth digit", huggingface.OUTER_EPS, eps,
        )  # fmt: skip
    file = _new(folder, "model.safetensors")
    safetensors.numpy.save_file(arrays, file, metadata={"format": "pt"})
    video: Any = e.modalities["video"]
    preprocessing = {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": video.size},
        "do_center_crop": True,
        "crop_size": {"height": video.size, "width": video.size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(video.mean),
        "image_std": list(video.std),
    }
    for name, values in (("config", settings), ("preprocessor_config", preprocessing)):
        (file.parent / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n")
    return file.parent


def _check(e: schema.Experiment, program: str, needs: dict[str, tuple[Any, ...]]) -> None:
    if list(e.modalities) != ["video"]:
        raise schema.ConfigError(
            f"{program} has video alone, this model {' and '.join(e.modalities)}; "
            "export one trained with modalities=video"
        )
    for key, values in needs.items():
        value = getattr(e.model, key)
        if value not in values:
            expected = " or ".join(map(repr, values))
            raise schema.ConfigError(f"model.{key} is {value!r}; {program} has {expected}")
    if inherit.route(e.model, "video").inner_norm:
        raise schema.ConfigError(
            f"model.fusion_norm puts a LayerNorm inside the encoder, which {program} has not"
        )


def _new(folder: str | os.PathLike[str], name: str) -> pathlib.Path:
    file = pathlib.Path(folder) / name
    if file.exists():
        raise schema.ConfigError(f"{file} exists; write to another folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
