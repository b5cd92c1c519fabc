"""Kinetics-700: train.csv, val.csv (validate.csv) and pieces of YouTube videos; 700 human actions.

The lists of 2019 and of 2020 have the same form; `test=true` adds the test list. `whole=false` says
that files named by the id alone are the clips themselves and not the whole video.
"""

from av_mae.prepare import datasets
from av_mae.prepare.lists import kinetics

# Rows of the lists.
_PUBLISHED = {}


def clips(
    source: str, options: datasets.Options, *, test: bool = False, whole: bool = True
) -> datasets.Listing:
    """Lists the clips of DeepMind's lists; see `kinetics.listing`."""
    return kinetics.listing(700, source, options, test=test, whole=whole, published=_PUBLISHED)
