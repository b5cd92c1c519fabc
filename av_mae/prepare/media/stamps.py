"""Time stamps of packets and frames, corrected so that they are the times of one clock.

Where they start again or jump, all streams of a file are moved alike (`Continuity`). One that lacks
is the end of the frame before, and those that are no presentation times are dealt out in the order
in which the decoder gives the frames (`Stamps`).
"""

import dataclasses
import heapq
import math
from typing import Any

import av

# Packets are out of order by a few frames at most; one further back begins another recording.
_BACK_SECONDS, _BACK_FRAMES = 0.5, 20
# A gap longer than this, in which no stream has anything, is none where no header asks for it.
_LONGEST_GAP = 10.0
# Packets of sound that wait for pictures to start again, too.
_MOST_WAITING = 200
# A picture this much before the one before it is one out of order, seconds.
_TOLERANCE = 1e-3
# Decoders that keep a fixed number of pictures back, and give none for a frame that repeats one.
_FIXED_DELAY = ("mpeg4", "msmpeg4", "mpeg1video", "mpeg2video", "wmv", "h263")


class DisorderError(ValueError):
    """Pictures whose time stamps are not in the order in which they are shown."""


@dataclasses.dataclass
class Progress:
    """What was read of one stream, on the clock of the file: its packets, what they show or play.

    Attributes:
        shift: what was added to the time stamps of the last packet.
        reached: end of the last packet in the order of decoding.
        end: the latest presentation time, with the length of what is presented then.
    """

    shift: float
    reached: float
    end: float


class Continuity:
    """One clock for all streams of a file whose time stamps start again or jump.

    A packet that lies before what its stream already had (a recording joined to another one), or
    far behind all that was read (a stray time stamp), follows on what came before it. Packets
    behind it are moved by as much, those of the other streams too, where their own stamps fit that
    and do not fit what was before. Pictures decide how much that is: sound waits for them.

    Attributes:
        streams: what was read, by kind of stream.
        shifts: what was added to the time stamps of its parts, nothing to the first.
    """

    def __init__(self, origin: float, end: float, *, sought: bool, pictures: bool) -> None:
        """Time stamps in seconds: where the file starts, and where its header says that it ends.

        Args:
            end: minus infinity where no header says so.
            sought: reading begins elsewhere in the file.
            pictures: there is a stream of them.
        """
        self._end, self._pictures = end, pictures
        self.shifts = [0.0]
        self._begin = None if sought else origin
        self.streams: dict[str, Progress] = {}
        self._waiting: list[tuple[av.Packet, float]] = []  # sound that starts again
        self._ticks: dict[int, float] = {}

    def tick(self, packet: av.Packet) -> float:
        """Seconds of a unit of the packet's time stamps; 0 where they have none.

        Kept by stream: to ask a packet makes a fraction of two numbers, which takes long.
        """
        index = packet.stream_index
        if index not in self._ticks:
            self._ticks[index] = float(packet.time_base or 0)
        return self._ticks[index]

    def correct(self, packet: av.Packet, length: float) -> list[av.Packet]:
        """Moves the time stamps of a packet, which lasts `length` seconds.

        Returns:
            The packets that can be decoded now, in their order.
        """
        times = self._times(packet)
        if times is None:
            return [packet]
        kind = packet.stream.type
        if kind not in self.streams:
            begin = times[0] if self._begin is None else min(self._begin, times[0])
            self.streams[kind] = Progress(0.0, begin, begin)
        shift = self._fitting(kind, times[0], length)
        if shift is None and kind == "audio" and self._pictures:
            self._waiting.append((packet, length))
            return self.rest() if len(self._waiting) > _MOST_WAITING else []
        starts_again = shift is None
        before = self.rest() if kind == "audio" else []
        if shift is None:
            shift = self.streams[kind].end - times[1]
            self.shifts.append(shift)
        self._move(packet, times, shift, length)
        return [*before, packet, *(self.rest() if starts_again else ())]

    def rest(self) -> list[av.Packet]:
        """Packets of sound that waited for pictures to start again as well."""
        ready, self._waiting = self._waiting, []
        for packet, length in ready:
            times = self._times(packet) or (0.0, 0.0)
            shift = self._fitting("audio", times[0], length)
            if shift is None:
                shift = self.streams["audio"].end - times[1]
                self.shifts.append(shift)
            self._move(packet, times, shift, length)
        return [packet for packet, _ in ready]

    def _fitting(self, kind: str, time: float, length: float) -> float | None:
        """The shift that fits a time stamp: that of the packet before or an earlier one."""
        read = self.streams[kind]
        first = read.reached - max(_BACK_SECONDS, _BACK_FRAMES * length)
        last = max(other.reached for other in self.streams.values()) + _LONGEST_GAP
        for shift in (read.shift, *reversed(self.shifts)):
            if first <= time + shift <= (last if shift else max(last, self._end)):
                return shift
        return None

    def _move(
        self, packet: av.Packet, times: tuple[float, float], shift: float, length: float
    ) -> None:
        decoded, shown = times
        if abs(shown - decoded) > _LONGEST_GAP:
            packet.pts, shown = None, decoded
        read = self.streams[packet.stream.type]
        read.shift = shift
        read.reached = max(read.reached, decoded + shift + length)
        read.end = max(read.end, shown + shift + length)
        ticks = round(shift / packet.time_base) if shift else 0
        if ticks and packet.dts is not None:
            packet.dts += ticks
        if ticks and packet.pts is not None:
            packet.pts += ticks

    def _times(self, packet: av.Packet) -> tuple[float, float] | None:
        """(when it is decoded, when it is shown or played), seconds; None without time stamps."""
        dts, pts, tick = packet.dts, packet.pts, self.tick(packet)
        if not tick or (dts is None and pts is None):
            return None
        decoded: Any = pts if dts is None else dts
        shown: Any = dts if pts is None else pts
        return decoded * tick, shown * tick


