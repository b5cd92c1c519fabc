"""Where the parameters of Scenic's models belong in ours."""

import functools
import re
from collections.abc import Sequence

import numpy as np

from av_mae import tasks
from av_mae.config import schema
from av_mae.convert import table
from av_mae.models import inherit, positions

NAMES = {"video": "rgb", "audio": "spectrogram"}
HEAD = "ProjectionHeadAndClassifier_0/"
ATTENTION = "MultiHeadDotProductAttention_0"
_norm = functools.partial(table.layer, names={"scale": "/scale", "bias": "/bias"})
_dense = functools.partial(table.layer, names={"kernel": "/kernel", "bias": "/bias"})
_EMBEDDINGS = {
    "video": ("embedding_rgb", "embedding"),
    "audio": ("embedding_spectrogram", "embedding_spec"),
}


def rules(e: schema.Experiment, p: table.Arrays) -> list[table.Rule]:
    """Where the parameters `p` belong in a model whose experiment was read off them."""
    found: dict[str, list[table.Rule]] = {}
    for name in e.modalities:
        route = inherit.route(e.model, name)
        for stack in route.stacks:
            blocks = [_place(e, p, name, i)[1] for i in range(stack.first, stack.last)]
            found[stack.path] = table.stack(stack.path, blocks, _BLOCK)
        for ours, layer in ((route.inner_norm, 0), (route.last_norm, e.model.depth - 1)):
            if ours:
                found[ours] = _norm(ours, f"{_place(e, p, name, layer)[0]}/encoder_norm")
    made = [rule for group in found.values() for rule in group]
    m = e.model
    for name in e.modalities:
        theirs, first = NAMES[name], name == next(iter(e.modalities))
        made += _dense(f"embed/{name}", embedding(p, name), kernel=_EMBEDDING)
        if m.modality_tokens:
            made.append(table.rule(f"modality_token/{name}", f"Encoder_modality_token_{theirs}"))
        if m.pool == "token" and m.fusion == "bottleneck":
            # MBT numbers positions from the class token on, which is outside our grid.
            cls = "cls" if first else f"cls{theirs}"
            made.append(table.rule(f"class_token/{name}", cls, layout=_CLASS_AT_0))
            made.append(table.rule(f"positions/{name}", layout=_FROM_1))
            continue
        if m.pool == "token":
            made.append(table.rule(f"class_token/{name}", "cls"))
        if m.positions == "learned":
            made.append(_positions(f"positions/{name}", p, "input", theirs))
    return made + (_head(e, p) if tasks.find(e.task).labelled else _decoding(e, p))


def stack_names(p: table.Arrays, kind: str = "Transformer") -> list[str]:
    """Stacks of blocks, Transformer_concat last."""
    return sorted(
        {k.split("/")[0] for k in p if re.match(rf"{kind}(_\w+)?/encoderblock_", k)},
        key=lambda stack: (stack.endswith("concat"), stack),
    )


def depth(p: table.Arrays, stack: str) -> int:
    """Blocks of a stack."""
    found = (re.match(rf"{stack}/encoderblock_(\d+)/", name) for name in p)
    return max((int(m[1]) + 1 for m in found if m), default=0)


def modalities(p: table.Arrays) -> list[str]:
    """Our names of the modalities that a model embeds."""
    return [name for name in NAMES if f"{embedding(p, name)}/kernel" in p]


def embedding(p: table.Arrays, name: str) -> str:
    """The embedding layer of a modality, which has one of two names."""
    usual, other = _EMBEDDINGS[name]
    return usual if f"{usual}/kernel" in p else other


def _place(e: schema.Experiment, p: table.Arrays, name: str, layer: int) -> tuple[str, str]:
    """(which stack of theirs holds a layer of a modality, prefix of the layer's arrays).

    In MBT the second modality's layers are marked unless it shares them with the first.
    """
    lower, fused = e.model.depth - e.model.fusion_layers, "Transformer_concat"
    if depth(p, fused) and layer >= lower:
        return fused, f"{fused}/encoderblock_{layer - lower}/"
    own = f"Transformer_{NAMES[name]}"
    stack = own if depth(p, own) else "Transformer"
    block = f"{stack}/encoderblock_{layer}"
    second = e.model.fusion == "bottleneck" and name != next(iter(e.modalities))
    marked = second and f"{block}_spec/LayerNorm_0/scale" in p
    return stack, f"{block}_spec/" if marked else f"{block}/"


