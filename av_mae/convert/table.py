"""Which of our parameters is which of another program's: tables that are read both ways.

A rule names one of our parameters, the arrays of the other program that it consists of, and their
layout. Blocks are stacked here (leading axis = layer) and numbered there: `stack` turns the rules
of one block into those of a stack.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from av_mae.config import schema

Arrays = dict[str, np.ndarray]
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Two functions that undo each other.

    Attributes:
        ours: their arrays and our shape -> our array.
        theirs: our array -> their arrays; None where files of theirs are only read.
    """

    ours: Callable[[Sequence[np.ndarray], Shape], np.ndarray]
    theirs: Callable[[np.ndarray], Sequence[np.ndarray]] | None = None


SAME = Layout(lambda arrays, shape: arrays[0].reshape(shape), lambda x: [x])


@dataclasses.dataclass(frozen=True)
class Rule:
    """`ours` (a path such as `embed/video/kernel`) consists of `theirs`."""

    ours: str
    theirs: tuple[str, ...]
    layout: Layout = SAME


def rule(ours: str, *theirs: str, layout: Layout = SAME) -> Rule:
    """A `Rule` whose arrays of theirs are listed one by one."""
    return Rule(ours, theirs, layout)


def layer(ours: str, theirs: str, names: Mapping[str, str], kernel: Layout = SAME) -> list[Rule]:
    """Rules of a layer's parameters, such as `kernel` and `bias`.

    Args:
        names: what stands after `theirs` for each of our parameters.
        kernel: the layout of the kernel; others are the same in both.
    """
    return [
        Rule(f"{ours}/{own}", (f"{theirs}{end}",), kernel if own == "kernel" else SAME)
        for own, end in names.items()
    ]


def leading(axes: int) -> Layout:
    """Theirs has `axes` axes of extent 1 in front, as `[1, 1, d]` for our `[d]`."""
    return Layout(SAME.ours, lambda x: [x.reshape(*(1,) * axes, *x.shape)])


def linear(inputs: int = 1) -> Layout:
    """PyTorch's `[out, in]` for our kernel, whose first `inputs` axes are the input's."""
    return Layout(
        lambda arrays, shape: arrays[0].T.reshape(shape),
        lambda x: [x.reshape(int(np.prod(x.shape[:inputs])), -1).T],
    )


def convolution(patch: Sequence[int], channels: int) -> Layout:
    """PyTorch's `[d, channels, *patch]` for our kernel `[patch and channels, d]`."""
    return Layout(
        lambda arrays, shape: np.moveaxis(arrays[0], (1, 0), (-2, -1)).reshape(shape),
        lambda x: [np.moveaxis(x.reshape(*patch, channels, -1), (-2, -1), (1, 0))],
    )


def joined(axis: int) -> Layout:
    """Several of their arrays along one of our axes, as query, key and value."""
    return Layout(
        lambda arrays, shape: np.stack(
            [x.reshape(shape[:axis] + shape[axis + 1 :]) for x in arrays], axis
        ),
        lambda x: [part.ravel() for part in np.moveaxis(x, axis, 0)],
    )


def stack(ours: str, blocks: Sequence[str], rules: Iterable[Rule]) -> list[Rule]:
    """Rules of one block for a stack: `ours` is our encoder, `blocks` are their prefixes."""

    def stacked(layout: Layout, size: int) -> Layout:
        """`layout` for each layer of the stack, whose layers have `size` arrays each."""

        def join(arrays: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
            layers = [arrays[i : i + size] for i in range(0, len(arrays), size)]
            return np.stack([layout.ours(layer, shape[1:]) for layer in layers])

        theirs = layout.theirs
        if theirs is None:
            return Layout(join)
        return Layout(join, lambda x: [array for layer in x for array in theirs(layer)])

    return [
        Rule(
            f"{ours}/blocks/{rule.ours}",
            tuple(block + name for block in blocks for name in rule.theirs),
            stacked(rule.layout, len(rule.theirs)),
        )
        for rule in rules
    ]


def read(
    rules: Iterable[Rule],
    theirs: Arrays,
    shapes: Mapping[str, Shape],
    source: str,
    *,
    spare: Collection[str] = (),
) -> tuple[Arrays, list[str]]:
    """(our parameters from theirs, names of the arrays of theirs that were not used).

    Args:
        shapes: of all our parameters; each must have a rule.
        source: the file, for messages.
        spare: arrays of theirs that need not be used.

    Raises:
        ConfigError: a parameter is missing, has another size, or has no place in our model.
    """
    by_name = {rule.ours: rule for rule in rules}
    if set(by_name) != set(shapes):
        odd = sorted(set(by_name) ^ set(shapes))
        raise schema.ConfigError(f"{source}: this kind of model has, or lacks, {', '.join(odd)}")
    result, used = {}, set()
    for name, shape in shapes.items():
        rule = by_name[name]
        missing = [x for x in rule.theirs if x not in theirs]
        if missing:
            raise schema.ConfigError(
                f"{source} lacks {missing[0]} (our {name}); is the file whole?"
            )
        used.update(rule.theirs)
        arrays = [theirs[x] for x in rule.theirs]
        try:
            arrays = [np.asarray(x, np.float32) for x in arrays]
            result[name] = np.ascontiguousarray(rule.layout.ours(arrays, shape))
        except (TypeError, ValueError) as error:
            sizes = (f"{n} {list(x.shape)}" for n, x in zip(rule.theirs, arrays, strict=True))
            raise schema.ConfigError(
                f"{source}: {', '.join(sizes)[:200]} do not make up our {name} {list(shape)}"
            ) from error
    unused = sorted(set(theirs) - used)
    left = [name for name in unused if name not in spare]
    if left:
        raise schema.ConfigError(
            f"{source} holds {len(left)} arrays that have no place in the model that its other "
            f"arrays describe: {', '.join(left[:5])}"
        )
    return result, unused


def write(rules: Iterable[Rule], ours: Mapping[str, np.ndarray]) -> Arrays:
    """Their arrays from our parameters."""
    result = {}
    for rule in rules:
        assert rule.layout.theirs is not None, rule.ours
        arrays = rule.layout.theirs(np.asarray(ours[rule.ours], np.float32))
        result |= dict(zip(rule.theirs, map(np.ascontiguousarray, arrays), strict=True))
    return result
