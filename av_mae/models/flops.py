"""How much arithmetic the models need, counted from the config: matrix products alone.

Two operations a multiply-add. Training counts each product three times (forward, and backward for
both factors), except for the patch embedding, whose input needs no gradient, and for what a frozen
encoder saves. Recomputation (remat, attention by blocks) is not counted: this is what the
model needs, not what the machine does.
"""

import dataclasses
from collections.abc import Mapping

from av_mae.config import modality as modality_lib
from av_mae.config import schema

Modalities = Mapping[str, modality_lib.Modality]


@dataclasses.dataclass(frozen=True)
class Flops:
    """Operations an example."""

    forward: float
    train: float

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.forward + other.forward, self.train + other.train)


def pretrain_flops(modalities: Modalities, model: schema.Model) -> Flops:
    """One example through the masked autoencoder: visible tokens in, hidden tokens predicted."""
    total = Flops(0.0, 0.0)
    extra = int(model.pool == "token")
    visible = {name: m.visible + extra for name, m in modalities.items()}
    tokens = {name: m.tokens + extra for name, m in modalities.items()}
    for name, modality in modalities.items():
        total += _embedding(modality, modality.visible, model)
        total += _product(visible[name], model.width, model.decoder_width)
        predicted = modality.tokens if model.loss_on_visible else _hidden(name, modalities, model)
        total += _product(predicted, model.decoder_width, modality.patch_dim)
    total += _encoders(visible, model)
    sizes = (model.decoder_width, model.decoder_mlp)
    lengths = [sum(tokens.values())] if model.decoder == "joint" else list(tokens.values())
    for length in lengths:
        total += _blocks(model.decoder_depth, length, *sizes)
    return total


def classify_flops(modalities: Modalities, model: schema.Model, classes: int) -> Flops:
    """One example through the classifier, all tokens visible."""
    total = Flops(0.0, 0.0)
    extra = int(model.pool == "token")
    for modality in modalities.values():
        total += _embedding(modality, modality.tokens, model)
    total += _encoders({name: m.tokens + extra for name, m in modalities.items()}, model)
    if model.linear_probe:
        total = Flops(total.forward, total.forward)
    for _ in modalities:
        total += _head(model, classes)
    return total


def _encoders(tokens: Mapping[str, int], model: schema.Model) -> Flops:
    sizes = (model.width, model.mlp)
    together = sum(tokens.values())
    if model.fusion == "early":
        return _blocks(model.depth, together, *sizes)
    fused = model.fusion_layers if model.fusion in ("mid", "bottleneck") else 0
    total = Flops(0.0, 0.0)
    for count in tokens.values():
        total += _blocks(model.depth - fused, count, *sizes)
    if model.fusion == "mid":
        return total + _blocks(fused, together, *sizes)
    for count in tokens.values() if fused else ():
        length = count + model.bottlenecks if model.bottlenecks else together
        length = count if len(tokens) == 1 else length
        total += _blocks(fused, length, *sizes)
    return total


def _blocks(layers: int, tokens: int, width: int, mlp: int) -> Flops:
    """Transformer layers: query, key, value and output products, attention, MLP."""
    dense = 2.0 * tokens * (4 * width * width + 2 * width * mlp)
    attention = 4.0 * tokens * tokens * width
    forward = layers * (dense + attention)
    return Flops(forward, 3 * forward)


def _product(rows: int, width_in: int, width_out: int) -> Flops:
    forward = 2.0 * rows * width_in * width_out
    return Flops(forward, 3 * forward)


def _embedding(modality: modality_lib.Modality, tokens: int, model: schema.Model) -> Flops:
    forward = 2.0 * tokens * modality.patch_dim * model.width
    return Flops(forward, 2 * forward)


def _head(model: schema.Model, classes: int) -> Flops:
    width = model.head_width or model.width
    head = _product(1, width, classes)
    return head + _product(1, model.width, width) if model.head_width else head


def _hidden(name: str, modalities: Modalities, model: schema.Model) -> int:
    """Tokens predicted for a modality; with inpainting those beyond the other's visible ones."""
    if not model.inpainting:
        return modalities[name].hidden
    other = next(m for key, m in modalities.items() if key != name)
    return modalities[name].tokens - other.visible
