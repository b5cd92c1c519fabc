"""Decodes one media file, whatever its name says, into pictures and sound on one clock."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.error
import numpy as np
from jaxtyping import Int16

from av_mae.prepare.media import clock, container, picture, stamps
from av_mae.prepare.media.container import Limits, UnreadableError

# Seconds that the packets of picture and sound may lie apart in a file.
_INTERLEAVING = 10.0
# Decoders of sound need some packets before their first right sample.
_PREROLL = 1.0
# A clip in which less than this could be decoded is rejected.
LEAST_SECONDS = 1.0
LEAST_SHARE = 0.25
# More of a file without an index is not left unread by a demuxer that has come to its end.
_UNREAD_SHARE = 0.1
# Codecs that keep floating point samples as they are, whatever these are.
_FLOATS = ("pcm_f", "wavpack", "mp4als")
# A file that ends before this share of its announced length was cut off.
_WHOLE_SHARE = 0.9
# Pictures that begin this many seconds after the clip does are worth a note.
_LATE = 0.1


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip in memory, as its file shows it.

    Attributes:
        frames: uint8 `[h w 3]` each, or what `convert` made of it; frame i is shown at i / fps.
            Empty without pictures, and then fps, height and width are 0.
        audio: `[s]` at 16 kHz, sample s at s / 16000; None without sound.
        start: where t = 0 lies in the file, seconds: where the pictures begin, or the part that
            was asked for; without pictures the sound.
        duration: seconds up to the end of the pictures or the sound, whichever is later.
        notes: what a user may want to know about the file.
        damage: what could not be decoded; empty for a whole file.
    """

    frames: tuple[Any, ...]
    fps: float
    height: int
    width: int
    audio: Int16[np.ndarray, " s"] | None
    start: float
    duration: float
    notes: tuple[str, ...] = ()
    damage: str = ""


def decode(
    path: str | os.PathLike[str],
    convert: Callable[[np.ndarray], Any] = np.asarray,
    *,
    kind: container.Kind = "video",
    fps: float | None = None,
    short_side: int | None = None,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = container.DEFAULT_LIMITS,
) -> Clip:
    """Decodes a file once, giving each shown picture uint8 `[h w 3]` to `convert` as it comes.

    Damaged packets are left out, and after one the pictures up to the next key frame; the last
    good picture stays, and sound is silent. A clip of which at least a second or a quarter could be
    decoded is returned with `damage` saying what is missing.

    Args:
        kind: a video has pictures, with or without sound; of sound no pictures are taken; any
            takes what there is.
        fps: frames a second; None takes the file's own rate.
        short_side: pixels that the short side is scaled down to; None keeps the size.
        start, end: the part of the file to read, seconds.

    Raises:
        UnreadableError: there is no clip in it, or the limits do not allow it.
    """
    deadline = time.monotonic() + limits.patience
    seek, sort = bool(start), False
    while True:
        with container.open_media(path, limits) as file:
            seek = seek and container.can_seek(file)
            reading = _Reading(file, kind, convert, fps, short_side, start, end, limits, seek, sort)
            try:
                if (not seek or reading.seek()) and reading.run(deadline):
                    return reading.clip()
                seek = False
            except stamps.DisorderError:
                sort = True


