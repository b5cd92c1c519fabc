"""VideoMAE in Hugging Face's form: a folder of config.json and model.safetensors, in and out.

Names, and which norms follow `layer_norm_eps` (`decoder.norm` and `fc_norm` do not), are those of
transformers 4.46 and 5.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from av_mae import tasks
from av_mae.config import modality, schema
from av_mae.convert import describe, videomae
from av_mae.convert.foreign import Arrays, ForeignFileError

_CONFIG = "config.json"
OUTER_EPS = 1e-5  # of decoder.norm and fc_norm, whatever layer_norm_eps says

# (theirs, the official program's), at the start of a name and inside one.
_STARTS = (
    ("videomae.embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("videomae.encoder.layer.", "blocks."),
    ("videomae.layernorm.", "norm."),
    ("decoder.decoder_layers.", "decoder.blocks."),
    ("classifier.", "head."),
)
_INSIDE = (
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".attention.output.dense.", ".attn.proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
    (".attention.attention.", ".attn."),
)
_KINDS = {"VideoMAEForPreTraining": "pretrain", "VideoMAEForVideoClassification": "classify"}
_GELU = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_FACTS = {
    "num_attention_heads": "model.heads",
    "decoder_num_attention_heads": "model.decoder_heads",
    "layer_norm_eps": "model.norm_eps",
    "num_frames": "modalities.video.frames",
    "image_size": "modalities.video.size",
}


def find(source: pathlib.Path) -> pathlib.Path | None:
    """The folder, if it is one of Hugging Face's (or the folder of a file in it)."""
    folder = source if source.is_dir() else source.parent
    if source.is_file() and not source.name.endswith((".safetensors", ".bin", _CONFIG)):
        return None
    return folder if (folder / _CONFIG).is_file() and _weights(folder) else None


def describe_file(folder: pathlib.Path) -> describe.Description:
    """A folder written by `save_pretrained`."""
    settings = _json(folder / _CONFIG)
    kind = settings.get("model_type")
    if kind != "videomae":
        raise ForeignFileError(
            f"{folder / _CONFIG} describes a model of type {kind!r}, expected 'videomae'"
        )
    activation = settings.get("hidden_act", "gelu")
    if activation not in _GELU:
        raise ForeignFileError(
            f"{folder / _CONFIG}: hidden_act is {activation!r}, expected one of {', '.join(_GELU)}"
        )
    arrays: Arrays = {}
    for file in _weights(folder):
        arrays |= _read(file)
    state = to_official(arrays)
    facts = {ours: settings[theirs] for theirs, ours in _FACTS.items() if theirs in settings}
    targets = "patch_channel" if settings.get("norm_pix_loss", True) else "raw"
    facts |= {
        "model.gelu": _GELU[activation],
        "model.outer_norm_eps": OUTER_EPS,
        "model.normalise_targets": targets,
    }
    if "decoder.head.weight" not in state:
        facts.pop("model.decoder_heads", None)
    pixels = folder / "preprocessor_config.json"
    statistics = _json(pixels) if pixels.is_file() else {}
    names = (("image_mean", "mean"), ("image_std", "std"))
    usual = {f"modalities.video.{b}": tuple(statistics[a]) for a, b in names if a in statistics}
    found = videomae.of_state("Hugging Face", state, facts=facts, usual=usual)
    labels = settings.get("id2label", {})
    if not found.labels or not labels:
        return found
    return dataclasses.replace(found, labels=tuple(labels[str(i)] for i in range(len(labels))))


def to_official(arrays: Arrays) -> Arrays:
    """Their arrays under the names of the official program."""
    bare = any(name.startswith("embeddings.") for name in arrays)
    prefix = "videomae." if bare else ""
    named = {_renamed(prefix + k, _STARTS, _INSIDE): x for k, x in arrays.items()}
    result: Arrays = {}
    for name, x in named.items():
        stem, _, last = name.rpartition("attn.")
        if last == "query.weight":
            parts = [named[f"{stem}attn.{part}.weight"] for part in ("query", "key", "value")]
            result[f"{stem}attn.qkv.weight"] = np.concatenate(parts)
        elif last not in ("key.weight", "value.weight"):
            # `query.bias`, as in raw state dicts, is `q_bias` in files.
            result[re.sub(r"attn\.(q|v)(?:uery|alue)\.bias$", r"attn.\1_bias", name)] = x
    if "decoder.head.weight" not in result:
        return result
    outside = ("decoder.", "encoder_to_decoder.", "mask_token")
    return {k if k.startswith(outside) else f"encoder.{k}": x for k, x in result.items()}


