"""Pictures that come one by one with known times: extracted frames, and animated WebP.

FFmpeg reads neither; from here on they are a clip like any other, on the same clock.
"""

import bisect
import dataclasses
import fractions
import io
import itertools
import math
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from av_mae.prepare.media import clip, clock, container, decode, frames, picture
from av_mae.prepare.media.container import Limits, UnreadableError

# Browsers show a picture that is to be seen this short, in seconds, for `_SHOWN` instead.
_SHORTEST, _SHOWN = 0.010, 0.1
# Pictures and sound that end this far apart, in seconds and as a share, are told.
_APART, _APART_SHARE = 0.5, 0.1
_TOLERANCE = 1e-3  # seconds that a picture may be late


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Pictures and their times.

    Attributes:
        times: when each picture appears, seconds, rising; the last is that of the end.
        lengths: how long each is to be seen; where the next comes later, pictures are missing.
        rate: pictures a second, where no picture is repeated.
        load: the picture at an index, in RGB.
        names: of the pictures, for messages.
        sound: the file of their sound; None without.
        notes: what a user may want to know.
        damage: what is known to be missing before any picture is read.
    """

    times: tuple[float, ...]
    lengths: tuple[float, ...]
    rate: float
    load: Callable[[int], Image.Image]
    names: tuple[str, ...]
    sound: pathlib.Path | None = None
    notes: tuple[str, ...] = ()
    damage: str = ""


def of_folder(
    folder: str | os.PathLike[str], rate: float | None, limits: Limits = container.DEFAULT_LIMITS
) -> Sequence:
    """The extracted frames in a folder, `rate` a second; None assumes 25 and says so.

    Raises:
        UnreadableError: as of `frames.find`.
    """
    found, notes = frames.find(folder), ()
    if rate is None:
        rate, notes = frames.USUAL_RATE, (f"{frames.USUAL_RATE:g} frames a second assumed",)
    times = [place / rate for place in (*found.places, found.places[-1] + 1)]
    damage = ""
    if found.missing:
        gap = next(i for i, place in enumerate(found.places) if place != i)
        damage = f"{found.missing} pictures missing, the first after {found.names[gap - 1]!r}"
    return Sequence(
        tuple(times),
        (1 / rate,) * len(found.names),
        rate,
        lambda index: picture.load(found.folder / found.names[index], limits),
        tuple(map(repr, found.names)),
        found.sound,
        (*found.notes, *notes),
        damage,
    )


def of_webp(path: str | os.PathLike[str], limits: Limits = container.DEFAULT_LIMITS) -> Sequence:
    """The pictures of an animated WebP, each shown for as long as the file says.

    Of a file that was cut off, the pictures that are whole.

    Raises:
        UnreadableError: there is none, or the limits do not allow it.
    """
    container.check_file(path)
    data, lengths = pathlib.Path(path).read_bytes(), []
    place, end = 12, len(data)
    while place + 8 <= len(data):  # RIFF: name, size, content, and a byte to make it even
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + size > len(data):
            end = place
            break
        if data[place : place + 4] == b"ANMF":
            lengths.append(int.from_bytes(data[place + 20 : place + 23], "little") / 1000)
        place += 8 + size + size % 2
    if not lengths:
        raise UnreadableError("picture damaged: cut off before the end of the first picture")
    whole = data[:4] + (end - 8).to_bytes(4, "little") + data[8:end]
    shown = tuple(length if length > _SHORTEST else _SHOWN for length in lengths)
    with picture.reasons():
        image = Image.open(io.BytesIO(whole), formats=("WEBP",))
    container.check_pixels(*image.size, limits)

    def load(index: int) -> Image.Image:
        with picture.reasons():
            image.seek(index)
            return picture.upright(image)

    return Sequence(
        (0.0, *itertools.accumulate(shown)),
        shown,
        1 / min(shown),
        load,
        tuple(f"number {i + 1}" for i in range(len(shown))),
        damage="" if end == len(data) else f"cut off after {len(shown)} pictures",
    )


def is_animated_webp(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as animations do, whatever its name says."""
    container.check_file(path)
    with open(path, "rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def read(
    found: Sequence,
    convert: Callable[[np.ndarray], Any] = np.asarray,
    *,
    fps: float | None = None,
    short_side: int | None = None,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> clip.Clip:
    """Puts the pictures, and their sound, on one clock, as `decode.decode` does with a file.

    Of a part only its own pictures are read. One that cannot be read is left out, and the one
    before it stays; pictures of other sizes are scaled to that of the first.

    Raises:
        UnreadableError: there is no clip in it, or the limits do not allow it.
    """
    begin, stop = -math.inf if start is None else start, math.inf if end is None else end
    size, sizes = (0, 0), set()

    def scaled(image: Image.Image) -> Any:
        nonlocal size
        if not sizes:
            size = picture.scaled_size(*image.size, fractions.Fraction(1), short_side)
        sizes.add(image.size)
        return convert(picture.scaled(image, size))

    rate = fps or found.rate
    pictures = clock.Pictures(rate, scaled, begin=begin, end=stop, limits=limits)
    damage = [found.damage] if found.damage else []
    damage += _show(found, pictures, begin, stop, limits)
    if pictures.start is None:
        if start is not None and start >= found.times[-1]:
            where = f"the pictures end at {found.times[-1]:.2f} s"
            raise UnreadableError(f"no picture between start and end: {where}")
        raise UnreadableError(f"no picture could be decoded: {'; '.join(damage)}")
    expected = min(stop, found.times[-1]) - max(begin, 0.0)
    clip.check("; ".join(damage), pictures.good, expected)

    audio, wrong = _heard(found.sound, pictures.start, start, end, limits)
    ends = pictures.stop, pictures.start + (0 if audio is None else len(audio)) / clock.SAMPLE_RATE
    apart = abs(ends[0] - ends[1]) > max(_APART, _APART_SHARE * max(ends))
    if audio is not None and start is None and end is None and apart:
        wrong = f"pictures end at {ends[0]:.2f} s, sound at {ends[1]:.2f} s: "
        wrong += f"is {found.rate:g} frames a second right?"
    notes = [*found.notes]
    if len(sizes) > 1:
        notes.append(f"pictures of {len(sizes)} sizes: scaled to that of the first")
    return clip.Clip(
        frames=tuple(pictures.sampled),
        fps=rate,
        height=size[1],
        width=size[0],
        audio=audio,
        start=pictures.start,
        duration=max(ends) - pictures.start,
        notes=tuple(notes),
        damage="; ".join(filter(None, (*damage, wrong))),
    )


def _show(
    found: Sequence, pictures: clock.Pictures, begin: float, stop: float, limits: Limits
) -> list[str]:
    """Shows the pictures of a part; a sentence on those that cannot be read."""
    deadline = time.monotonic() + limits.patience
    first = max(bisect.bisect_right(found.times, begin) - 1, 0)
    last = min(bisect.bisect_left(found.times, stop), len(found.names))
    broken, seen = [], 0.0  # until when the picture on screen is to be seen
    length = 0.0
    for index in range(first, last):
        if time.monotonic() > deadline:
            raise container.too_slow(limits)
        try:
            image = found.load(index)
        except UnreadableError as error:
            broken.append(f"{found.names[index]}: {error}")
            continue
        if found.times[index] > seen + _TOLERANCE:
            pictures.interrupt(length)
        pictures.show(found.times[index], image)
        length = found.lengths[index]
        seen = found.times[index] + length
    pictures.finish(length)
    count = f"{len(broken)} of {last - first} pictures"
    return [f"{count} damaged, the first {broken[0]}"] if broken else []


def _heard(
    sound: pathlib.Path | None,
    begin: float,
    start: float | None,
    end: float | None,
    limits: Limits,
) -> tuple[np.ndarray | None, str]:
    """(int16 `[s]` from the time `begin` on, what is wrong with it)."""
    if sound is None:
        return None, ""
    try:
        found = decode.decode(
            sound, kind="sound", start=None if start is None else begin, end=end, limits=limits
        )
    except UnreadableError as error:
        return None, f"{sound.name}: {error}"
    assert found.audio is not None
    late = round((found.start - begin) * clock.SAMPLE_RATE)
    audio = np.concatenate([np.zeros(max(late, 0), np.int16), found.audio[max(-late, 0) :]])
    return audio, found.damage and f"{sound.name}: {found.damage}"
