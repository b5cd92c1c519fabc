"""Scenic's checkpoints: flax msgpack files, whose parameters stand in one of three places.

`optimizer/target` or `optimizer/target/params` with its older trainers, `params` with its newer
ones (Georgescu et al. 2023 used both). Arrays above 1 GiB are stored in chunks.
"""

import pathlib
import re
from collections.abc import Sequence
from typing import Any, cast

from flax import serialization, traverse_util

from av_mae.convert.foreign import Arrays, ForeignFileError

_PLACES = ("optimizer/target/params", "optimizer/target", "params")
_NAME = re.compile(r"checkpoint(?:_(\d+))?")


def find(source: pathlib.Path) -> pathlib.Path | None:
    """The checkpoint in a folder (`checkpoint`, or the `checkpoint_<step>` of the last step)."""
    if not source.is_dir():
        return source if source.is_file() else None
    named = [(m, p) for p in source.iterdir() if (m := _NAME.fullmatch(p.name)) and p.is_file()]
    return max(named, key=lambda found: int(found[0][1] or -1))[1] if named else None


def is_scenic(path: pathlib.Path) -> bool:
    """Whether a file begins as a msgpack map of one of Scenic's training states does."""
    with path.open("rb") as file:
        start = file.read(64)
    names = (b"optimizer", b"opt_state", b"params", b"global_step", b"model_state", b"rng")
    is_map = bool(start) and (0x80 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF))
    return is_map and any(name in start for name in names)


def read(path: pathlib.Path) -> Arrays:
    """Parameters by path, as in `Transformer/encoderblock_0/LayerNorm_0/scale`.

    Raises:
        ForeignFileError: truncated, no msgpack file, or one without parameters.
    """
    try:
        state = serialization.msgpack_restore(path.read_bytes())
    except Exception as error:  # msgpack's own, and numpy's for arrays of a wrong size
        raise ForeignFileError(
            f"{path} is not a whole flax checkpoint ({type(error).__name__}: {error}); "
            "copy or download it again"
        ) from error
    for place in _PLACES:
        tree = _at(state, place.split("/"))
        if isinstance(tree, dict) and tree:
            return cast(Arrays, traverse_util.flatten_dict(tree, sep="/"))
    raise ForeignFileError(
        f"{path} has no parameters at {' or '.join(_PLACES)}; it holds {_keys(state)}"
    )


def _at(tree: Any, path: Sequence[str]) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _keys(state: Any) -> str:
    return ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
