"""Where the parameters of Scenic's models lie in ours. Its arrays are only read."""

import re

import numpy as np

from av_mae.config import schema
from av_mae.convert import table
from av_mae.convert.foreign import Arrays
from av_mae.models import inherit, positions

NAMES = {"video": "rgb", "audio": "spectrogram"}
_ATTENTION = "MultiHeadDotProductAttention_0"
_HEAD = "ProjectionHeadAndClassifier_0"


def _qkv(kind: str) -> tuple[str, ...]:
    return tuple(f"{_ATTENTION}/{part}/{kind}" for part in ("query", "key", "value"))


_BLOCK = (
    table.rule("norm1/scale", "LayerNorm_0/scale"),
    table.rule("norm1/bias", "LayerNorm_0/bias"),
    table.rule("attention/qkv/kernel", *_qkv("kernel"), layout=table.joined(1)),
    table.rule("attention/qkv/bias", *_qkv("bias"), layout=table.joined(0)),
    table.rule("attention/out/kernel", f"{_ATTENTION}/out/kernel"),
    table.rule("attention/out/bias", f"{_ATTENTION}/out/bias"),
    table.rule("norm2/scale", "LayerNorm_1/scale"),
    table.rule("norm2/bias", "LayerNorm_1/bias"),
    table.rule("mlp/up/kernel", "MlpBlock_0/Dense_0/kernel"),
    table.rule("mlp/up/bias", "MlpBlock_0/Dense_0/bias"),
    table.rule("mlp/down/kernel", "MlpBlock_0/Dense_1/kernel"),
    table.rule("mlp/down/bias", "MlpBlock_0/Dense_1/bias"),
)


def rules(e: schema.Experiment, p: Arrays) -> list[table.Rule]:
    """Of an experiment that `scenic.of_params` has read off the parameters `p`."""
    made = _encoders(e, p)
    for name in e.modalities:
        made += _dense(f"embed/{name}", embedding(p, name), layout=_EMBEDDING)
        made += _of_modality(e, p, name)
    return made + (_decoding(e, p) if e.task == "pretrain" else _head(e, p))


def modalities(p: Arrays) -> list[str]:
    """Our names of the modalities that a model embeds."""
    return [name for name in NAMES if f"{embedding(p, name)}/kernel" in p]


def embedding(p: Arrays, name: str) -> str:
    """The embedding layer of a modality; video's may lack its suffix."""
    full = f"embedding_{NAMES[name]}"
    return "embedding" if name == "video" and f"{full}/kernel" not in p else full


def stack_names(p: Arrays, kind: str = "Transformer") -> list[str]:
    """Stacks of blocks, Transformer_concat last."""
    return sorted(
        {k.split("/")[0] for k in p if re.match(rf"{kind}(_\w+)?/encoderblock_", k)},
        key=lambda stack: (stack.endswith("concat"), stack),
    )


def depth(p: Arrays, stack: str) -> int:
    found = (re.match(rf"{stack}/encoderblock_(\d+)/", name) for name in p)
    return max((int(m[1]) + 1 for m in found if m), default=0)


def _encoders(e: schema.Experiment, p: Arrays) -> list[table.Rule]:
    made: dict[str, list[table.Rule]] = {}
    for name in e.modalities:
        for stack in inherit.stacks(e.model, name):
            blocks = [_block(e, p, name, i) for i in range(stack.first, stack.last)]
            made[stack.prefix] = table.stack(stack.prefix, blocks, _BLOCK)
        inner, outer = inherit.norm_prefixes(e.model, name)
        own = _stack(e, p, name, 0)
        last = _stack(e, p, name, e.model.depth - 1)
        for ours, theirs in ((inner, own), (outer, last)):
            if ours:
                made[ours] = _norm(ours, f"{theirs}/encoder_norm")
    return [rule for rules in made.values() for rule in rules]


def _stack(e: schema.Experiment, p: Arrays, name: str, layer: int) -> str:
    """Which stack of theirs holds a layer of a modality."""
    own = f"Transformer_{NAMES[name]}"
    if depth(p, "Transformer_concat") and layer >= e.model.depth - e.model.fusion_layers:
        return "Transformer_concat"
    return own if depth(p, own) else "Transformer"


def _block(e: schema.Experiment, p: Arrays, name: str, layer: int) -> str:
    """Prefix of a layer's arrays; in MBT the second modality's are marked unless it shares them."""
    stack = _stack(e, p, name, layer)
    number = layer
    if stack == "Transformer_concat":
        number -= e.model.depth - e.model.fusion_layers
    block = f"{stack}/encoderblock_{number}"
    second = e.model.fusion == "bottleneck" and name != next(iter(e.modalities))
    marked = second and f"{block}_spec/LayerNorm_0/scale" in p
    return f"{block}_spec/" if marked else f"{block}/"


