"""How much arithmetic models need, counted from the config: matrix products alone.

Two operations a multiply-add. Training counts each product three times (forward, and backward for
both factors), except for the patch embedding, whose input needs no gradient, and for what a frozen
encoder saves. Recomputation (remat, attention by blocks) is not counted: this is what the model
needs, not what the machine does.
"""

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Passes:
    """One sequence of tokens of an example, and the layers that it passes through.

    Attributes:
        tokens: its patches.
        length: all that the layers compute, class tokens and what they attend to besides included.
    """

    layers: int
    tokens: int
    length: int
    width: int
    mlp: int


@dataclasses.dataclass(frozen=True)
class Flops:
    """Operations an example."""

    forward: float = 0.0
    train: float = 0.0

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.forward + other.forward, self.train + other.train)


def product(rows: int, width_in: int, width_out: int, *, gradients: int = 2) -> Flops:
    """Of `[rows width_in]` and a kernel; `gradients` is how many of the two need one."""
    forward = 2.0 * rows * width_in * width_out
    return Flops(forward, (1 + gradients) * forward)


def layers(passes: Iterable[Passes]) -> Flops:
    """Transformer layers: query, key, value and output products, attention, MLP."""
    total = Flops()
    for p in passes:
        dense = 2.0 * p.length * (4 * p.width * p.width + 2 * p.width * p.mlp)
        forward = p.layers * (dense + 4.0 * p.length * p.length * p.width)
        total += Flops(forward, 3 * forward)
    return total
