"""Decodes one media file, whatever its name says, into pictures and sound on one clock."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic

import av
import av.error
import numpy as np
from jaxtyping import Float, Int16, UInt8

from av_mae.prepare.media import clock, container
from av_mae.prepare.media import damage as damage_lib
from av_mae.prepare.media.container import Limits, UnreadableError
from av_mae.prepare.media.picture import Scaler

# Seconds that the packets of picture and sound may lie apart in a file.
_INTERLEAVING = 10.0
# Decoders of sound need some packets before their first right sample.
_PREROLL = 1.0


@dataclasses.dataclass(frozen=True)
class Media:
    """One clip in memory.

    Attributes:
        frames: uint8 `[t h w 3]`; frame i is shown at i / fps.
        audio: float32 `[s]` in [-1, 1] at 16 kHz, sample s at s / 16000; None without sound.
        start: where t = 0 lies in the file, seconds.
        duration: seconds up to the end of the pictures or the sound, whichever is later.
        notes: what a user may want to know about the file.
    """

    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float
    audio: Float[np.ndarray, " s"] | None
    start: float
    duration: float
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Decoded(Generic[clock.Picture]):
    """As `Media`, with the pictures in the form the caller made them and the sound as int16.

    Attributes:
        damage: what could not be decoded; empty for a whole file.
    """

    pictures: list[clock.Picture]
    fps: float
    height: int
    width: int
    audio: Int16[np.ndarray, " s"] | None
    start: float
    duration: float
    notes: tuple[str, ...]
    damage: str


def read(
    path: str | os.PathLike[str],
    fps: float | None = None,
    short_side: int | None = None,
    start: float | None = None,
    end: float | None = None,
    *,
    limits: Limits = container.DEFAULT_LIMITS,
    most_bytes: float = 4e9,
) -> Media:
    """Reads a file into memory.

    Args:
        fps: frames a second; None takes the file's own rate.
        short_side: pixels that the short side is scaled down to; None keeps the size.
        start, end: the part of the file to read, seconds.
        most_bytes: memory that the frames may take.

    Raises:
        UnreadableError: the file gives no clip, or one larger than the limits.
    """
    size = 0

    def keep(picture_hw3: np.ndarray) -> np.ndarray:
        nonlocal size
        size += picture_hw3.nbytes
        _check_bytes(size, most_bytes)
        return picture_hw3

    clip = decode(path, keep, fps=fps, short_side=short_side, start=start, end=end, limits=limits)
    _check_bytes(len(clip.pictures) * clip.pictures[0].nbytes, most_bytes)
    audio = None if clip.audio is None else clip.audio.astype(np.float32) / 32768.0
    notes = clip.notes + ((clip.damage,) if clip.damage else ())
    return Media(np.stack(clip.pictures), clip.fps, audio, clip.start, clip.duration, notes)


def decode(
    path: str | os.PathLike[str],
    convert: Callable[[np.ndarray], clock.Picture],
    *,
    fps: float | None,
    short_side: int | None,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> Decoded[clock.Picture]:
    """Decodes a file once, giving each shown picture uint8 `[h w 3]` to `convert` as it comes.

    Damaged packets are left out, and after one the pictures up to the next key frame; the last
    good picture stays. A clip of which at least a second or a quarter could be decoded is returned
    with `damage` saying what is missing.

    Raises:
        UnreadableError: there is no clip in it, or the limits do not allow it.
    """
    deadline = time.monotonic() + limits.patience
    part = (-math.inf if start is None else start, math.inf if end is None else end)
    for seek in (True, False) if start else (False,):
        with container.open_media(path, limits) as file:
            reading = _Reading(file, convert, fps, short_side, part, limits)
            if (not seek or reading.seek(part[0])) and reading.run(deadline, seek):
                return reading.result()
    raise AssertionError("reading from the beginning always ends with a clip or an error")


class _Reading(Generic[clock.Picture]):
    """One pass over the packets of a file."""

    def __init__(
        self,
        file: Any,
        convert: Callable[[np.ndarray], clock.Picture],
        fps: float | None,
        short_side: int | None,
        part: tuple[float, float],
        limits: Limits,
    ) -> None:
        self._file, self._limits = file, limits
        self._begin, self._end = part
        self._origin = (file.start_time or 0) / av.time_base
        self._video = container.video_stream(file, limits)
        self._audio = container.audio_stream(file)
        self._rate = container.frame_rate(self._video)
        self.fps = fps or self._rate
        self._scaler = Scaler(short_side, self._video.sample_aspect_ratio)
        self._pictures: clock.Pictures[av.VideoFrame, clock.Picture] = clock.Pictures(
            self.fps,
            lambda frame: convert(self._scaler(frame)),
            begin=self._begin,
            end=self._end,
            longest=limits.seconds,
        )
        self._sound = clock.Sound(longest=limits.seconds + 2 * _PREROLL)
        self._next = 0.0  # where a picture without a time stamp belongs
        self._length = 1 / self._rate
        self._good = 0  # decoded pictures inside the part
        self._wait_for_key = False
        self._over = {"video": False, "audio": self._audio is None}
        self._damage = damage_lib.Damage()
        self._notes: list[str] = []

    def seek(self, start: float) -> bool:
        """Moves to the key frame before `start`; False where the format cannot."""
        if self._video.start_time is None:
            return False
        target = max(0.0, start - _PREROLL) + self._origin
        try:
            self._file.seek(round(target * av.time_base))
        except av.error.FFmpegError:
            return False
        return True

    def run(self, deadline: float, sought: bool) -> bool:
        """Decodes; False if seeking led too far, so that the file must be read from its start."""
        take = {"video": self._take_video, "audio": self._take_audio}
        for packet in self._packets():
            if time.monotonic() > deadline:
                raise container.too_slow(self._limits)
            kind = packet.stream.type
            if not self._over[kind]:
                take[kind](packet)
            if self._finished(packet):
                break
            if sought and self._starts_late():
                return False
        self._pictures.finish(self._length)
        return not sought or (self._pictures.start is not None and not self._starts_late())

    def result(self) -> Decoded[clock.Picture]:
        start = self._pictures.start
        if start is None:
            raise UnreadableError(self._nothing())
        audio = self._sound.samples(start, self._end)
        stop = self._pictures.stop
        if audio is not None:
            stop = max(stop, start + len(audio) / clock.SAMPLE_RATE)
        self._check_whole(stop)
        self._note(start)
        return Decoded(
            pictures=self._pictures.sampled,
            fps=self.fps,
            height=self._scaler.height,
            width=self._scaler.width,
            audio=audio,
            start=start,
            duration=stop - start,
            notes=tuple(self._notes),
            damage=str(self._damage),
        )

    def _packets(self) -> Iterator[av.Packet]:
        streams = [self._video] + ([self._audio] if self._audio is not None else [])
        try:
            yield from self._file.demux(streams)
        except av.error.ExitError:
            raise
        except av.error.FFmpegError as error:
            self._damage.note("file", self._next, error)

    def _take_video(self, packet: av.Packet) -> None:
        if self._wait_for_key and not packet.is_keyframe and packet.size:
            return
        frames = self._decoded(packet, "picture")
        self._wait_for_key = frames is None
        for frame in frames or ():
            self._take_frame(frame)

    def _take_frame(self, frame: Any) -> None:
        container.check_pixels(frame.width, frame.height, self._limits)
        moment = self._next if frame.time is None else frame.time - self._origin
        self._length = float(frame.duration * frame.time_base) if frame.duration else self._length
        self._next = moment + self._length
        if moment >= self._end:
            self._over["video"] = True
            return
        self._good += self._next > self._begin
        self._pictures.show(moment, frame)

    def _take_audio(self, packet: av.Packet) -> None:
        frames = self._decoded(packet, "sound")
        if frames is None:
            self._sound.interrupt()
        for frame in frames or ():
            moment = None if frame.time is None else frame.time - self._origin
            if moment is not None and moment >= self._end:
                self._over["audio"] = True
            elif moment is None or moment >= self._begin - _PREROLL:
                self._hear(frame, moment)

    def _hear(self, frame: Any, moment: float | None) -> None:
        try:
            self._sound.add(frame, moment)
        except av.error.FFmpegError as error:
            self._damage.note("sound", self._next, error)

    def _decoded(self, packet: av.Packet, what: str) -> list[Any] | None:
        try:
            if packet.is_corrupt:
                raise av.error.InvalidDataError(0, "incomplete packet")
            return list(packet.decode())
        except (av.error.FFmpegError, MemoryError) as error:
            # Behind a seek the first packets of a stream may miss what they build on.
            if self._good or self._begin == -math.inf:
                self._damage.note(what, self._next, error)
            return None

    def _finished(self, packet: av.Packet) -> bool:
        if all(self._over.values()):
            return True
        moment = packet.dts if packet.dts is not None else packet.pts
        if not self._over["video"] or moment is None or packet.time_base is None:
            return False
        return float(moment * packet.time_base) - self._origin > self._end + _INTERLEAVING

    def _starts_late(self) -> bool:
        start = self._pictures.start
        return start is not None and start > self._begin + 1 / self._rate

    def _nothing(self) -> str:
        if self._damage:
            return f"no picture could be decoded: {self._damage}"
        if self._begin > -math.inf and self._next > 0:
            return f"no picture between start and end: the pictures end at {self._next:.2f} s"
        return "no picture in the video stream"

    def _check_whole(self, stop: float) -> None:
        begin = max(self._begin, 0.0)
        announced = container.announced_seconds(self._file, self._video)
        expected = min(self._end, announced) - begin if announced < math.inf else math.inf
        self._damage.check(stop - begin, expected, self._good / self._rate)

    def _note(self, start: float) -> None:
        if self._video.start_time is None:
            self._notes.append(f"no time stamps: {self._rate:g} frames a second assumed")
        begin = max(self._begin, 0.0)
        if start - begin > 0.1:
            self._notes.append(f"pictures start {start - begin:.2f} s late")


def _check_bytes(size: float, most: float) -> None:
    if size > most:
        raise UnreadableError(
            f"too large: the frames need more than {most / 1e9:.1f} GB; "
            "give fps, short_side, or start and end"
        )
