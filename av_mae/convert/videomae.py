"""VideoMAE's own checkpoints (Tong et al. 2022), and the names that its other forms lead to.

Pretraining: `encoder.*`, `encoder_to_decoder`, `mask_token`, `decoder.*`; finetuning: `blocks.*`,
`fc_norm` or `norm`, `head`. Files of Hugging Face, mmaction2 and Keras are renamed to these first.
"""

import functools
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from av_mae import tasks
from av_mae.config import schema
from av_mae.convert import describe, table, torch_file, wrapped
from av_mae.experiment import checkpoint
from av_mae.models import inherit, positions

_FACTS = {
    "model.fusion": "early",
    "model.decoder": "shared",
    "model.gelu": "erf",
    "model.norm_eps": 1e-6,
    "model.outer_norm_eps": 0.0,
    "model.project_bias": False,
    "model.decoder_positions": "sincos",
    "model.modality_tokens": False,
    "model.inpainting": False,
    "model.loss_on_visible": False,
    "model.shared_head": True,
    "model.head_width": 0,
    "model.linear_probe": False,
    "model.decoder_norm": True,
}
_USUAL = {
    "modalities.video.frames": 16,
    "modalities.video.stride": 4,
    "modalities.video.size": 224,
    "modalities.video.mean": (0.485, 0.456, 0.406),  # of ImageNet
    "modalities.video.std": (0.229, 0.224, 0.225),
}
_OF_PRETRAINING = {
    "modalities.video.mask_ratio": 0.9,
    "modalities.video.masking": "tube",
    "model.normalise_targets": "patch_channel",
}
# Five cuts in time and three crops, probabilities averaged.
_OF_FINETUNING = {
    "evaluators.test.split": "test",
    "evaluators.test.every": "end",
    "evaluators.test.temporal_views": 5,
    "evaluators.test.spatial_views": 3,
    "evaluators.test.merge": "softmax",
}

# What its program has, by key of the model; whatever else would be lost.
_NEEDS: dict[str, tuple[Any, ...]] = {
    "qkv_bias": ("qv", "none"),
    "positions": ("sincos", "learned"),
    "modality_tokens": (False,),
    "linear_probe": (False,),
}
_NEEDS_OF_PRETRAINING = {
    "project_bias": (False,),
    "decoder": ("shared", "joint", "separate"),
    "decoder_norm": (True,),
    "decoder_positions": ("sincos",),
    "normalise_targets": ("patch_channel", "raw"),
    "positions": ("sincos",),
}
_NEEDS_OF_FINETUNING = {"head_width": (0,), "pool": ("mean", "first")}

_SHARED = 4  # times the bytes of a file its tensors may have, as some are stored once for several
_OPTIONS = {
    "num_frames": "modalities.video.frames",
    "sampling_rate": "modalities.video.stride",
    "input_size": "modalities.video.size",
    "mask_ratio": "modalities.video.mask_ratio",
}
_LINEAR = table.linear()
_norm = functools.partial(table.layer, names={"scale": ".weight", "bias": ".bias"})
_dense = functools.partial(
    table.layer, names={"kernel": ".weight", "bias": ".bias"}, kernel=_LINEAR
)


def find(source: pathlib.Path) -> pathlib.Path | None:
    """The file of a source: itself, or what DeepSpeed writes into a folder."""
    if source.is_dir():
        file = source / "mp_rank_00_model_states.pt"
        return file if file.is_file() else None
    return source if source.is_file() and torch_file.is_torch(source) else None


def read(
    path: pathlib.Path,
) -> tuple[dict[str, torch_file.Tensor], dict[str, Any], tuple[str, ...]]:
    """(tensors by name in the model, what else stands in the file, tensors left out).

    Raises:
        ConfigError: not a PyTorch file, or one without a model's tensors.
    """
    found = wrapped.search(torch_file.read(path), path)
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in found[0].values())
    if size > _SHARED * path.stat().st_size:
        raise schema.ConfigError(
            f"{path} is damaged: its tensors claim {size:,} bytes, many more than the file has"
        )
    return found


def describe_file(source: pathlib.Path) -> describe.Description | None:
    """A checkpoint of the official program."""
    path = find(source)
    if not path:
        return None
    tensors, rest, dropped = read(path)
    if any(".patch_embeddings." in f".{name}" for name in tensors):
        raise schema.ConfigError(
            f"{path} has the names of Hugging Face, whose settings stand in a config.json; name "
            "it pytorch_model.bin and put it into a folder with that file"
        )
    # The training options of the official program, saved beside the weights.
    options = getattr(rest.get("args"), "state", rest.get("args"))
    options = options if isinstance(options, dict) else {}
    numbers = {k: v for k, v in options.items() if isinstance(v, int | float)}
    usual: dict[str, Any] = {
        ours: numbers[theirs] for theirs, ours in _OPTIONS.items() if theirs in numbers
    }
    if "normlize_target" in options:
        usual["model.normalise_targets"] = "patch_channel" if options["normlize_target"] else "raw"
    epoch, state = rest.get("epoch"), {name: x.numpy() for name, x in tensors.items()}
    step = epoch if isinstance(epoch, int) else 0
    return of_state("VideoMAE", state, usual=usual, step=step, dropped=dropped)


