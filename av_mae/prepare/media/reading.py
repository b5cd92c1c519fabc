"""One pass over the packets of a media file, which are decoded and put on one clock."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.error
import numpy as np

from av_mae.prepare.media import clip, clock, container, picture, stamps
from av_mae.prepare.media.container import Limits, UnreadableError

# Seconds that the packets of picture and sound may lie apart in a file.
_INTERLEAVING = 10.0
# Decoders of sound need some packets before their first right sample.
_PREROLL = 1.0
# More of a file without an index is not left unread by a demuxer that has come to its end.
_UNREAD_SHARE = 0.1
# Codecs that keep floating point samples as they are, whatever these are.
_FLOATS = ("pcm_f", "wavpack", "mp4als")
# A file that ends before this share of its announced length was cut off.
_WHOLE_SHARE = 0.9
# Pictures that begin this many seconds after the clip does are worth a note.
_LATE = 0.1


class StartsLateError(Exception):
    """Seeking led too far into a file, which has to be read from its beginning."""


class Reading:
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
        """Arguments are those of `decode.decode`.

        Args:
            sought: the packets are read from `seek` on.
            sort: time stamps are in the order in which the pictures are decoded.
        """
        self.deadline = math.inf  # of the clock `time.monotonic`
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
        self._given = 0.0  # seconds that pieces have shown

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

    def run(self) -> Iterator[None]:
        """Decodes a packet at each step.

        Raises:
            StartsLateError: as it says.
        """
        for packet in self._packets():
            if time.monotonic() > self.deadline:
                raise container.too_slow(self._limits)
            if not self._over[packet.stream.type]:
                self._decode(packet)
            if self._is_finished(packet):
                break
            if self._sought and self._starts_late():
                raise StartsLateError
            yield
        self._pictures.finish(self._length)
        found = self._pictures.start is not None if self._video else self._good > 0
        if self._sought and (not found or self._starts_late()):
            raise StartsLateError

    def seconds(self) -> float:
        """Where the last packet ends, in the file's time; nothing is decoded."""
        count = sum(packet.stream is self._video for packet in self._packets())
        ends = [read.end - self._origin for read in self._continuity.streams.values()]
        return max([*ends, 0.0] if ends else [count / self._rate])

    def pieces(self, seconds: float) -> Iterator[clip.Clip]:
        """What is decoded, `seconds` at a time; the last piece is what is left, and its notes and
        damage are those of the whole.

        Raises:
            StartsLateError, UnreadableError: as `run` and `clip` do.
        """
        if self._fps and seconds < math.inf:
            seconds = max(1, round(seconds * self._fps)) / self._fps
        for _ in self.run():
            while (start := self._start) is not None and self._has(start + self._given + seconds):
                begin, end = start + self._given, start + self._given + seconds
                yield clip.Clip(
                    frames=tuple(self._pictures.take(round(seconds * self._fps))),
                    fps=self._fps,
                    height=self._scaler.height,
                    width=self._scaler.width,
                    audio=None if self._audio is None else self._sound.take(begin, end),
                    start=begin,
                    duration=seconds,
                )
                self._given += seconds
        yield self.clip()

    @property
    def _start(self) -> float | None:
        """Where the clip begins; None before anything is decoded."""
        if self._video:
            return self._pictures.start
        return None if self._first is None else max(self._begin, self._first)

    def _has(self, moment: float) -> bool:
        """Whether pictures and sound are decoded up to a file time, or will never be."""
        if self._video and self._pictures.stop < moment:
            return False
        if self._audio is None or self._over["audio"]:
            return True
        heard = -math.inf if self._sound.stop is None else self._sound.stop - clock.DELAY
        return heard >= moment or (bool(self._video) and self._shown.next > moment + _INTERLEAVING)

    def clip(self) -> clip.Clip:
        """All that was decoded and is in no piece yet.

        Raises:
            UnreadableError: there is nothing in the file, or too little of it.
        """
        first = self._start
        start = None if first is None else first + self._given
        audio = None if start is None else self._sound.samples(start, self._end)
        heard = self._good and (self._given or audio is not None)
        if start is None or not (self._video or heard):
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

        assert first is not None
        begin = max(self._begin, 0.0) if self._video else first
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
        clip.check(damage, good, expected)
        notes = []
        if self._video and self._shown.guessed:
            notes.append(f"no time stamps: {self._rate:g} frames a second assumed")
        if len(self._continuity.shifts) > 1:
            notes.append("time stamps start again or jump: moved, pictures and sound alike")
        if self._sorted:
            notes.append("time stamps are not in the order of the pictures: sorted")
        if self._sound.silenced:
            notes.append(f"{self._sound.silenced} samples of sound are no finite numbers: silence")
        if first - begin > _LATE:
            notes.append(f"pictures start {first - begin:.2f} s late")
        return clip.Clip(
            frames=tuple(self._pictures.take()),
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
                    length = (packet.duration or 0) * self._continuity.tick(packet)
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
