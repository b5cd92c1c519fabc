"""Decodes the sound of one file, of sound alone or of a video, onto a clock of its own."""

import dataclasses
import math
import os
import time
from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np
from jaxtyping import Int16

from av_mae.prepare.media import clock, container
from av_mae.prepare.media import damage as damage_lib
from av_mae.prepare.media.container import Limits, UnreadableError

# Decoders need some packets before their first right sample.
_PREROLL = 1.0


@dataclasses.dataclass(frozen=True)
class Heard:
    """The sound of one file.

    Attributes:
        audio: int16 `[s]`, mono at 16 kHz, sample s at s / 16000.
        start: where t = 0 lies in the file, seconds: where the sound or the asked part begins.
        duration: seconds.
        damage: what could not be decoded; empty for a whole file.
    """

    audio: Int16[np.ndarray, " s"]
    start: float
    duration: float
    damage: str


def decode(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> Heard:
    """Decodes the sound of a file once; damaged packets become silence.

    Raises:
        UnreadableError: there is no sound in it, or the limits do not allow it.
    """
    deadline = time.monotonic() + limits.patience
    part = (start or 0.0, math.inf if end is None else end)
    for seek in (True, False) if start else (False,):
        with container.open_media(path, limits) as file:
            reading = _Reading(file, part, limits)
            if (not seek or reading.seek()) and reading.run(deadline, seek):
                return reading.result()
    raise AssertionError("reading from the beginning always ends with a clip or an error")


class _Reading:
    """One pass over the packets of a sound."""

    def __init__(self, file: Any, part: tuple[float, float], limits: Limits) -> None:
        self._file, self._limits = file, limits
        self._begin, self._end = part
        self._origin = (file.start_time or 0) / av.time_base
        stream = container.audio_stream(file)
        if stream is None:
            raise UnreadableError("no sound: there is no audio stream")
        self._stream = stream
        self._sound = clock.Sound(longest=limits.seconds + 2 * _PREROLL)
        self._first: float | None = None  # where what was decoded begins
        self._next = 0.0  # where sound without a time stamp belongs
        self._good = 0.0  # decoded seconds inside the part
        self._damage = damage_lib.Damage()

    def seek(self) -> bool:
        """Moves to before the part; False where the format cannot."""
        target = max(0.0, self._begin - _PREROLL) + self._origin
        try:
            self._file.seek(round(target * av.time_base))
        except av.error.FFmpegError:
            return False
        return True

    def run(self, deadline: float, sought: bool) -> bool:
        """Decodes; False if seeking led too far, so that the file must be read from its start."""
        for packet in self._packets():
            if time.monotonic() > deadline:
                raise container.too_slow(self._limits)
            over = self._take(packet)
            if sought and self._first is not None and self._first > self._begin:
                return False
            if over:
                break
        return not sought or self._good > 0

    def result(self) -> Heard:
        start = max(self._begin, self._first or 0.0)
        audio = self._sound.samples(start, self._end)
        if audio is None or not self._good:
            raise UnreadableError(self._nothing())
        duration = len(audio) / clock.SAMPLE_RATE
        if duration > self._limits.seconds:
            raise clock.TooLongError(f"longer than {self._limits.seconds:g} s")
        self._damage.check(duration, self._announced_end() - start, self._good)
        return Heard(audio, start, duration, str(self._damage))

    def _packets(self) -> Iterator[av.Packet]:
        try:
            yield from self._file.demux([self._stream])
        except av.error.ExitError:
            raise
        except av.error.FFmpegError as error:
            self._damage.note("file", self._next, error)

    def _take(self, packet: av.Packet) -> bool:
        """Adds the sound of a packet; True once the part is over."""
        try:
            if packet.is_corrupt:
                raise av.error.InvalidDataError(0, "incomplete packet")
            frames = list(packet.decode())
        except (av.error.FFmpegError, MemoryError) as error:
            # Behind a seek the first packets may miss what they build on.
            if self._good or not self._begin:
                self._damage.note("sound", self._next, error)
            self._sound.interrupt()
            return False
        return any(self._add(frame) for frame in frames)

    def _add(self, frame: Any) -> bool:
        moment = self._next if frame.time is None else frame.time - self._origin
        self._next = moment + frame.samples / max(1, frame.sample_rate)
        if moment >= self._end:
            return True
        if self._first is None:
            self._first = moment
        if moment >= self._begin - _PREROLL:
            try:
                self._sound.add(frame, moment)
            except av.error.FFmpegError as error:
                self._damage.note("sound", moment, error)
                return False
        inside = min(self._next, self._end) - max(moment, self._begin)
        self._good += max(0.0, inside)
        return False

    def _announced_end(self) -> float:
        """Where the file's header promises that the part ends; infinity without a promise."""
        stream = self._stream
        if stream.duration is None:
            return math.inf
        end = ((stream.start_time or 0) + stream.duration) * stream.time_base
        return min(self._end, float(end) - self._origin)

    def _nothing(self) -> str:
        if self._damage:
            return f"no sound could be decoded: {self._damage}"
        if self._begin and self._next > 0:
            return f"no sound between start and end: it ends at {self._next:.2f} s"
        return "no sound in the audio stream"
