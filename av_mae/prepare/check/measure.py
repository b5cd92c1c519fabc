"""Measures one record: length, size, loudness, digests of its content, and what is wrong."""

import contextlib
import hashlib
import io
import os
import pathlib

import numpy as np
from PIL import Image

from av_mae.input import record, records
from av_mae.prepare.check.findings import Findings

# One row a clip, about 110 bytes: what is kept of all clips at once.
COLUMNS = np.dtype(
    [
        ("id", "u8"),  # digests, to find duplicates; 0 = nothing to compare
        ("source", "u8"),
        ("pictures", "u8"),
        ("sound", "u8"),
        ("content", "u8"),
        ("look", "u8", (3,)),  # hashes of pictures that are not flat
        ("start", "f4"),  # seconds in the source
        ("duration", "f4"),  # seconds
        ("frames", "i4"),
        ("fps", "f4"),
        ("height", "i4"),
        ("width", "i4"),
        ("samples", "i4"),  # 0 = no sound
        ("rms", "f4"),  # dBFS; -inf = digital silence, NaN = no sound
        ("peak", "f4"),
        ("clipped", "f4"),  # share of samples at full scale
        ("before", "f4"),  # seconds of digital silence before the first sound
        ("boxes", "i4"),  # labels of boxes
        ("still", "?"),  # every frame is the same
    ]
)

# Where in a clip the frames are taken that are decoded and compared with those of other clips,
# and where others instead of those that are flat, as in a fade.
_MOMENTS = (1 / 6, 1 / 2, 5 / 6)
_OTHERS = tuple((2 * i + 1) / 24 for i in range(12))
# A picture with fewer rising or falling places than this is nearly flat, and looks like any.
_LEAST_CHANGES = 8
_FULL_SCALE = 32767


def row(
    clip: record.Clip, file: pathlib.Path, labels: int, every_frame: bool, found: Findings
) -> np.ndarray:
    """A row of `COLUMNS`; what is wrong with the clip is added to `found`.

    Args:
        file: the shard that the clip is in, for messages.
        labels: number of label names of the data set.
        every_frame: decode all pictures, not three.
    """
    where = f"{file}: clip {clip.id!r}"
    named = (*clip.labels, *(box.label for box in clip.boxes))
    unknown = [label for label in named if not 0 <= label < labels]
    if unknown:
        found.add("unknown label", f"{where}: label {unknown[0]}, there are {labels}")
    if not clip.frames and not record.has_sound(clip):
        found.add("impossible clip", f"{where} has neither pictures nor sound")
    for value, unit in ((clip.fps, "frames a second"), (clip.duration, "seconds long")):
        if not (value > 0 and np.isfinite(value)):
            found.add("impossible clip", f"{where}: {value} {unit}")

    values = np.zeros((), COLUMNS)
    values["id"], values["source"] = _digest(clip.id.encode()), _digest(os.fsencode(clip.source))
    values["start"], values["duration"] = clip.start, clip.duration
    values["fps"], values["height"], values["width"] = clip.fps, clip.height, clip.width
    values["frames"], values["boxes"] = len(clip.frames), len(clip.boxes)
    _sound(values, clip.audio)
    if clip.frames:
        values["still"] = len(clip.frames) > 1 and len(set(clip.frames)) == 1
        look = _look(clip, where, every_frame, found)
        values["look"][: len(look)] = look
        # One flat picture all the time, as of black, is like that of any other clip.
        has_content = bool(look) or len(set(clip.frames)) > 1
        values["pictures"] = _digest(*clip.frames) if has_content else 0
    if values["pictures"] or values["sound"]:
        values["content"] = _digest(*clip.frames, b"|", values["sound"].tobytes())
    return values


def sound_excess(rows: np.ndarray) -> np.ndarray:
    """Seconds by which the sound of each clip is longer than its pictures."""
    return rows["samples"] / records.SAMPLE_RATE - rows["frames"] / np.maximum(rows["fps"], 1e-6)


def _digest(*parts: bytes) -> int:
    """64 bits of a hash, never 0."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(part)
    return int.from_bytes(state.digest(), "little") or 1


def _sound(values: np.ndarray, wave_s: np.ndarray | None) -> None:
    if wave_s is None or not len(wave_s):
        values["rms"] = values["peak"] = np.nan
        return
    magnitude_s = np.abs(wave_s.astype(np.float32))
    loud = np.flatnonzero(wave_s)
    values["samples"] = len(wave_s)
    values["sound"] = _digest(wave_s.tobytes()) if len(loud) else 0
    with np.errstate(divide="ignore"):
        values["rms"] = 10 * np.log10(np.mean(np.square(magnitude_s)) / 32768**2)
        values["peak"] = 20 * np.log10(magnitude_s.max() / 32768)
    values["clipped"] = np.mean(magnitude_s >= _FULL_SCALE)
    values["before"] = (loud[0] if len(loud) else len(wave_s)) / records.SAMPLE_RATE


def _look(clip: record.Clip, where: str, every_frame: bool, found: Findings) -> list[int]:
    """Difference hashes of up to three pictures that are not flat, at moments that depend on these.

    Every picture should be a complete JPEG of the size that the record says.
    """
    last = len(clip.frames) - 1
    moments = list(dict.fromkeys(min(int(m * len(clip.frames)), last) for m in _MOMENTS))
    hashes = {}
    for number, frame in enumerate(clip.frames):
        wrong = ""
        try:
            picture = Image.open(io.BytesIO(frame))
        except OSError:  # its message would show an address in memory
            found.add("broken picture", f"{where}, frame {number}: not a picture")
            continue
        if picture.format != "JPEG":
            wrong = f"{picture.format}, expected JPEG"
        elif picture.size != (clip.width, clip.height):
            wide, high = picture.size
            wrong = f"{wide} x {high} pixels, the record says {clip.width} x {clip.height}"
        elif not frame.endswith(b"\xff\xd9"):
            wrong = "it has no end"
        try:
            if number in moments:
                hashes[number] = _hash(picture, draft=not every_frame)
            elif every_frame:
                picture.load()
        except (OSError, SyntaxError) as error:
            wrong = wrong or str(error)
        if wrong:
            found.add("broken picture", f"{where}, frame {number}: {wrong}")
    look = [hashes[number] for number in moments if hashes.get(number)]
    for number in dict.fromkeys(min(int(m * len(clip.frames)), last) for m in _OTHERS):
        if len(look) < len(moments) and number not in hashes:
            with contextlib.suppress(OSError, SyntaxError):  # which are found with all pictures
                picture = Image.open(io.BytesIO(clip.frames[number]))
                look += filter(None, [_hash(picture, draft=not every_frame)])
    return look


def _hash(picture: Image.Image, *, draft: bool) -> int:
    """64 bits: where brightness rises from cell to cell of an 8 x 9 grid; 0 if nearly flat."""
    if draft:
        picture.draft("L", (64, 64))
    picture.load()
    grid = picture.convert("L").resize((9, 8), Image.Resampling.BOX)
    rising_88 = np.diff(np.asarray(grid, np.int16), axis=1) > 0
    flat = min(rising_88.sum(), 64 - rising_88.sum()) < _LEAST_CHANGES
    return 0 if flat else int.from_bytes(np.packbits(rising_88).tobytes(), "big")
