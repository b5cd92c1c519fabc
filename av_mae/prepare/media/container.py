"""Opens one media file by its content and finds in it what a clip is made of."""

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import stat
from collections.abc import Iterator
from typing import Any, Literal

import av
import av.error
import av.format
from av.stream import Disposition

Kind = Literal["video", "sound", "any"]

_COVER = Disposition.attached_pic | Disposition.timed_thumbnails

# Formats of libavformat that open other files and addresses, or run scripts; it opens no others.
_REFERRING = {
    "concat", "hls", "dash", "webm_dash_manifest", "imf", "sdp", "rtp", "rtsp", "sap", "vobsub",
    "image2", "lavfi", "avisynth", "vapoursynth", "dvdvideo",
}  # fmt: skip
_OPENED = ",".join(sorted(av.formats_available - _REFERRING))
# How such files, and other lists, begin; and names that stand for numbered pictures.
_LISTS = {
    "m3u8": rb"\s*#EXT", "ffconcat": rb"ffconcat", "DASH": rb".*<MPD\b", "sdp": rb"v=0\s",
    "Smooth Streaming": rb".*<SmoothStreamingMedia\b", "pls": rb"(?i)\s*\[playlist\]",
    "asx": rb"(?i).*<asx\b", "asf": rb"(?i)\s*\[reference\]", "VobSub": rb"# VobSub",
}  # fmt: skip
_NUMBERED = re.compile(r"%\d*d")
_START = 1024  # bytes that show which list a file is
# Formats that draw pictures from text.
_NO_VIDEO = {"tty", "bin", "xbin", "adf", "idf"}
# Rates above this are the tick of a container, not frames a second.
_FASTEST = 240.0
_USUAL_FPS = 25.0


class UnreadableError(ValueError):
    """A file that gives no clip; the message is the reason, its kind before the first colon."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one file may cost.

    Attributes:
        pixels: of one decoded frame.
        frames: bytes of all frames that are kept as arrays, one as often as it is shown.
        seconds: length of the clip.
        patience: wall-clock seconds spent on it.
        fetched: bytes of a remote file.
        memory: bytes that the process which decodes it may occupy; None is any.
    """

    pixels: int = 8192 * 8192
    frames: float = math.inf
    seconds: float = 600.0
    patience: float = 300.0
    fetched: int = 8 * 2**30
    memory: int | None = None


DEFAULT_LIMITS = Limits()


@contextlib.contextmanager
def open_media(path: str | os.PathLike[str], limits: Limits) -> Iterator[Any]:
    """Opens by content; nothing but this one file can be reached from it.

    Raises:
        UnreadableError: no such file, or not a media file.
    """
    check_file(path)
    _refuse_list(path)
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _OPENED,
        "max_pixels": str(limits.pixels),
    }
    try:
        file = "file:" + os.fspath(pathlib.Path(path))
        limit = None if limits.patience == math.inf else limits.patience
        container = av.open(file, options=options, metadata_errors="replace", timeout=limit)
    except av.error.ExitError as error:
        raise too_slow(limits) from error
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or error
        if _NUMBERED.search(os.path.basename(path)):
            reason = "its name stands for numbered pictures; rename it, or give their folder"
        raise UnreadableError(f"not a media file: {reason}") from error
    try:
        formats = set(container.format.name.split(","))
        if formats & _NO_VIDEO or container.format.name.endswith("_pipe"):
            raise UnreadableError(f"not a video or sound: {container.format.name}")
        yield container
    except av.error.ExitError as error:
        raise too_slow(limits) from error
    finally:
        container.close()


def _refuse_list(path: str | os.PathLike[str]) -> None:
    """Raises UnreadableError for a file that stands for others."""
    with open(path, "rb") as file:
        start = file.read(_START).removeprefix(b"\xef\xbb\xbf")
    for name, begins in _LISTS.items():
        if re.match(begins, start, re.DOTALL):
            raise UnreadableError(
                f"not a media file: a list of other files ({name}), which are not opened; give "
                "them instead"
            )


