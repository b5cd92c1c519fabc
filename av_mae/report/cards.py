"""Stored clips as cards of a page, with their pictures and sound inside."""

import pathlib
from collections.abc import Sequence

from markupsafe import Markup

from av_mae.report import gallery, media, render


def within(budget: int, examples: Sequence[gallery.StoredExample]) -> list[Markup]:
    """The examples in their order, as many as fit into so many characters, at least one."""

    def playable(path: pathlib.Path) -> str:
        """A wav as address; as mp3, a fifth of its size, where that can be encoded."""
        data = path.read_bytes()
        if not media.encoders():
            return render.data_uri(data, path.name)
        return render.data_uri(media.mp3(media.read_wav(data)), "sound.mp3")

    cards: list[Markup] = []
    for example in examples:
        card = render.part("example.html", example=example, playable=playable)
        if cards and sum(map(len, cards)) + len(card) > budget:
            break
        cards.append(card)
    return cards
