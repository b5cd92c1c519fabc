"""VideoMAE as mmaction2 stores it: `{meta, state_dict}` with a `backbone.` and a head.

A detector's backbone is read as an encoder alone, its box head left behind with a warning.
"""

import pathlib
from typing import Any

from absl import logging

from av_mae.convert import describe, table, videomae

# (theirs, the official program's); other names are the same.
_NAMES = (
    ("patch_embed.projection.", "patch_embed.proj."),
    (".mlp.layers.0.0.", ".mlp.fc1."),
    (".mlp.layers.1.", ".mlp.fc2."),
    ("cls_head.fc_cls.", "head."),
)


def describe_file(source: pathlib.Path) -> describe.Description | None:
    """A checkpoint of mmaction2's recogniser or detector."""
    path = videomae.find(source)
    tensors, rest, dropped = videomae.read(path) if path else ({}, {}, ())
    if "patch_embed.projection.weight" not in tensors:
        return None
    if dropped and "cls_head.fc_cls.weight" not in tensors:
        names = ", ".join(dropped)
        logging.warning("%s: %s are left behind; this is the encoder alone", path, names)
    state: table.Arrays = {}
    for name, tensor in tensors.items():
        for theirs, official in _NAMES:
            name = name.replace(theirs, official)
        state[name] = tensor.numpy()
    meta: Any = rest.get("meta")
    epoch = meta.get("epoch") if isinstance(meta, dict) else None
    step = epoch if isinstance(epoch, int) else 0
    return videomae.of_state("mmaction2", state, step=step, dropped=dropped)
