"""Files of any length, read once from the beginning to the end while little of them is held."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from av_mae.config.modality import Audio, Modality, Video
from av_mae.inference import clip as clip_lib
from av_mae.inference.clip import Clip

# Seconds that are decoded at a time.
_PIECE = 1.0
# Absorbs the rounding of times that should be whole numbers of windows.
_ROUNDING = 1e-3
# What the frames of one part may take.
_MOST_BYTES = 4e9


class Stream:
    """Parts of a file whose beginnings rise, read in one pass.

    Attributes:
        origin: file time at which pictures or sound begin, seconds.
        until: file time up to which the file is read.
        ended: whether that is its end.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Reads the first of it; `options` are those of `prepare.media.read.pieces`.

        Raises:
            ValueError, ModuleNotFoundError: as of `clip.read`.
        """
        self._name, self._told = os.fspath(path), set()
        with clip_lib.reasons(self._name):
            limits = clip_lib.media().Limits(seconds=math.inf, frames=_MOST_BYTES)
            self._pieces = clip_lib.media().pieces(path, _PIECE, **options, limits=limits)
        self._frames: list[np.ndarray] = []
        self._fps = 0.0
        self._wave: np.ndarray | None = None  # int16 `[s]`; None without sound
        self._shown_from = self._heard_from = self._asked = 0.0
        self.ended, self.until, self.origin = False, -math.inf, 0.0
        self._read()

    def read(self, moment: float, keep: float = math.inf) -> bool:
        """Reads up to a file time; whether the file lasts so long.

        Args:
            keep: seconds before what is read last that a part will still be asked for.
        """
        while not self.ended and self.until < moment:
            self._forget(self.until - keep)
            self._read()
        return self.until >= moment - _ROUNDING

    def part(self, begin: float, end: float) -> Clip:
        """What is shown and heard between two file times.

        Pictures that end before the sound stay. What lies before the part that was asked for
        before this one is forgotten.
        """
        self.read(end)
        self._forget(self._asked)
        self._asked = begin
        start = max(begin, self.origin)
        if not self._frames:
            return Clip(None, 0.0, self._heard(start, end), self._name, start)
        # Halfway between two frames it is the earlier one, wherever the frames begin.
        first = max(0, math.ceil((start - self._shown_from) * self._fps - 0.5 - _ROUNDING))
        count = round((end - start) * self._fps)
        if first < len(self._frames):
            start = self._shown_from + first / self._fps
        first = min(first, len(self._frames) - 1)
        frames = np.stack(self._frames[first : first + max(count, 1)])
        return Clip(frames, self._fps, self._heard(start, end), self._name, start)

    def _read(self) -> None:
        """Takes the next piece."""
        with clip_lib.reasons(self._name):
            piece = next(self._pieces, None)
        if piece is None:
            self.ended = True
            return
        for note in {*piece.notes, *filter(None, (piece.damage,))} - self._told:
            logging.warning("%s: %s", self._name, note)
            self._told.add(note)
        if self.until == -math.inf:
            self.origin = self._shown_from = self._heard_from = self._asked = piece.start
            self._fps = piece.fps
        self._frames += piece.frames
        if piece.frames and len(self._frames) * piece.frames[0].nbytes > _MOST_BYTES:
            raise ValueError(
                f"{self._name}: the frames of one window need more than {_MOST_BYTES / 1e9:g} GB; "
                "give a shorter window (--window), or a part of the file (--start, --end)"
            )
        if piece.audio is not None or self._wave is not None:
            before = np.zeros(0, np.int16) if self._wave is None else self._wave
            place = round((piece.start - self._heard_from) * Audio.sample_rate)
            silence = np.zeros(max(0, place - len(before)), np.int16)
            here = silence[:0] if piece.audio is None else piece.audio
            self._wave = np.concatenate([before[:place], silence, here])
        self.until = piece.start + piece.duration

    def _heard(self, begin: float, end: float) -> np.ndarray | None:
        """float32 `[s]`, silence where the sound of the file has ended."""
        if self._wave is None:
            return None
        first = max(0, round((begin - self._heard_from) * Audio.sample_rate))
        count = round((end - begin) * Audio.sample_rate)
        return self._wave[first : first + count].astype(np.float32) / 32768.0

    def _forget(self, moment: float) -> None:
        """Drops what lies before a file time, but not the last picture."""
        if moment == -math.inf:
            return
        gone = math.floor((moment - self._shown_from) * self._fps)
        gone = min(gone, len(self._frames) - 1)
        if gone > 0:
            del self._frames[:gone]
            self._shown_from += gone / self._fps
        gone = math.floor((moment - self._heard_from) * Audio.sample_rate)
        if self._wave is not None and gone > 0:
            self._wave = self._wave[gone:]
            self._heard_from += gone / Audio.sample_rate


def windows(
    path: str | os.PathLike[str],
    length: float,
    hop: float,
    *,
    margin: float = 0.0,
    start: float | None = None,
    **options: Any,
) -> Iterator[tuple[Clip, float]]:
    """(clip, file time at which the window begins) for windows that cover a file, in order.

    The last one ends with the file. `margin` more seconds are in the clip on either side, where
    the file has them. `options` are those of `prepare.media.read.pieces`.

    Raises:
        ValueError: as of `clip.read`; behind some windows, too.
    """
    stream = Stream(path, start=start, **options)
    number, reached = 0, -math.inf
    while True:
        begin = stream.origin + number * hop
        whole = stream.read(begin + length, length + 2 * margin)
        if not whole:
            if stream.until <= reached + _ROUNDING:
                return
            begin = max(stream.until - length, stream.origin)
        yield stream.part(begin - margin, begin + length + margin), begin
        if not whole:
            return
        number, reached = number + 1, begin + length


def spread(
    path: str | os.PathLike[str],
    begins: Sequence[float],
    length: float,
    **options: Any,
) -> Iterator[tuple[Clip, float]]:
    """The same for windows of which it is known where they begin: those that a file can be sought
    in are read alone, others in one pass.

    Raises:
        ValueError: none of them can be read.
    """
    with clip_lib.reasons(os.fspath(path)):
        can_seek = clip_lib.media().can_seek(path)
    if not can_seek:
        stream = Stream(path, **options)
        for begin in begins:
            stream.read(begin + length, keep=length)  # what lies between is not held
            yield stream.part(begin, begin + length), begin
        return
    read = 0
    for begin in begins:
        options |= {"start": begin or None, "end": begin + length}
        try:
            clip = clip_lib.read(path, **options)
        except ValueError as error:  # a header may say that a file is longer than it is
            if not read and begin == begins[-1]:
                raise
            logging.warning("%s: left out", error)
            continue
        read += 1
        yield clip, begin


def seen(
    path: str | os.PathLike[str],
    known: Mapping[str, Modality],
    *,
    start: float | None = None,
    end: float | None = None,
    frame_rate: float | None = None,
) -> Clip:
    """As much of a file as some modalities see: from `start` on, or else in the middle.

    Raises:
        ValueError, ModuleNotFoundError: as of `clip.read`.
    """
    length = max(modality.seconds for modality in known.values())
    if start is None:
        total = seconds(path, frame_rate)
        start = max((total if end is None else min(end, total)) - length, 0.0) / 2
        end = None
    end = start + length if end is None else min(end, start + length)
    options: dict[str, Any] = {"kind": kind(path, known), "frame_rate": frame_rate}
    if isinstance(video := known.get("video"), Video):
        options["fps"] = video.fps
    return clip_lib.read(path, start=start or None, end=end, **options)


def kind(path: str | os.PathLike[str], known: Mapping[str, Modality]) -> str:
    """What to read of a file for some modalities: of sound alone no picture is decoded."""
    with clip_lib.reasons(os.fspath(path)):
        return "any" if "video" in known or not clip_lib.media().has_sound(path) else "sound"


def seconds(path: str | os.PathLike[str], frame_rate: float | None = None) -> float:
    """How long a file is, by its header or its packets; nothing is decoded. 0 of a picture.

    Raises:
        ValueError, ModuleNotFoundError: as of `clip.read`.
    """
    with clip_lib.reasons(os.fspath(path)):
        return clip_lib.media().seconds(path, frame_rate=frame_rate)


def moment(seconds: float) -> str:
    """A time in a file as players show it: `1:02:03.5` or `2:03.5`."""
    tenths = round(10 * seconds)
    minutes, left = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{left // 10:02d}.{left % 10}"