def streams(container: Any, kind: Kind, limits: Limits) -> tuple[Any, Any]:
    """(video stream, audio stream), ready to decode within the limits; None for one not needed.

    Args:
        kind: a video has pictures, with or without sound; of sound no pictures are taken; any
            takes what there is.

    Raises:
        UnreadableError: the file lacks what the kind needs.
    """
    video = None if kind == "sound" else _best(container, "video")
    audio = _best(container, "audio")
    if kind == "video" and video is None:
        raise UnreadableError("no video stream")
    if video is None and audio is None:
        if kind == "sound":
            raise UnreadableError("no sound: there is no audio stream")
        raise UnreadableError("neither pictures nor sound in it")
    if video is not None:
        context = video.codec_context
        check_pixels(context.width, context.height, limits)
        # Clips are decoded in parallel; threads inside one would multiply the frames in memory.
        context.thread_count = 1
        context.options = {"max_pixels": str(limits.pixels)}
    return video, audio


def _best(container: Any, kind: str) -> Any:
    """The best stream of a kind that can be decoded and is no cover picture."""
    found = [s for s in container.streams if s.type == kind and not s.disposition & _COVER]
    found = [s for s in found if s.codec_context is not None]
    best = container.streams.best(kind)
    return best if best in found else next(iter(found), None)


def frame_rate(video: Any) -> float:
    """Frames a second of a video stream, for where its frames do not say how long they are."""
    # Streams without time stamps have a made-up average; there the codec's own rate comes first.
    rates = (video.average_rate, video.guessed_rate)
    if video.start_time is None:
        rates = (video.codec_context.framerate, *rates)
    return next((float(r) for r in rates if r and 0 < r <= _FASTEST), _USUAL_FPS)


def origin(container: Any) -> float:
    """The time stamp in seconds at which the clock of the file starts."""
    return (container.start_time or 0) / av.time_base


def can_seek(container: Any) -> bool:
    """Whether one time stamp is at one place; where they may start again, another may have it."""
    return not container.format.flags & av.format.Flags.ts_discont.value


def has_decoding_times_only(container: Any) -> bool:
    """Whether the presentation times of a file are guesses of libavformat."""
    return container.format.name in ("avi", "asf")


def another_follows(container: Any) -> bool:
    """Whether the file holds a second recording behind the first that libavformat does not read."""
    kinds, end = container.format.name.split(","), os.path.getsize(container.name[5:])
    with open(container.name[5:], "rb") as file:
        if kinds[0] == "wav":
            file.seek(8 + int.from_bytes(file.read(8)[4:], "little"))
            return file.read(5).lstrip(b"\0")[:4] == b"RIFF"  # chunks have an even size
        if "mp4" not in kinds:
            return False
        place, movies = 0, 0
        while place < end and movies < 2:
            file.seek(place)
            head = file.read(16)
            size = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4], "big")
            movies += head[4:8] == b"moov"
            place += size if size >= 8 else end
        return movies > 1


def announced_seconds(container: Any, stream: Any = None) -> float:
    """Where the header says that a file or its stream ends, seconds of the file.

    Infinity where it does not say so; what libavformat estimates from time stamps that may start
    again is none.
    """
    if not can_seek(container):
        return math.inf
    if stream is not None and stream.type == "audio":
        if stream.duration is None:
            return math.inf
        end = ((stream.start_time or 0) + stream.duration) * stream.time_base
        return float(end) - origin(container)
    duration = (container.duration or 0) / av.time_base
    if container.format.name == "avi" and stream is not None:
        # libavformat shortens the duration of a cut AVI; the header still counts its frames.
        duration = max(duration, stream.frames / frame_rate(stream))
    return duration if duration > 0 else math.inf


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """Raises UnreadableError for a picture with more pixels than the limit."""
    if width * height > limits.pixels:
        raise UnreadableError(f"too many pixels: {width}x{height}, limit {limits.pixels:,}")


def too_long(seconds: float) -> UnreadableError:
    """The error of a clip that lasts longer than the limit."""
    advice = "raise the limit or give start and end"
    return UnreadableError(f"too long: longer than {seconds:g} s; {advice}")


def too_large(limits: Limits) -> UnreadableError:
    advice = "give fps, short_side, or a part (start and end; --start, --end)"
    return UnreadableError(
        f"too large: the frames need more than {limits.frames / 1e9:.1f} GB; {advice}"
    )


def too_slow(limits: Limits) -> UnreadableError:
    """The error of a file that took longer to decode than the limit."""
    return UnreadableError(f"took too long: more than {limits.patience:g} s")


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuses what is no file with something in it, such as a pipe, which would wait for ever."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(f"file not found: {reason}") from error
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableError("a folder, not a file: extracted frames are read with kind=frames")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("not a regular file")
    if not status.st_size:
        raise UnreadableError("empty file")
