"""Pictures and sound onto one clock: the picture shown at time i / fps, the sample at s / 16000.

All times are seconds on the clock of the file; a clip's own clock starts with its first picture.
"""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import av
import av.error
import numpy as np

SAMPLE_RATE = 16_000

# Containers round times to a millisecond or so; a picture this late still counts as in time.
_TOLERANCE = 1e-3
# Sound further from where it is expected than this is moved to where its time stamp says.
_JUMP = 0.05

Raw = TypeVar("Raw")
Picture = TypeVar("Picture")


class TooLongError(ValueError):
    """A clip that does not fit the limit of seconds."""


class Pictures(Generic[Raw, Picture]):
    """Samples timed pictures at a fixed rate; each picture is shown until the next one.

    Only pictures that are shown are converted, each once, however often it is repeated.

    Attributes:
        start: file time of the first sample; None before there is one.
        stop: file time up to which pictures are shown.
        sampled: what is shown at start + i / fps.
    """

    def __init__(
        self,
        fps: float,
        convert: Callable[[Raw], Picture],
        *,
        begin: float = -math.inf,
        end: float = math.inf,
        longest: float = math.inf,
    ) -> None:
        """Samples between the file times `begin` and `end`, at most `longest` seconds."""
        self.start: float | None = None
        self.stop = begin
        self.sampled: list[Picture] = []
        self._fps, self._convert = fps, convert
        self._begin, self._end, self._longest = begin, end, longest
        self._held: Raw | None = None
        self._since = begin

    def show(self, time: float, picture: Raw) -> None:
        """Shows a picture from `time` on; one that is not later than the one before is left out."""
        if self._held is not None:
            if time <= self._since:
                return
            self._sample(self._held, time)
        self._held, self._since = picture, time

    def finish(self, length: float) -> None:
        """Ends the clip `length` seconds after the last picture appeared."""
        if self._held is not None:
            self._sample(self._held, self._since + length)
        self._held = None

    def _sample(self, held: Raw, until: float) -> None:
        if until <= self._begin + _TOLERANCE:
            return
        if self.start is None:
            self.start = max(self._since, self._begin)
        self.stop = min(until, self._end)
        if self.stop - self.start > self._longest:
            raise TooLongError(f"longer than {self._longest:g} s")
        due = math.ceil((self.stop - self.start - _TOLERANCE) * self._fps)
        missing = max(due, 1) - len(self.sampled)
        if missing > 0:
            self.sampled += [self._convert(held)] * missing


class Sound:
    """Collects decoded sound as 16 kHz mono int16, placed by its time stamps.

    Gaps in the time stamps become silence; where pieces overlap, the later one is heard.

    Attributes:
        stop: file time at which the last sample ends; None before there is one.
    """

    def __init__(self, *, longest: float = math.inf) -> None:
        self.stop: float | None = None
        self._longest = longest
        self._pieces: list[tuple[float, list[np.ndarray]]] = []
        self._resampler: av.AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._fed = 0
        self._due = 0.0  # where the next frame is expected

    def add(self, frame: av.AudioFrame, time: float | None) -> None:
        """Adds a decoded frame that starts at `time`; None continues the one before.

        Raises:
            FFmpegError: it cannot be sound, as of a damaged header; the next may be.
        """
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if time is None:
            time = self._due
        if self._resampler is None or abs(time - self._due) > _JUMP or form != self._format:
            self._begin_piece(time, form)
        assert self._resampler is not None
        began, chunks = self._pieces[-1]
        try:
            chunks += _int16(self._resampler.resample(frame))
        except av.error.FFmpegError:
            self._resampler = None  # there is nothing in it to be had
            raise
        self._fed += frame.samples
        self._due = began + self._fed / frame.sample_rate
        self.stop = self._due if self.stop is None else max(self.stop, self._due)
        if self.stop - self._pieces[0][0] > self._longest:
            raise TooLongError(f"longer than {self._longest:g} s")

    def interrupt(self) -> None:
        """Says that sound was lost: what comes next is placed by its time stamp."""
        self._end_piece()

    def samples(self, start: float, end: float = math.inf) -> np.ndarray | None:
        """int16 `[s]` from file time `start` to the end of the sound or `end`; None if empty.

        Sound that begins after `start` has zeros in front.
        """
        self._end_piece()
        if self.stop is None:
            return None
        wave_s = np.zeros(max(0, round((min(self.stop, end) - start) * SAMPLE_RATE)), np.int16)
        for time, chunks in self._pieces:
            _place(wave_s, round((time - start) * SAMPLE_RATE), chunks)
        return wave_s if wave_s.size else None

    def _begin_piece(self, time: float, form: tuple[str, str, int]) -> None:
        self._end_piece()
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        self._format = form
        self._fed = 0
        self._pieces.append((time, []))

    def _end_piece(self) -> None:
        if self._resampler is not None:
            self._pieces[-1][1].extend(_int16(self._resampler.resample(None)))
        self._resampler = None


def _int16(frames: list[av.AudioFrame]) -> list[np.ndarray]:
    # Sound that already is 16 kHz mono int16 passes the resampler, the closing None included.
    return [frame.to_ndarray().reshape(-1) for frame in frames if frame is not None]


def _place(wave_s: np.ndarray, position: int, chunks: list[np.ndarray]) -> None:
    if not chunks:
        return
    piece = np.concatenate(chunks)[max(0, -position) :]
    position = max(0, position)
    piece = piece[: max(0, len(wave_s) - position)]
    wave_s[position : position + len(piece)] = piece
