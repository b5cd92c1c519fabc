"""Miniatures of official lists in a folder, and the clips that a data set lists of them."""

import pathlib
from collections.abc import Mapping

from av_mae.prepare import datasets


def write(folder: pathlib.Path, files: Mapping[str, str]) -> pathlib.Path:
    """Writes {path in the folder: text}, line ends as they are."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, newline="")
    return folder


def listed(dataset: str, folder: pathlib.Path, **options) -> datasets.Listing:
    return datasets.clips(dataset, str(folder), datasets.Options(**options))