class _Reading:
    """One pass over the packets of a file: of its pictures and their sound, or of sound alone."""

    def __init__(
        self,
        file: Any,
        kind: container.Kind,
        convert: Callable[[np.ndarray], Any],
        fps: float | None,
        short_side: int | None,
        start: float | None,
        end: float | None,
        limits: Limits,
        sought: bool,
        sort: bool,
    ) -> None:
        video, audio = container.streams(file, kind, limits)
        self._file, self._video, self._audio, self._limits = file, video, audio, limits
        self._sought, self._sorted = sought, sort
        self._begin = -math.inf if start is None and video else start or 0.0
        self._end = math.inf if end is None else end
        self._is_part = bool(start) if video is None else start is not None
        self._over = {stream.type: False for stream in (video, audio) if stream is not None}
        self._wait_for_key = False
        self._damage: dict[str, str] = {}  # the first of each kind

        self._origin = container.origin(file)
        self._decoding_times = container.has_decoding_times_only(file)
        self._shown = stamps.Stamps(self._origin, sort=sort or self._decoding_times)
        self._heard = stamps.Stamps(self._origin)
        end = self._origin + container.announced_seconds(file)
        self._continuity = stamps.Continuity(
            self._origin,
            end if container.can_seek(file) else -math.inf,
            sought=sought,
            pictures=video is not None,
        )
        self._rate = container.frame_rate(video) if video else 1.0
        self._good = 0.0  # decoded seconds of sound inside the part
        self._fps = (fps or self._rate) if video else 0.0
        self._length = 1 / self._rate
        self._scaler = picture.Scaler(short_side, video.sample_aspect_ratio if video else None)
        self._pictures = clock.Pictures(
            self._fps,
            lambda frame: convert(self._scaler(frame)),
            begin=self._begin,
            end=self._end,
            limits=limits,
        )
        self._sound = clock.Sound(
            longest=limits.seconds + 2 * _PREROLL,
            stored_floats=bool(audio) and audio.codec_context.name.startswith(_FLOATS),
        )
        self._first: float | None = None  # where the sound begins
        self._shift = 0.0  # of the time stamps of the sound
        self._read_bytes = 0

    def seek(self) -> bool:
        """Moves to the key frame before the part; False where the format cannot."""
        if self._video and self._video.start_time is None:
            return False
        target = max(0.0, self._begin - _PREROLL) + self._origin
        try:
            self._file.seek(round(target * av.time_base))
        except av.error.FFmpegError:
            return False
        return True

    def run(self, deadline: float) -> bool:
        """Decodes; False if seeking led too far, so that the file must be read from its start."""
        for packet in self._packets():
            if time.monotonic() > deadline:
                raise container.too_slow(self._limits)
            if not self._over[packet.stream.type]:
                self._decode(packet)
            if self._is_finished(packet):
                break
            if self._sought and self._starts_late():
                return False
        self._pictures.finish(self._length)
        found = self._pictures.start is not None if self._video else self._good > 0
        return not self._sought or (found and not self._starts_late())

    def clip(self) -> Clip:
        """What was decoded.

        Raises:
            UnreadableError: nothing, or too little of it.
        """
        start = self._pictures.start if self._video else max(self._begin, self._first or 0.0)
        audio = None if start is None else self._sound.samples(start, self._end)
        if start is None or not (self._video or (self._good and audio is not None)):
            what, where = ("picture", "the pictures end") if self._video else ("sound", "it ends")
            if self._damage:
                damage = "; ".join(self._damage.values())
                raise UnreadableError(f"no {what} could be decoded: {damage}")
            if self._is_part and self._position > 0:
                end = f"{where} at {self._position:.2f} s"
                raise UnreadableError(f"no {what} between start and end: {end}")
            stream = "video" if self._video else "audio"
            raise UnreadableError(f"no {what} in the {stream} stream")
        duration = 0.0 if audio is None else len(audio) / clock.SAMPLE_RATE
        if self._video:
            duration = max(self._pictures.stop, start + duration) - start
        elif duration > self._limits.seconds:
            raise container.too_long(self._limits.seconds)

        begin = max(self._begin, 0.0) if self._video else start
        announced = container.announced_seconds(self._file, self._video or self._audio)
        read = self._continuity.streams.get(self._video.type if self._video else "audio")
        if announced < math.inf and read is not None:
            announced = max(announced, read.end - self._origin)  # a recording joined to this one
        expected = min(self._end, announced) - begin if announced < math.inf else math.inf
        length = start - begin + duration
        good = self._pictures.good if self._video else self._good
        if expected < math.inf and length < _WHOLE_SHARE * expected:
            self._damage["cut"] = f"cut off: {length:.2f} of {expected:.2f} s"
        damage = "; ".join(self._damage.values())
        if damage and good < min(LEAST_SECONDS, LEAST_SHARE * expected):
            raise UnreadableError(f"too little could be decoded: {damage}")
        notes = []
        if self._video and self._shown.guessed:
            notes.append(f"no time stamps: {self._rate:g} frames a second assumed")
        if len(self._continuity.shifts) > 1:
            notes.append("time stamps start again or jump: moved, pictures and sound alike")
        if self._sorted:
            notes.append("time stamps are not in the order of the pictures: sorted")
        if self._sound.silenced:
            notes.append(f"{self._sound.silenced} samples of sound are no finite numbers: silence")
        if start - begin > _LATE:
            notes.append(f"pictures start {start - begin:.2f} s late")
        return Clip(
            frames=tuple(self._pictures.sampled),
            fps=self._fps,
            height=self._scaler.height,
            width=self._scaler.width,
            audio=audio,
            start=start,
            duration=duration,
            notes=tuple(notes),
            damage=damage,
        )

    def _note(self, what: str, moment: float, error: BaseException) -> None:
        """Keeps that `what` (picture, sound, file) could not be decoded after a file time."""
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._damage.setdefault(what, f"{what} damaged after {moment:.2f} s: {text}")

    def _packets(self) -> Iterator[av.Packet]:
        """What there is to decode, on one clock."""
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        try:
            for packet in self._file.demux(streams):
                self._read_bytes = max(self._read_bytes, (packet.pos or 0) + packet.size)
                if packet.size:
                    length = (packet.duration or 0) * float(packet.time_base or 0)
                    length = length or (packet.stream is self._video) / self._rate
                    yield from self._continuity.correct(packet, length)
                elif packet.dts is None:  # the end; others say: the same picture again
                    yield from self._continuity.rest()
                    yield packet
            left = self._file.size - self._read_bytes
            unread = self._file.format.name == "flv" and left > _UNREAD_SHARE * self._file.size
            if unread or container.another_follows(self._file):
                self._note("file", self._position, ValueError("what follows is not read"))
        except av.error.ExitError:
            raise
        except av.error.FFmpegError as error:
            self._note("file", self._position, error)

    @property
    def _position(self) -> float:
        """File time up to which the clip is decoded."""
        return self._shown.next if self._video else self._heard.next

    def _decode(self, packet: av.Packet) -> None:
        is_picture = packet.stream.type == "video"
        if is_picture and self._wait_for_key and not packet.is_keyframe and packet.size:
            return
        if is_picture:
            self._shown.send(packet, decoding_times=self._decoding_times)
        try:
            # The last packet of raw samples may be short without lacking anything.
            if packet.is_corrupt and not packet.stream.codec_context.name.startswith("pcm_"):
                raise av.error.InvalidDataError(0, "incomplete packet")
            frames = list(packet.decode())
        except (av.error.FFmpegError, MemoryError) as error:
            # Behind a seek the first packets of a stream may miss what they build on.
            begun = self._shown.next > self._begin if self._video else self._good > 0
            if begun or not self._is_part:
                self._note("picture" if is_picture else "sound", self._position, error)
            if is_picture:
                self._shown.lose()
                self._pictures.interrupt(self._length)
                self._wait_for_key = True
            else:
                self._sound.interrupt()
            return
        if is_picture:
            self._wait_for_key = False
        take = self._show if is_picture else self._hear
        for frame in frames:
            take(frame)

    def _show(self, frame: Any) -> None:
        container.check_pixels(frame.width, frame.height, self._limits)
        self._length = float(frame.duration * frame.time_base) if frame.duration else self._length
        moment = self._shown.place(frame, self._length, self._video.codec_context)
        self._over["video"] = moment >= self._end
        self._pictures.show(moment, frame)

    def _hear(self, frame: Any) -> None:
        before = self._position
        moment = self._heard.place(frame, frame.samples / max(1, frame.sample_rate))
        if moment >= self._end:
            self._over["audio"] = True
            return
        if self._first is None:
            self._first = moment
        read = self._continuity.streams.get("audio")
        if read is not None and read.shift != self._shift:
            self._shift = read.shift
            self._sound.interrupt()  # another recording
        if moment >= self._begin - _PREROLL:
            try:
                self._sound.add(frame, moment)
            except av.error.FFmpegError as error:
                self._note("sound", before, error)
                return
        if not self._video:
            inside = min(self._heard.next, self._end) - max(moment, self._begin)
            self._good += max(0.0, inside)

    def _is_finished(self, packet: av.Packet) -> bool:
        if all(self._over.values()):
            return True
        # Sound of the part may still come, but not from this far behind it.
        moment = packet.dts if packet.dts is not None else packet.pts
        if not self._over.get("video") or moment is None or packet.time_base is None:
            return False
        return float(moment * packet.time_base) - self._origin > self._end + _INTERLEAVING

    def _starts_late(self) -> bool:
        """Whether what was found begins after the part does."""
        if self._video:
            start = self._pictures.start
            return start is not None and start > self._begin + 1 / self._rate
        return self._first is not None and self._first > self._begin