def _of_modality(e: schema.Experiment, p: Arrays, name: str) -> list[table.Rule]:
    """Tokens and learned positions."""
    m, theirs = e.model, NAMES[name]
    made = []
    if m.modality_tokens:
        made.append(table.rule(f"modality_token/{name}", f"Encoder_modality_token_{theirs}"))
    if m.pool == "token" and m.fusion == "bottleneck":
        first = name == next(iter(e.modalities))
        cls = "cls" if first else f"cls{theirs}"
        made.append(table.rule(f"class_token/{name}", cls, layout=_CLASS_AT_0))
        made.append(table.rule(f"positions/{name}", layout=_FROM_1))
        return made
    if m.pool == "token":
        made.append(table.rule(f"class_token/{name}", "cls"))
    if m.positions == "learned":
        made.append(_positions(f"positions/{name}", p, "input", theirs))
    return made


def _decoding(e: schema.Experiment, p: Arrays) -> list[table.Rule]:
    m = e.model
    alone = "decoder_projection/kernel" in p
    names = e.modalities if m.decoder == "separate" else (m.decoder,)
    made = []
    for name in names:
        theirs = f"Decoder_{NAMES[name]}" if m.decoder == "separate" else "Decoder"
        blocks = [f"{theirs}/encoderblock_{i}/" for i in range(m.decoder_depth)]
        made += table.stack(f"decoders/{name}", blocks, _BLOCK)
        if m.decoder_norm:
            made += _norm(f"decoders/{name}/norm", f"{theirs}/encoder_norm")
    for name in e.modalities:
        theirs = NAMES[name]
        mark = "" if alone else f"_{theirs}"
        made += _dense(f"project/{name}", f"decoder_projection{mark}", bias=m.project_bias)
        made += _dense(f"predict/{name}", f"output_projection{mark}")
        made.append(table.rule(f"mask_token/{name}", f"mask_token{mark}"))
        if m.modality_tokens:
            token = f"Decoder_modality_token_{theirs}"
            made.append(table.rule(f"decoder_modality_token/{name}", token))
        if m.decoder_positions == "learned":
            place = "decoder" if alone else "input"
            made.append(_positions(f"decoder_positions/{name}", p, place, theirs))
    return made


def _head(e: schema.Experiment, p: Arrays) -> list[table.Rule]:
    prefix = f"{_HEAD}/" if f"{_HEAD}/output_projection/kernel" in p else ""
    made = _dense("head", f"{prefix}output_projection")
    if e.model.head_width:
        made += _dense("head/hidden", f"{prefix}pre_logits")
    if e.model.head_norm:
        made += _norm("head_norm", "encoder_norm")
    if e.model.fusion == "bottleneck" and len(e.modalities) > 1 and e.model.bottlenecks:
        made.append(table.rule("encoders/bottleneck", "bottleneck"))
    return made


def _positions(ours: str, p: Arrays, place: str, theirs: str) -> table.Rule:
    """A table over all tokens, or the sum of one over space and one over time."""
    names = (f"posembed_{place}_{theirs}", f"posembed_{place}")
    layer = next((n for n in names if any(k.startswith(f"{n}/") for k in p)), names[1])
    if f"{layer}/pos_embedding" in p:
        return table.rule(ours, f"{layer}/pos_embedding")
    parts = (f"{layer}/pos_embedding_space", f"{layer}/pos_embedding_time")
    return table.rule(ours, *parts, layout=_SUM)


def _dense(
    ours: str, theirs: str, *, bias: bool = True, layout: table.Layout = table.SAME
) -> list[table.Rule]:
    made = [table.rule(f"{ours}/kernel", f"{theirs}/kernel", layout=layout)]
    return made + ([table.rule(f"{ours}/bias", f"{theirs}/bias")] if bias else [])


def _norm(ours: str, theirs: str) -> list[table.Rule]:
    return [table.rule(f"{ours}/{leaf}", f"{theirs}/{leaf}") for leaf in ("scale", "bias")]


def _flat(kernel: np.ndarray, shape: table.Shape) -> np.ndarray:
    """A convolution's kernel as one product; three equal channels of a sound add up to one."""
    copies = kernel.size // int(np.prod(shape))
    return (kernel.sum(-2) if copies == 3 else kernel).reshape(shape)


_EMBEDDING = table.Layout(lambda arrays, shape: _flat(arrays[0], shape), table.SAME.theirs)
_SUM = table.Layout(lambda arrays, shape: (arrays[0] + arrays[1]).reshape(shape))
# MBT numbers positions from the class token on, which ours has outside the grid.
_CLASS_AT_0 = table.Layout(
    lambda arrays, shape: arrays[0].reshape(shape) + positions.sincos(1, *shape)[0]
)
_FROM_1 = table.Layout(lambda _, shape: positions.sincos(shape[0] + 1, shape[1])[1:])