def _decoding(e: schema.Experiment, p: table.Arrays) -> list[table.Rule]:
    m, made = e.model, []
    alone = "decoder_projection/kernel" in p
    for name in e.modalities if m.decoder == "separate" else (m.decoder,):
        theirs = f"Decoder_{NAMES[name]}" if m.decoder == "separate" else "Decoder"
        blocks = [f"{theirs}/encoderblock_{i}/" for i in range(m.decoder_depth)]
        made += table.stack(f"decoders/{name}", blocks, _BLOCK)
        if m.decoder_norm:
            made += _norm(f"decoders/{name}/norm", f"{theirs}/encoder_norm")
    for name in e.modalities:
        theirs = NAMES[name]
        suffix = "" if alone else f"_{theirs}"
        project = _dense(f"project/{name}", f"decoder_projection{suffix}")
        made += project if m.project_bias else project[:1]
        made += _dense(f"predict/{name}", f"output_projection{suffix}")
        made.append(table.rule(f"mask_token/{name}", f"mask_token{suffix}"))
        if m.modality_tokens:
            token = f"Decoder_modality_token_{theirs}"
            made.append(table.rule(f"decoder_modality_token/{name}", token))
        if m.decoder_positions == "learned":
            place = "decoder" if alone else "input"
            made.append(_positions(f"decoder_positions/{name}", p, place, theirs))
    return made


def _head(e: schema.Experiment, p: table.Arrays) -> list[table.Rule]:
    prefix = HEAD if f"{HEAD}output_projection/kernel" in p else ""
    made = _dense("head", f"{prefix}output_projection")
    if e.model.head_width:
        made += _dense("head/hidden", f"{prefix}pre_logits")
    if e.model.head_norm:
        made += _norm("head_norm", "encoder_norm")
    if e.model.fusion == "bottleneck" and len(e.modalities) > 1 and e.model.bottlenecks:
        made.append(table.rule("encoders/bottleneck", "bottleneck"))
    return made


def _positions(ours: str, p: table.Arrays, place: str, theirs: str) -> table.Rule:
    """A table over all tokens, or the sum of one over space and one over time."""
    names = (f"posembed_{place}_{theirs}", f"posembed_{place}")
    layer = next((n for n in names if any(k.startswith(f"{n}/") for k in p)), names[1])
    if f"{layer}/pos_embedding" in p:
        return table.rule(ours, f"{layer}/pos_embedding")
    parts = (f"{layer}/pos_embedding_space", f"{layer}/pos_embedding_time")
    return table.rule(ours, *parts, layout=_SUM)


def _qkv(kind: str, axis: int) -> table.Rule:
    theirs = (f"{ATTENTION}/{part}/{kind}" for part in ("query", "key", "value"))
    return table.rule(f"attention/qkv/{kind}", *theirs, layout=table.joined(axis))


def _flat(arrays: Sequence[np.ndarray], shape: table.Shape) -> np.ndarray:
    """A convolution's kernel as one product; three equal channels of a sound add up to one."""
    (kernel,) = arrays
    copies = kernel.size // int(np.prod(shape))
    return (kernel.sum(-2) if copies == 3 else kernel).reshape(shape)


_BLOCK = [
    *_norm("norm1", "LayerNorm_0"),
    _qkv("kernel", 1),
    _qkv("bias", 0),
    *_dense("attention/out", f"{ATTENTION}/out"),
    *_norm("norm2", "LayerNorm_1"),
    *_dense("mlp/up", "MlpBlock_0/Dense_0"),
    *_dense("mlp/down", "MlpBlock_0/Dense_1"),
]
_EMBEDDING = table.Layout(_flat, table.SAME.theirs)
_SUM = table.Layout(lambda arrays, shape: (arrays[0] + arrays[1]).reshape(shape))
_CLASS_AT_0 = table.Layout(
    lambda arrays, shape: arrays[0].reshape(shape) + positions.sincos(1, *shape)[0]
)
_FROM_1 = table.Layout(lambda _, shape: positions.sincos(shape[0] + 1, shape[1])[1:])
