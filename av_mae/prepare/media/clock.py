"""Pictures and sound on one clock: the picture shown at time i / fps, the sample at s / 16000.

All times are seconds of the file, as `stamps` gives them; a clip's own clock starts with its first
picture. A gap between pictures holds the earlier one, a gap in the sound is silence; where pieces
of sound overlap, the later one is heard.
"""

import math
from collections.abc import Callable
from typing import Any

import av
import av.error
import numpy as np

from av_mae.prepare.media import container
from av_mae.prepare.media.container import Limits

SAMPLE_RATE = 16_000  # that of `config.modality.Audio`, whose module loads JAX

# Containers round times to a millisecond or so; a picture this late still counts as in time.
_TOLERANCE = 1e-3
# Sound further from where it is expected than this is moved to where its time stamp says.
_JUMP = 0.05
# What was fed to the resampler this many seconds ago has left it.
DELAY = 0.05


class Pictures:
    """Samples timed pictures at a fixed rate; each picture is shown until the next one.

    Only pictures that are shown are converted, each once, however often it is repeated.

    Attributes:
        good: seconds in which a picture that could be decoded is shown.
        start: file time of the first sample; None before there is one.
        stop: file time up to which pictures are shown.
        sampled: what is shown at start + i / fps and was not taken yet, as `convert` returns it.
    """

    def __init__(
        self,
        fps: float,
        convert: Callable[[Any], Any],
        *,
        begin: float = -math.inf,
        end: float = math.inf,
        limits: Limits = container.DEFAULT_LIMITS,
    ) -> None:
        """Samples between the file times `begin` and `end`, as much as the limits allow."""
        self.good = 0.0
        self.start: float | None = None
        self.stop = begin
        self.sampled: list[Any] = []
        self._taken = 0
        self._fps, self._convert = fps, convert
        self._begin, self._end, self._limits = begin, end, limits
        self._held: Any = None
        self._since = begin
        self._bytes = 0
        self._lost = math.inf  # what was to be seen from here on could not be decoded

    def show(self, time: float, picture: Any) -> None:
        """Shows a picture from `time` on; one that is not later than the one before is left out."""
        if self._held is not None:
            if time <= self._since:
                return
            self._sample(time)
        self._held, self._since = (picture if time < self._end else None), time
        self._lost = math.inf

    def interrupt(self, length: float) -> None:
        """The picture that is shown was to be seen for `length` seconds; the next one is lost."""
        self._lost = min(self._lost, self._since + length)

    def take(self, count: int | None = None) -> list[Any]:
        """The first pictures that were sampled, or all; they are not kept here any more."""
        taken, self.sampled = self.sampled[:count], [] if count is None else self.sampled[count:]
        self._taken += len(taken)
        self._bytes = sum(getattr(picture, "nbytes", 0) for picture in self.sampled)
        return taken

    def finish(self, length: float) -> None:
        """Ends the clip `length` seconds after the last picture appeared."""
        if self._held is not None:
            self._sample(self._since + length)
        self._held = None

    def _sample(self, until: float) -> None:
        """Samples the picture that is held, which is shown until a file time."""
        if until <= self._begin + _TOLERANCE:
            return
        good = min(until, self._end, self._lost) - max(self._since, self._begin)
        self.good += max(0.0, good)
        if self.start is None:
            self.start = max(self._since, self._begin)
        self.stop = min(until, self._end)
        if self.stop - self.start > self._limits.seconds:
            raise container.too_long(self._limits.seconds)
        due = math.ceil((self.stop - self.start - _TOLERANCE) * self._fps)
        missing = max(due, 1) - self._taken - len(self.sampled)
        if missing > 0:
            shown = self._convert(self._held)
            self._bytes += missing * getattr(shown, "nbytes", 0)
            if self._bytes > self._limits.frames:
                raise container.too_large(self._limits)
            self.sampled += [shown] * missing


