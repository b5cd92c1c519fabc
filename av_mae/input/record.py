"""One record: a clip as a tf.train.Example."""

import dataclasses
import os

import numpy as np

from av_mae.input import boxes as boxes_lib
from av_mae.input import features


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip on its own clock: frame i is shown at i / fps, sound sample s at s / 16000 seconds.

    Attributes:
        id: unique in the data set.
        source: path of the media file, as given to the preparation.
        frames: JPEG pictures, all `height` x `width`; none where there is only sound.
        audio: int16 `[s]`, mono at 16 kHz; None where the source has no sound.
        start: where t = 0 of the clip lies in the source, seconds.
        duration: seconds.
        labels: indices into `Info.labels`.
        boxes: one row for each label of each box; see `av_mae.input.boxes`.
    """

    id: str
    source: str
    frames: tuple[bytes, ...]
    fps: float
    height: int
    width: int
    audio: np.ndarray | None
    start: float
    duration: float
    labels: tuple[int, ...]
    boxes: tuple[boxes_lib.Box, ...] = ()


def encode(clip: Clip) -> bytes:
    """Serialises a clip as a tf.train.Example.

    Raises:
        ValueError: neither frames nor sound, a frame rate that is not positive, sound that is not
            int16 `[s]`, or a box that lies outside of the clip.
    """
    audio = clip.audio
    if not clip.frames and not has_sound(clip):
        raise ValueError(f"clip {clip.id!r} has neither a frame nor sound; a record needs one")
    if not clip.fps > 0:
        raise ValueError(f"clip {clip.id!r} has {clip.fps} frames a second, expected more than 0")
    if audio is not None and (audio.dtype != np.int16 or audio.ndim != 1):
        raise ValueError(
            f"clip {clip.id!r} has sound {audio.dtype} {audio.shape}, expected mono int16 [s]"
        )
    problem = boxes_lib.problem(clip.boxes, clip.duration)
    if problem:
        raise ValueError(f"clip {clip.id!r} has {problem}")

    sound = b"" if audio is None else audio.astype("<i2", copy=False).tobytes()
    feature = {
        "id": features.strings([clip.id.encode()]),
        "source": features.strings([os.fsencode(clip.source)]),
        "frames": features.strings(clip.frames),
        "fps": features.floats([clip.fps]),
        "height": features.integers([clip.height]),
        "width": features.integers([clip.width]),
        "audio": features.strings([sound]),
        "has_audio": features.integers([int(clip.audio is not None)]),
        "start": features.floats([clip.start]),
        "duration": features.floats([clip.duration]),
        "label": features.integers(clip.labels),
    } | boxes_lib.encode(clip.boxes)
    example = features.Example(features=features.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def decode(record: bytes) -> Clip:
    """Inverse of `encode`; floats come back at float32 precision.

    Raises:
        ValueError: the bytes are not a clip.
    """
    try:
        feature = features.Example.FromString(record).features.feature
        has_audio = bool(feature["has_audio"].int64_list.value[0])
        audio = np.frombuffer(feature["audio"].bytes_list.value[0], "<i2")
        return Clip(
            id=feature["id"].bytes_list.value[0].decode(),
            source=os.fsdecode(feature["source"].bytes_list.value[0]),
            frames=tuple(feature["frames"].bytes_list.value),
            fps=feature["fps"].float_list.value[0],
            height=feature["height"].int64_list.value[0],
            width=feature["width"].int64_list.value[0],
            audio=audio if has_audio else None,
            start=feature["start"].float_list.value[0],
            duration=feature["duration"].float_list.value[0],
            labels=tuple(feature["label"].int64_list.value),
            boxes=boxes_lib.decode(feature),
        )
    except Exception as error:  # protobuf's DecodeError is no ValueError in every implementation
        raise ValueError(f"a record of {len(record)} bytes is not a clip: {error!r}") from error


def has_sound(clip: Clip) -> bool:
    """Whether there is a sound to hear; an empty track is none."""
    return clip.audio is not None and len(clip.audio) > 0