def from_official(state: Arrays) -> Arrays:
    """The official program's arrays under their names."""
    starts, inside = ([(b, a) for a, b in pairs] for pairs in (_STARTS, _INSIDE))
    result: Arrays = {}
    for name, x in state.items():
        theirs = _renamed(name.removeprefix("encoder."), starts, inside)
        if theirs.endswith("attention.attention.qkv.weight"):
            stem = theirs.removesuffix("qkv.weight")
            for part, kernel in zip(("query", "key", "value"), np.split(x, 3), strict=True):
                result[f"{stem}{part}.weight"] = np.ascontiguousarray(kernel)
        else:
            result[theirs] = x
    return result


def settings(e: schema.Experiment, labels: tuple[str, ...]) -> dict[str, Any]:
    """The config.json of a video model of ours.

    Raises:
        ConfigError: its patches are not square, or it pools as theirs does not.
    """
    m, video = e.model, e.modalities["video"]
    assert isinstance(video, modality.Video)
    frames, height, width = video.patch
    if height != width:
        raise schema.ConfigError(f"modalities.video.patch is {video.patch}; theirs are square")
    labelled = tasks.find(e.task).labelled
    if labelled and (m.pool == "mean") == m.final_norm:
        raise schema.ConfigError(
            f"model.pool is {m.pool!r} and model.final_norm {m.final_norm}; theirs have a final "
            "norm if and only if they take the first token"
        )
    made: dict[str, Any] = {
        "architectures": [next(k for k, task in _KINDS.items() if task == e.task)],
        "model_type": "videomae",
        "hidden_act": "gelu" if m.gelu == "erf" else "gelu_pytorch_tanh",
        "hidden_size": m.width,
        "image_size": video.size,
        "intermediate_size": m.mlp,
        "layer_norm_eps": m.norm_eps,
        "norm_pix_loss": m.normalise_targets == "patch_channel",
        "num_attention_heads": m.heads,
        "num_channels": 3,
        "num_frames": video.frames,
        "num_hidden_layers": m.depth,
        "patch_size": height,
        "qv_bias": m.qkv_bias != "none",
        "tubelet_size": frames,
        "use_mean_pooling": not m.final_norm,
    }
    if not labelled:
        return made | {
            "decoder_hidden_size": m.decoder_width,
            "decoder_intermediate_size": m.decoder_mlp,
            "decoder_num_attention_heads": m.decoder_heads,
            "decoder_num_hidden_layers": m.decoder_depth,
        }
    return made | {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _renamed(
    name: str, starts: Sequence[tuple[str, str]], inside: Sequence[tuple[str, str]]
) -> str:
    for old, new in starts:
        if name.startswith(old):
            name = new + name.removeprefix(old)
            break
    if re.search(r"\.\d+\.", name):
        for old, new in inside:
            if old in name:
                return name.replace(old, new, 1)
    return name


def _weights(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of the weights: one, or those of an index."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return sorted({folder / file for file in _json(index)["weight_map"].values()})
    return []


def _read(file: pathlib.Path) -> Arrays:
    if file.suffix != ".safetensors":
        return {name: tensor.numpy() for name, tensor in videomae.read(file)[0].items()}
    import safetensors.numpy

    try:
        return safetensors.numpy.load_file(file)
    except Exception as error:  # its own error is not exported by name
        raise ForeignFileError(
            f"{file} is not a whole safetensors file ({error}); copy or download it again"
        ) from error


def _json(file: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise ForeignFileError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ForeignFileError(f"{file} holds a {type(found).__name__}, expected an object")
    return found
