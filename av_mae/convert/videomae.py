"""VideoMAE's own checkpoints (Tong et al. 2022), and the names that its other forms lead to.

Pretraining: `encoder.*`, `encoder_to_decoder`, `mask_token`, `decoder.*`; finetuning: `blocks.*`,
`fc_norm` or `norm`, `head`. Files of Hugging Face, mmaction2 and Keras are renamed to these first.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from av_mae.config import schema
from av_mae.convert import describe, table, torch_file
from av_mae.convert.foreign import Arrays, ForeignFileError
from av_mae.models import inherit, positions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
FACTS = {
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
USUAL = {
    "modalities.video.frames": 16,
    "modalities.video.stride": 4,
    "modalities.video.size": 224,
    "modalities.video.mean": MEAN,
    "modalities.video.std": STD,
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
# Where a file keeps its tensors, and what may stand before the name of each.
_WRAPPERS = ("model", "module", "state_dict")
_PREFIXES = ("module.", "backbone.", "encoder.")

BLOCK = (
    table.rule("norm1/scale", "norm1.weight"),
    table.rule("norm1/bias", "norm1.bias"),
    table.rule("attention/qkv/kernel", "attn.qkv.weight", layout=table.linear()),
    table.rule("attention/qkv/bias", "attn.q_bias", "attn.v_bias", layout=table.joined(0)),
    table.rule("attention/out/kernel", "attn.proj.weight", layout=table.linear(inputs=2)),
    table.rule("attention/out/bias", "attn.proj.bias"),
    table.rule("gamma1", "gamma_1"),
    table.rule("norm2/scale", "norm2.weight"),
    table.rule("norm2/bias", "norm2.bias"),
    table.rule("mlp/up/kernel", "mlp.fc1.weight", layout=table.linear()),
    table.rule("mlp/up/bias", "mlp.fc1.bias"),
    table.rule("mlp/down/kernel", "mlp.fc2.weight", layout=table.linear()),
    table.rule("mlp/down/bias", "mlp.fc2.bias"),
    table.rule("gamma2", "gamma_2"),
)


def rules(e: schema.Experiment) -> list[table.Rule]:
    """Of a video model of ours, whatever its fusion (which one modality does not show)."""
    return _pretraining(e) if e.task == "pretrain" else _finetuning(e)


def find(source: pathlib.Path) -> pathlib.Path | None:
    """The file of a source: itself, or what DeepSpeed writes into a folder."""
    if source.is_dir():
        file = source / "mp_rank_00_model_states.pt"
        return file if file.is_file() else None
    return source if source.is_file() and torch_file.is_torch(source) else None


def read(path: pathlib.Path) -> tuple[dict[str, torch_file.Tensor], dict[str, Any]]:
    """(tensors by name, what else stands in the file).

    Raises:
        ForeignFileError: not a PyTorch file, or one without tensors.
    """
    content = torch_file.read(path)
    if not isinstance(content, dict):
        raise ForeignFileError(
            f"{path} holds a {type(content).__name__}, expected a dict of tensors"
        )
    wrapper = next((k for k in _WRAPPERS if isinstance(content.get(k), dict)), None)
    state = content[wrapper] if wrapper else content
    tensors = {k: v for k, v in state.items() if isinstance(v, torch_file.Tensor)}
    if not tensors:
        raise ForeignFileError(
            f"{path} holds no tensors, neither itself nor under {', '.join(_WRAPPERS)}; "
            f"it has {', '.join(map(str, list(content)[:8]))}"
        )
    rest = {k: v for k, v in content.items() if k != wrapper} if wrapper else {}
    return tensors, rest


def describe_file(path: pathlib.Path) -> describe.Description:
    """A checkpoint of the official program."""
    tensors, rest = read(path)
    state = {name: x.numpy() for name, x in tensors.items()}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): x for name, x in state.items()}
    if "patch_embed.proj.weight" not in state and "encoder.patch_embed.proj.weight" not in state:
        raise ForeignFileError(
            f"{path} has no patch_embed.proj.weight, so it is no VideoMAE; it begins with "
            f"{', '.join(list(state)[:3])}"
        )
    epoch = rest.get("epoch")
    options = getattr(rest.get("args"), "state", None)
    return of_state(
        "VideoMAE",
        state,
        usual=_options(options if isinstance(options, dict) else {}),
        step=epoch if isinstance(epoch, int) else 0,
    )


def of_state(
    family: str,
    state: Arrays,
    *,
    facts: Mapping[str, Any] | None = None,
    usual: Mapping[str, Any] | None = None,
    labels: tuple[str, ...] = (),
    step: int = 0,
    dropped: tuple[str, ...] = (),
) -> describe.Description:
    """Describes arrays under the official names; `facts` and `usual` are what else is known."""
    pretrained = "decoder.head.weight" in state
    encoder = "encoder." if pretrained else ""
    kernel = state[f"{encoder}patch_embed.proj.weight"]
    if kernel.ndim != 5 or kernel.shape[1] != 3:
        raise ForeignFileError(
            f"a {family} patch embedding of shape {list(kernel.shape)}; expected "
            "[width, 3, frames, height, width] of RGB video"
        )
    shown: dict[str, Any] = FACTS | {
        "task": "pretrain" if pretrained else "classify",
        "modalities.video.patch": tuple(kernel.shape[2:]),
        **_sizes(state, f"{encoder}blocks."),
    }
    assumed: dict[str, Any] = USUAL | {"model.heads": describe.heads(shown["model.width"])}
    if pretrained:
        decoder = _sizes(state, "decoder.blocks.")
        shown |= {k.replace("model.", "model.decoder_"): decoder[k] for k in _SIZES}
        shown["model.final_norm"] = "encoder.norm.weight" in state
        shown["model.pool"], shown["model.head_norm"] = "mean", False
        assumed["model.decoder_heads"] = describe.heads(shown["model.decoder_width"])
        assumed |= _OF_PRETRAINING
    else:
        state, more = _classifier(state)
        shown |= more
        assumed |= _OF_FINETUNING
    fixed, usually = _positions(state)
    shown, assumed = shown | fixed, assumed | usually
    classes = 0 if pretrained else state["head.weight"].shape[0]
    return describe.Description(
        family,
        state,
        facts=shown | dict(facts or {}),
        usual={k: v for k, v in (assumed | dict(usual or {})).items() if k not in (facts or {})},
        rules=rules,
        labels=labels or ("",) * classes,
        step=step,
        spare=("pos_embed",) if "model.positions" in usually else (),
        dropped=dropped,
    )


def _classifier(state: Arrays) -> tuple[Arrays, dict[str, Any]]:
    """A finetuned model's arrays and keys; an encoder alone is one of no classes."""
    pooled = "fc_norm.weight" in state
    facts = {
        "model.pool": "mean" if pooled or "head.weight" not in state else "first",
        "model.head_norm": pooled,
        "model.final_norm": "norm.weight" in state,
        "model.head_scale": 0.001,
    }
    if "head.weight" not in state:
        width = len(state["patch_embed.proj.bias"])
        state = state | {"head.weight": np.zeros((0, width)), "head.bias": np.zeros(0)}
    return state, facts