def of_state(
    family: str,
    state: table.Arrays,
    *,
    facts: Mapping[str, Any] | None = None,
    usual: Mapping[str, Any] | None = None,
    dropped: tuple[str, ...] = (),
    **more: Any,
) -> describe.Description:
    """Describes arrays under the official names; an encoder alone is a classifier of no classes.

    Args:
        facts, usual, dropped, more: what else is known, as in `describe.Description`.
    """
    state, keys = _without_key_bias(state)
    pretrained = "decoder.head.weight" in state
    alone = "head.weight" not in state  # without a classifier
    encoder = "encoder." if pretrained else ""
    kernel = state[f"{encoder}patch_embed.proj.weight"]
    if kernel.ndim != 5 or kernel.shape[1] != 3:
        raise schema.ConfigError(
            f"a {family} patch embedding of shape {list(kernel.shape)}; expected "
            "[width, 3, frames, height, width] of RGB video"
        )
    shown: dict[str, Any] = _FACTS | {
        "task": "pretrain" if pretrained else "classify",
        "modalities.video.patch": tuple(kernel.shape[2:]),
        "model.final_norm": f"{encoder}norm.weight" in state,
        "model.head_norm": "fc_norm.weight" in state,
        "model.pool": "mean" if alone or "fc_norm.weight" in state else "first",
        **_sizes(state, f"{encoder}blocks."),
    }
    assumed: dict[str, Any] = _USUAL | {"model.heads": describe.heads(shown["model.width"])}
    if pretrained:
        decoder = _sizes(state, "decoder.blocks.")
        shown |= {f"model.decoder_{k}": decoder[f"model.{k}"] for k in ("width", "depth", "mlp")}
        assumed["model.decoder_heads"] = describe.heads(shown["model.decoder_width"])
        assumed |= _OF_PRETRAINING
    else:
        if alone:
            state["head.weight"] = np.zeros((0, len(state["patch_embed.proj.bias"])))
            state["head.bias"] = np.zeros(0)
        shown["model.head_scale"] = 0.001
        assumed |= _OF_FINETUNING
        more = {"labels": ("",) * len(state["head.weight"])} | more
    # A stored table of positions may be the formula's own. At another size it is not: mmaction2
    # interpolates it, as `learned` does.
    table_1nd = state.get("pos_embed")
    if table_1nd is None:
        shown["model.positions"] = "sincos"
    elif np.allclose(table_1nd[0], positions.sincos(*table_1nd.shape[1:]), atol=1e-5):
        assumed["model.positions"] = "sincos"
        more["spare"] = ("pos_embed",)
    else:
        shown["model.positions"] = "learned"
    shown |= facts or {}
    unseen = {k: v for k, v in {**assumed, **(usual or {})}.items() if k not in shown}
    return describe.Description(
        family, state, facts=shown, usual=unseen, rules=rules, dropped=dropped + keys, **more
    )


def official(saved: checkpoint.Saved) -> table.Arrays:
    """A video model's arrays under the official names.

    Raises:
        ConfigError: it has what VideoMAE has not; names the key.
    """
    labelled = tasks.find(saved.experiment.task).labelled
    needs = _NEEDS | (_NEEDS_OF_FINETUNING if labelled else _NEEDS_OF_PRETRAINING)
    check(saved.experiment, "VideoMAE", needs)
    flat: Any = traverse_util.flatten_dict(saved.params, sep="/")
    return table.write(rules(saved.experiment), flat)


