"""AVA 2.2: lists of boxes, of excluded frames and of 80 actions, and 299 films.

Once a second every person has a box and actions; a clip is `seconds` around that moment.
`classes=60` keeps the actions that are scored.
"""

from typing import Literal

from av_mae.prepare.lists import ava, official
from av_mae.prepare.lists.listing import Listing, Options


def clips(
    source: str, options: Options, *, classes: Literal[80, 60] = 80, seconds: float = 3.0
) -> Listing:
    """Lists the key frames with boxes; labels are in the order of the action's numbers.

    The films may be whole or cut from their 15th to their 30th minute, as their lengths tell.

    Raises:
        ValueError: a list is missing or damaged, or none of its films exists.
    """
    folders = official.Folders(source, options.media)
    return ava.movies(folders, ava.actions(folders, classes), seconds)
