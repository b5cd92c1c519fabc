"""The page's gallery: original, masked and predicted, to look at and to listen to."""

import pathlib
from collections.abc import Sequence

from av_mae.report import gallery, markup, media

# Characters of inlined pictures and sound; clips beyond it are named instead of shown.
BUDGET = 14_000_000
EARLIER = 3  # earlier galleries the first clip is shown from


def section(galleries: Sequence[gallery.Gallery]) -> str:
    """The last gallery of every name, then how the first clip came along; empty for none."""
    latest = {g.name: g for g in galleries}
    content = "".join(_gallery(g) for g in latest.values() if g.examples)
    earlier = "".join(_development(name, galleries) for name in latest)
    return content + earlier


def _gallery(shown: gallery.Gallery) -> str:
    cards: list[str] = []
    for example in shown.examples:
        card = _example(example)
        if cards and sum(map(len, cards)) + len(card) > BUDGET:
            break
        cards.append(card)
    left = len(shown.examples) - len(cards)
    more = f"; {left} more in {gallery.FOLDER}/{shown.step:08d}" if left else ""
    title = f"{shown.name}, step {shown.step:,}{more}"
    return (
        f'<p class="lead" style="margin-bottom:10px">{markup.escape(title)}</p>'
        f'<div class="gallery">{"".join(cards)}</div>'
    )


def _example(shown: gallery.Shown) -> str:
    sounds = "".join(_sound(kind, shown) for kind in shown.spectrograms)
    parts = [
        f"<h3>{markup.escape(shown.title)}</h3>",
        _video(shown),
        f'<div class="sounds">{sounds}</div>' if sounds else "",
        _frames(shown),
    ]
    return f'<article class="card example">{"".join(parts)}</article>'


def _video(shown: gallery.Shown) -> str:
    if shown.video is None:
        return ""
    names = "".join(f"<span>{kind}</span>" for kind in shown.films)
    address = _inline(shown.video)
    if shown.video.suffix == ".mp4":
        moving = f'<video src="{address}" autoplay loop muted playsinline controls></video>'
    else:
        moving = f'<img src="{address}" alt="{", ".join(shown.films)}, moving">'
    return f'<div><div class="thirds">{names}</div><div class="strip">{moving}</div></div>'


def _frames(shown: gallery.Shown) -> str:
    if not shown.films:
        return ""
    rows = "".join(
        f'<span>{kind}</span><img src="{_inline(path)}" alt="{kind} frames">'
        for kind, path in shown.films.items()
    )
    return f'<details><summary>frame by frame</summary><div class="films">{rows}</div></details>'


def _sound(kind: str, shown: gallery.Shown) -> str:
    picture = f'<img src="{_inline(shown.spectrograms[kind])}" alt="{kind} spectrogram">'
    label = f'<p class="kind"><span>{kind}</span><span>{shown.sound_seconds:.3g} s</span></p>'
    if kind not in shown.sounds:
        return f'<div class="sound">{label}<div class="wave still">{picture}</div></div>'
    return (
        f'<div class="sound">{label}'
        f'<button type="button" aria-label="play the {kind} sound">▶</button>'
        f'<div class="wave">{picture}</div>'
        f'<audio preload="metadata" src="{_playable(shown.sounds[kind])}"></audio></div>'
    )


def _development(name: str, galleries: Sequence[gallery.Gallery]) -> str:
    """The prediction of the first clip in up to `EARLIER` earlier galleries and the last."""
    own = [g for g in galleries if g.name == name and g.examples]
    if len(own) < 2:
        return ""
    places = [round(i * (len(own) - 1) / EARLIER) for i in range(EARLIER + 1)]
    rows = "".join(_age(own[i]) for i in sorted(set(places)))
    return (
        '<div class="card example" style="margin-top:12px">'
        f"<h3>The prediction of {markup.escape(own[-1].examples[0].title)} over the training</h3>"
        f'<div class="ages">{rows}</div></div>'
    )


def _age(shown: gallery.Gallery) -> str:
    first = shown.examples[0]
    film, spectrogram = first.films.get("predicted"), first.spectrograms.get("predicted")
    pictures = f'<img src="{_inline(film)}" alt="predicted frames">' if film else ""
    if spectrogram:
        pictures += f'<img class="tall" src="{_inline(spectrogram)}" alt="predicted spectrogram">'
    return f"<span>step {shown.step:,}</span><div>{pictures}</div>"


def _playable(path: pathlib.Path) -> str:
    """The sound as mp3 where it can be encoded here: a fifth of the wav."""
    data = path.read_bytes()
    if not media.encoders():
        return markup.data_uri(data, path.name)
    return markup.data_uri(media.mp3(media.read_wav(data)), "sound.mp3")


def _inline(path: pathlib.Path) -> str:
    return markup.data_uri(path.read_bytes(), path.name)