def write(saved: checkpoint.Saved, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `checkpoint.pth` with the arrays under `model`; needs PyTorch.

    Raises:
        ConfigError: the model has what VideoMAE has not, or the file is there already.
    """
    import torch  # pyright: ignore[reportMissingImports]  (as large as all the rest)

    arrays = official(saved)
    check(saved.experiment, "VideoMAE", {"gelu": ("erf",), "norm_eps": (1e-6,)})
    file = new_file(folder, "checkpoint.pth")
    torch.save({"model": {k: torch.tensor(x) for k, x in arrays.items()}}, file)
    return file


def check(e: schema.Experiment, program: str, needs: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises ConfigError if a model has what another program of VideoMAE has not.

    Args:
        needs: the values that it has, by key of the model.
    """
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


def new_file(folder: str | os.PathLike[str], name: str) -> pathlib.Path:
    """A file to write, in a folder that is there then; raises ConfigError if it exists."""
    file = pathlib.Path(folder) / name
    if file.exists():
        raise schema.ConfigError(f"{file} exists; write to another folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _without_key_bias(state: table.Arrays) -> tuple[table.Arrays, tuple[str, ...]]:
    """Biases of queries and values alone: softmax does not see what all its scores share."""
    result: table.Arrays = {}
    for name, x in state.items():
        stem, _, last = name.rpartition("attn.")
        if last == "qkv.bias":
            result[f"{stem}attn.q_bias"], _, result[f"{stem}attn.v_bias"] = np.split(x, 3)
        elif last != "key.bias":
            result[name] = x
    return result, tuple(name for name in state if name.endswith(("attn.qkv.bias", "key.bias")))


def _sizes(state: table.Arrays, prefix: str) -> dict[str, Any]:
    """Widths and depth of a stack of blocks, and what its blocks have."""
    numbers = {int(m[1]) for k in state if (m := re.match(re.escape(prefix) + r"(\d+)\.", k))}
    if numbers != set(range(len(numbers))) or not numbers:
        raise schema.ConfigError(
            f"blocks {prefix}* are numbered {str(sorted(numbers))[:80]}, expected 0, 1, ..."
        )
    mlp, width = state[f"{prefix}0.mlp.fc1.weight"].shape
    return {
        "model.width": width,
        "model.depth": len(numbers),
        "model.mlp": mlp,
        "model.qkv_bias": "qv" if f"{prefix}0.attn.q_bias" in state else "none",
        "model.layer_scale": 0.1 if f"{prefix}0.gamma_1" in state else 0.0,
    }


def rules(e: schema.Experiment) -> list[table.Rule]:
    """Rules of one of our video models, whatever its fusion (one modality does not show it)."""
    m, pretrained = e.model, not tasks.find(e.task).labelled
    prefix = "encoder." if pretrained else ""
    absent = {"attention/qkv/bias"} if m.qkv_bias == "none" else set()
    if not m.layer_scale:
        absent |= {"gamma1", "gamma2"}
    block = [rule for rule in _BLOCK if rule.ours not in absent]

    video = e.modalities["video"]
    embedding = table.convolution(video.patch, video.channels)
    made = _dense("embed/video", f"{prefix}patch_embed.proj", kernel=embedding)
    route = inherit.route(m, "video")
    for stack in route.stacks:
        blocks = [f"{prefix}blocks.{i}." for i in range(stack.first, stack.last)]
        made += table.stack(stack.path, blocks, block)
    if route.last_norm:
        made += _norm(route.last_norm, f"{prefix}norm")

    if pretrained:
        decoder = [f"decoder.blocks.{i}." for i in range(m.decoder_depth)]
        return [
            *made,
            table.rule("project/video/kernel", "encoder_to_decoder.weight", layout=_LINEAR),
            table.rule("mask_token/video", "mask_token", layout=table.leading(2)),
            *table.stack("decoders/shared", decoder, block),
            *_norm("decoders/shared/norm", "decoder.norm"),
            *_dense("predict/video", "decoder.head"),
        ]
    made += _dense("head", "head")
    if m.head_norm:
        made += _norm("head_norm", "fc_norm")
    if m.positions == "learned":

        def resized(arrays: Sequence[np.ndarray], shape: table.Shape) -> np.ndarray:
            """A stored table of positions, interpolated where it is of another picture size."""
            stored_nd, (frames, *_) = arrays[0][0], video.grid
            side = round((len(stored_nd) / frames) ** 0.5)
            if len(stored_nd) == shape[0] or frames * side**2 != len(stored_nd):
                return stored_nd.reshape(shape)
            return positions.resize(stored_nd, (frames, side, side), video.grid)

        layout = table.Layout(resized, table.leading(1).theirs)
        made.append(table.rule("positions/video", "pos_embed", layout=layout))
    return made


_BLOCK = [
    *_norm("norm1", "norm1"),
    table.rule("attention/qkv/kernel", "attn.qkv.weight", layout=_LINEAR),
    table.rule("attention/qkv/bias", "attn.q_bias", "attn.v_bias", layout=table.joined(0)),
    *_dense("attention/out", "attn.proj", kernel=table.linear(inputs=2)),
    table.rule("gamma1", "gamma_1"),
    *_norm("norm2", "norm2"),
    *_dense("mlp/up", "mlp.fc1"),
    *_dense("mlp/down", "mlp.fc2"),
    table.rule("gamma2", "gamma_2"),
]
