"""The embedded data set, rendered into OUT/media: nine classes of moving shapes with sounds."""

import pathlib

from av_mae.input import storage
from av_mae.prepare import sample
from av_mae.prepare.datasets import folder
from av_mae.prepare.lists.listing import Listing, Options

TAKES = ()


def clips(source: str, options: Options) -> Listing:
    """Renders the files that do not exist yet, and lists all.

    Raises:
        ValueError: a source is given, or `out` is remote.
        OSError: the folder cannot be written.
    """
    if source:
        raise ValueError(f"--dataset=sample is rendered; leave out --source={source}")
    if storage.is_address(options.out):
        raise ValueError(f"--dataset=sample is rendered into a local folder, not {options.out}")
    media = pathlib.Path(options.out) / "media"
    sample.render(media, options.workers)
    # The renderer's own stamp file lies beside the folders of the splits and is left out.
    return Listing(folder.clips(str(media), options).entries)
