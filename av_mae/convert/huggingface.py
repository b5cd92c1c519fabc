"""VideoMAE in Hugging Face's form: a folder of config.json and model.safetensors, in and out.

Names, and which norms follow `layer_norm_eps` (`decoder.norm` and `fc_norm` do not), are those of
transformers 4.46 and 5.
"""

import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from av_mae import tasks
from av_mae.config import modality, schema
from av_mae.convert import describe, videomae, wrapped
from av_mae.convert.table import Arrays
from av_mae.experiment import checkpoint

_CONFIG = "config.json"
_MOST = 10_000  # frames, and pixels of a side
_OUTER_EPS = 1e-5  # of decoder.norm and fc_norm, whatever layer_norm_eps says

Pairs = Sequence[tuple[str, str]]

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
_GELU = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_FACTS = {
    "num_attention_heads": "model.heads",
    "decoder_num_attention_heads": "model.decoder_heads",
    "layer_norm_eps": "model.norm_eps",
    "num_frames": "modalities.video.frames",
    "image_size": "modalities.video.size",
}


def describe_file(source: pathlib.Path) -> describe.Description | None:
    """A folder written by `save_pretrained`, the folder of a file in it, or that of a `Trainer`."""
    folder = source if source.is_dir() else source.parent
    if source.is_file() and not source.name.endswith((".safetensors", ".bin", _CONFIG)):
        return None
    files = _weights(folder)
    if not files and source.is_dir():
        names = ((re.fullmatch(r"checkpoint-(\d+)", p.name), p) for p in source.iterdir())
        steps = sorted(((int(m[1]), p) for m, p in names if m), reverse=True)
        folder = next((p for _, p in steps if _weights(p)), folder)
        files = _weights(folder)
        if files:
            logging.warning("%s: %s is read, the newest with weights", source, folder.name)
    if not files:
        return None
    settings = _json(folder / _CONFIG)
    kind = settings.get("model_type")
    if kind != "videomae":
        raise schema.ConfigError(
            f"{folder / _CONFIG} describes a model of type {kind!r}, expected 'videomae'"
        )
    activation = str(settings.get("hidden_act", "gelu"))
    if activation not in _GELU:
        raise schema.ConfigError(
            f"{folder / _CONFIG}: hidden_act is {activation!r}, expected one of {', '.join(_GELU)}"
        )
    arrays: Arrays = {}
    for file in files:
        arrays |= _read(file)
    arrays, dropped = wrapped.unwrap(arrays, folder)
    state = to_official(arrays)
    facts = {ours: settings[theirs] for theirs, ours in _FACTS.items() if theirs in settings}
    size = facts.get("modalities.video.size")
    if isinstance(size, list | dict):  # height and width
        size, *others = size.values() if isinstance(size, dict) else size or [None]
        facts["modalities.video.size"] = size if all(x == size for x in others) else None
    for theirs, ours in (("image_size", "video.size"), ("num_frames", "video.frames")):
        number = facts.get(f"modalities.{ours}", 1)
        if not isinstance(number, int) or not 0 < number <= _MOST:
            raise schema.ConfigError(
                f"{folder / _CONFIG}: {theirs} is {str(settings[theirs])[:80]}, expected one "
                f"number from 1 to {_MOST:,}"
            )
    targets = "patch_channel" if settings.get("norm_pix_loss", True) else "raw"
    facts |= {
        "model.gelu": _GELU[activation],
        "model.outer_norm_eps": _OUTER_EPS,
        "model.normalise_targets": targets,
    }
    if "decoder.head.weight" not in state:
        facts.pop("model.decoder_heads", None)
    pixels = folder / "preprocessor_config.json"
    statistics = _json(pixels) if pixels.is_file() else {}
    names = (("image_mean", "mean"), ("image_std", "std"))
    usual = {f"modalities.video.{b}": tuple(statistics[a]) for a, b in names if a in statistics}
    more: dict[str, Any] = {"dropped": dropped}
    if "head.weight" in state and settings.get("id2label"):
        named = settings["id2label"]
        more["labels"] = _labels(named, len(state["head.weight"]), folder / _CONFIG)
    return videomae.of_state("Hugging Face", state, facts=facts, usual=usual, **more)


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


def write(saved: checkpoint.Saved, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the folder that `from_pretrained` of transformers takes.

    Raises:
        ConfigError: the model has what Hugging Face's VideoMAE has not, or the folder holds one.
    """
    import safetensors.numpy

    e = saved.experiment
    videomae.check(e, "Hugging Face's VideoMAE", {"layer_scale": (0.0,), "positions": ("sincos",)})
    arrays = from_official(videomae.official(saved))
    settings = _settings(e, saved.labels)
    eps = e.model.outer_norm_eps or e.model.norm_eps
    if eps != _OUTER_EPS:
        logging.warning(
            "Hugging Face's last norms add %g to the variance, this model adds %g: outputs differ "
            "in the fifth digit",
            _OUTER_EPS,
            eps,
        )
    file = videomae.new_file(folder, "model.safetensors")
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


def _settings(e: schema.Experiment, labels: tuple[str, ...]) -> dict[str, Any]:
    """The config.json of one of our video models.

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
        "architectures": [f"VideoMAEFor{'VideoClassification' if labelled else 'PreTraining'}"],
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


def _renamed(name: str, starts: Pairs, inside: Pairs) -> str:
    name = next((new + name.removeprefix(old) for old, new in starts if name.startswith(old)), name)
    if not re.search(r"\.\d+\.", name):
        return name
    return next((name.replace(old, new, 1) for old, new in inside if old in name), name)


def _labels(named: Any, classes: int, file: pathlib.Path) -> tuple[str, ...]:
    """The names of the classes in index order, "" where `id2label` has none."""
    pairs = named.items() if isinstance(named, dict) else enumerate(named)
    names = {int(number): str(name) for number, name in pairs if str(number).isdecimal()}
    numbers = sorted(names)
    if len(names) == classes and numbers[-1] - numbers[0] == classes - 1:  # whatever the first is
        names = dict(enumerate(names[number] for number in numbers))
    if not names or max(names) >= classes:
        raise schema.ConfigError(
            f"{file}: id2label names {str(numbers)[:80]}, but the classes are 0 to {classes - 1}; "
            "correct it, or remove it and give --labels"
        )
    if numbers != list(range(classes)):
        logging.warning(
            "%s: id2label names %s of classes 0 to %d; they are taken for %s",
            file, numbers, classes - 1, sorted(names),
        )  # fmt: skip
    return tuple(names.get(number, "") for number in range(classes))


def _weights(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of the weights: one, or those of an index; none without a config."""
    for name in ("model.safetensors", "pytorch_model.bin") if (folder / _CONFIG).is_file() else ():
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            places = _json(index).get("weight_map")
            files: list[Any] = list(places.values()) if isinstance(places, dict) else []
            for file in files or [places]:
                is_name = isinstance(file, str) and pathlib.PurePath(file).name == file
                if not is_name or not (folder / file).is_file():
                    raise schema.ConfigError(
                        f"{index}: weight_map has {str(file)[:80]!r}, expected names of files "
                        "that lie beside it; copy them there"
                    )
            return sorted({folder / file for file in files})
    return []


def _read(file: pathlib.Path) -> Arrays:
    if file.suffix != ".safetensors":
        return {name: tensor.numpy() for name, tensor in videomae.read(file)[0].items()}
    import safetensors.numpy

    with describe.reading(file, "safetensors file"):
        return safetensors.numpy.load_file(file)


def _json(file: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise schema.ConfigError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise schema.ConfigError(f"{file} holds a {type(found).__name__}, expected an object")
    return found