class Sound:
    """Collects decoded sound as 16 kHz mono int16, placed by its times.

    Attributes:
        stop: file time at which the last sample ends; None before there is one.
        silenced: samples that were no numbers, or infinite.
    """

    def __init__(self, *, longest: float = math.inf, stored_floats: bool = False) -> None:
        """At most `longest` seconds from the first sample to the last.

        Args:
            stored_floats: samples are floating point numbers as somebody wrote them.
        """
        self._stored_floats = stored_floats
        self.stop: float | None = None
        self.silenced = 0
        self._longest = longest
        self._pieces: list[tuple[float, list[np.ndarray]]] = []  # what follows without a gap
        self._resampler: av.AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._began, self._fed = 0.0, 0  # where the last piece began, and samples since
        self._due = 0.0  # where the next frame is expected

    def add(self, frame: av.AudioFrame, time: float) -> None:
        """Adds a decoded frame that starts at `time`.

        Raises:
            FFmpegError: it cannot be sound, as of a damaged header; the next may be.
        """
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or abs(time - self._due) > _JUMP or form != self._format:
            self.interrupt()
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            self._format, self._began, self._fed = form, time, 0
            self._pieces.append((time, []))
        _, chunks = self._pieces[-1]
        try:
            chunks += _int16(self._resampler.resample(self._finite(frame)))
        except av.error.FFmpegError:
            self._resampler = None  # what it holds is lost
            raise
        self._fed += frame.samples
        self._due = self._began + self._fed / frame.sample_rate
        self.stop = self._due if self.stop is None else max(self.stop, self._due)
        if self.stop - self._pieces[0][0] > self._longest:
            raise container.too_long(self._longest)

    def _finite(self, frame: av.AudioFrame) -> av.AudioFrame:
        """The frame with silence for samples that are no finite numbers."""
        if not self._stored_floats:
            return frame
        wave: Any = frame.to_ndarray()
        wrong = int((~np.isfinite(wave)).sum())
        if not wrong:
            return frame
        self.silenced += wrong
        np.nan_to_num(wave, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        clean = av.AudioFrame.from_ndarray(wave, frame.format.name, frame.layout.name)
        clean.sample_rate, clean.time_base, clean.pts = frame.rate, frame.time_base, frame.pts
        return clean

    def interrupt(self) -> None:
        """Ends a piece, as where sound is lost: what comes next is placed by its time."""
        if self._resampler is not None:
            self._pieces[-1][1].extend(_int16(self._resampler.resample(None)))
        self._resampler = None

    def samples(self, start: float, end: float = math.inf) -> np.ndarray | None:
        """int16 `[s]` from file time `start` to the end of the sound or `end`; None if empty.

        Sound that begins after `start` has zeros in front.
        """
        self.interrupt()
        if self.stop is None:
            return None
        wave_s = self._placed(start, min(self.stop, end))
        return wave_s if wave_s.size else None

    def take(self, start: float, end: float) -> np.ndarray:
        """int16 `[s]` between two file times; what lies before `end` is not kept here any more."""
        wave_s = self._placed(start, end)
        for number, (time, chunks) in enumerate(self._pieces):
            while chunks and time + len(chunks[0]) / SAMPLE_RATE <= end:
                time += len(chunks.pop(0)) / SAMPLE_RATE
            self._pieces[number] = (time, chunks)
        self._pieces[:-1] = [piece for piece in self._pieces[:-1] if piece[1]]
        return wave_s

    def _placed(self, start: float, end: float) -> np.ndarray:
        wave_s = np.zeros(max(0, round((end - start) * SAMPLE_RATE)), np.int16)
        for time, chunks in self._pieces:
            position = round((time - start) * SAMPLE_RATE)
            piece = np.concatenate([np.zeros(0, np.int16), *chunks])[max(0, -position) :]
            position = max(0, position)
            piece = piece[: max(0, len(wave_s) - position)]
            wave_s[position : position + len(piece)] = piece
        return wave_s


def _int16(frames: list[av.AudioFrame]) -> list[np.ndarray]:
    # Sound that already is 16 kHz mono int16 passes the resampler, the closing None included.
    return [frame.to_ndarray().reshape(-1) for frame in frames if frame is not None]
