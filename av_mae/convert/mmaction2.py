"""VideoMAE as mmaction2 stores it: `{meta, state_dict}` with a `backbone.` and a head.

A detector's backbone is read as an encoder alone, its box head left behind with a warning.
"""

import pathlib
from typing import Any

from absl import logging

from av_mae.convert import describe, videomae
from av_mae.convert.foreign import Arrays

# (theirs, the official program's); the rest is called alike.
_NAMES = (
    ("backbone.", ""),
    ("patch_embed.projection.", "patch_embed.proj."),
    (".mlp.layers.0.0.", ".mlp.fc1."),
    (".mlp.layers.1.", ".mlp.fc2."),
    ("cls_head.fc_cls.", "head."),
)
_MARK = "backbone.patch_embed.projection.weight"
_DETECTOR = "roi_head."


def find(source: pathlib.Path) -> pathlib.Path | None:
    """The file, if its tensors have mmaction2's names."""
    file = videomae.find(source)
    return file if file and _MARK in videomae.read(file)[0] else None


def describe_file(path: pathlib.Path) -> describe.Description:
    """A checkpoint of mmaction2's recogniser or detector."""
    tensors, rest = videomae.read(path)
    heads = [name for name in tensors if name.startswith(_DETECTOR)]
    if heads:
        logging.warning("%s: %s are left behind; this is the encoder alone", path, ", ".join(heads))
    meta: Any = rest.get("meta")
    epoch = meta.get("epoch") if isinstance(meta, dict) else None
    return videomae.of_state(
        "mmaction2",
        to_official({k: v.numpy() for k, v in tensors.items() if k not in heads}),
        step=epoch if isinstance(epoch, int) else 0,
        dropped=tuple(heads),
    )


def to_official(arrays: Arrays) -> Arrays:
    """Their arrays under the names of the official program."""
    return {_official(name): x for name, x in arrays.items()}


def _official(name: str) -> str:
    for theirs, official in _NAMES:
        name = name.replace(theirs, official)
    return name