class Stamps:
    """The times of the frames of one stream, in the order of the decoder, which is that of time.

    Attributes:
        next: the end of the last frame, where one without a time stamp belongs.
        guessed: whether no frame had a time stamp.
    """

    def __init__(self, origin: float, *, sort: bool = False) -> None:
        """`origin` is the time stamp in seconds at which the clock of the file starts.

        Args:
            sort: time stamps are not those of the frames that carry them (AVI has decoding times
                only, some programs write these for presentation times): the next frame has the
                earliest one that was sent to the decoder and not given to a frame yet.
        """
        self.next, self.guessed = 0.0, True
        self._origin, self._sort = origin, sort
        self._latest = -math.inf
        self._sent: list[float] = []
        self._newest = math.nan

    def send(self, packet: av.Packet, *, decoding_times: bool) -> None:
        """A packet goes to the decoder."""
        both = (packet.dts, packet.pts) if decoding_times else (packet.pts, packet.dts)
        stamp = next((stamp for stamp in both if stamp is not None), None)
        if self._sort and stamp is not None and packet.time_base is not None:
            self._newest = float(stamp * packet.time_base)
            heapq.heappush(self._sent, self._newest)

    def lose(self) -> None:
        """The packet that was sent last gives no frame."""
        if self._newest in self._sent:
            self._sent.remove(self._newest)
            heapq.heapify(self._sent)

    def place(self, frame: Any, length: float, codec: Any = None) -> float:
        """The file time of a frame that lasts `length` seconds.

        Raises:
            DisorderError: it is a picture before the one before it, and times are not sorted.
        """
        if self._sort and codec is not None and codec.name.startswith(_FIXED_DELAY):
            while len(self._sent) > 1 + bool(codec.has_b_frames):
                heapq.heappop(self._sent)  # of a packet that says: the same picture again
        time = (heapq.heappop(self._sent) if self._sent else None) if self._sort else frame.time
        moment = self.next if time is None else time - self._origin
        self.guessed &= time is None
        if codec is not None and not self._sort and moment < self._latest - _TOLERANCE:
            raise DisorderError(f"a picture at {moment:.2f} s after one at {self._latest:.2f} s")
        self.next, self._latest = moment + length, max(moment, self._latest)
        return moment