def _positions(state: Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    """(facts, usual values) of the positions: a stored table may be the one of the formula.

    At another size that table is not the formula's: mmaction2 interpolates it, as `learned` does.
    """
    stored_1nd = state.get("pos_embed")
    if stored_1nd is None:
        return {"model.positions": "sincos"}, {}
    formula = positions.sincos(*stored_1nd.shape[1:])
    if np.allclose(stored_1nd[0], formula, atol=1e-5):
        return {}, {"model.positions": "sincos"}
    return {"model.positions": "learned"}, {}


_SIZES = ("model.width", "model.depth", "model.mlp")


def _sizes(state: Arrays, prefix: str) -> dict[str, Any]:
    """Widths and depth of a stack of blocks, and what its blocks have."""
    numbers = {int(m[1]) for k in state if (m := re.match(re.escape(prefix) + r"(\d+)\.", k))}
    first = f"{prefix}0."
    if numbers != set(range(len(numbers))) or not numbers:
        raise ForeignFileError(
            f"blocks {prefix}* are numbered {sorted(numbers)}, expected 0, 1, ..."
        )
    mlp, width = state[f"{first}mlp.fc1.weight"].shape
    gamma = state.get(f"{first}gamma_1")
    return {
        "model.width": width,
        "model.depth": len(numbers),
        "model.mlp": mlp,
        "model.qkv_bias": "qv" if f"{first}attn.q_bias" in state else "none",
        "model.layer_scale": 0.0 if gamma is None else 0.1,
    }


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the training options of the official program, saved beside the weights, tell."""
    names = {
        "num_frames": "modalities.video.frames",
        "sampling_rate": "modalities.video.stride",
        "input_size": "modalities.video.size",
        "mask_ratio": "modalities.video.mask_ratio",
    }
    known = {ours: options[theirs] for theirs, ours in names.items() if theirs in options}
    if "normlize_target" in options:
        known["model.normalise_targets"] = "patch_channel" if options["normlize_target"] else "raw"
    return known


def _pretraining(e: schema.Experiment) -> list[table.Rule]:
    m = e.model
    decoder = [f"decoder.blocks.{i}." for i in range(m.decoder_depth)]
    return [
        *_encoder(e, "encoder."),
        table.rule("project/video/kernel", "encoder_to_decoder.weight", layout=table.linear()),
        table.rule("mask_token/video", "mask_token", layout=table.leading(2)),
        *table.stack("decoders/shared", decoder, _block(m)),
        *_norm("decoders/shared/norm", "decoder.norm"),
        *_dense("predict/video", "decoder.head"),
    ]


def _finetuning(e: schema.Experiment) -> list[table.Rule]:
    made = [*_encoder(e, ""), *_dense("head", "head")]
    if e.model.head_norm:
        made += _norm("head_norm", "fc_norm")
    if e.model.positions == "learned":
        made.append(table.rule("positions/video", "pos_embed", layout=_resized(e)))
    return made


def _resized(e: schema.Experiment) -> table.Layout:
    """A stored table `[1, n, d]`, interpolated where it is of another picture size."""
    grid = e.modalities["video"].grid

    def ours(arrays: Sequence[np.ndarray], shape: table.Shape) -> np.ndarray:
        stored_nd = arrays[0][0]
        side = round((len(stored_nd) / grid[0]) ** 0.5)
        if len(stored_nd) == shape[0] or grid[0] * side**2 != len(stored_nd):
            return stored_nd.reshape(shape)
        return positions.resize(stored_nd, (grid[0], side, side), grid)

    return table.Layout(ours, table.leading(1).theirs)


def _encoder(e: schema.Experiment, prefix: str) -> list[table.Rule]:
    video = e.modalities["video"]
    embedding = table.convolution(video.patch, video.channels)
    made = [
        table.rule("embed/video/kernel", f"{prefix}patch_embed.proj.weight", layout=embedding),
        table.rule("embed/video/bias", f"{prefix}patch_embed.proj.bias"),
    ]
    for stack in inherit.stacks(e.model, "video"):
        blocks = [f"{prefix}blocks.{i}." for i in range(stack.first, stack.last)]
        made += table.stack(stack.prefix, blocks, _block(e.model))
    _, outer = inherit.norm_prefixes(e.model, "video")
    return made + (_norm(outer, f"{prefix}norm") if outer else [])


def _block(m: schema.Model) -> list[table.Rule]:
    absent = set()
    if m.qkv_bias == "none":
        absent.add("attention/qkv/bias")
    if not m.layer_scale:
        absent |= {"gamma1", "gamma2"}
    return [rule for rule in BLOCK if rule.ours not in absent]


def _norm(ours: str, theirs: str) -> list[table.Rule]:
    names = (("scale", "weight"), ("bias", "bias"))
    return [table.rule(f"{ours}/{a}", f"{theirs}.{b}") for a, b in names]


def _dense(ours: str, theirs: str) -> list[table.Rule]:
    return [
        table.rule(f"{ours}/kernel", f"{theirs}.weight", layout=table.linear()),
        table.rule(f"{ours}/bias", f"{theirs}.bias"),
    ]
