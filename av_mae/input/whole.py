"""Whether records are finished and whole, by the sizes of their files; loads no JAX."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from av_mae.input import storage

INFO_FILE = "av_mae.json"


def problem(folder: pathlib.Path, shard: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """What is wrong with the files of a shard by their sizes; empty if it is whole.

    Args:
        shard: its `file`, `bytes` and `clips`, as the description lists them.
        sizes: {name: bytes} of the files in the folder.
    """
    file, index = shard["file"], f"{shard['file']}.index"
    for name in (file, index):
        if name not in sizes:
            return f"{folder / name} is missing though {INFO_FILE} lists it; prepare it again"
    if sizes[file] != shard["bytes"]:
        return (
            f"{folder / file} has {sizes[file]:,} bytes, {INFO_FILE} says {shard['bytes']:,}; "
            "it was copied in part or written anew: copy or prepare it again"
        )
    if sizes[index] != 8 * shard["clips"]:  # an int64 offset of each
        return (
            f"{folder / index} does not fit its shard of {shard['clips']} clips and "
            f"{sizes[file]:,} bytes; copy or prepare both again"
        )
    return ""


def clips(folder: pathlib.Path) -> int | None:
    """Number of clips in a folder of records; None unless they are described and all whole."""
    try:
        info = json.loads((folder / INFO_FILE).read_text())
        shards = [shard for split in info["splits"].values() for shard in split["shards"]]
        sizes = storage.sizes(folder)
        if any(problem(folder, shard, sizes) for shard in shards):
            return None
        return sum(shard["clips"] for shard in shards)
    except (OSError, ValueError, KeyError, TypeError):
        return None
