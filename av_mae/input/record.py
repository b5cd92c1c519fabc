"""One record: a clip as a tf.train.Example, read and written without TensorFlow.

The boxes of a clip are four lists of equal length, one row for each label of each box: `box` (four
numbers a row), `box_label`, `box_person` and `box_time`. Rows with the same place, time and person
are one box with several labels. Records of clips without boxes do not have these lists.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

# tensorflow/core/example/{example,feature}.proto: the bytes are the same, and TensorFlow takes
# seconds to load.
_PROTO = """
name: "av_mae/example.proto" package: "av_mae" syntax: "proto3"
message_type { name: "BytesList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "FloatList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT } }
message_type { name: "Int64List"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type_name: "BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 type_name: "FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type_name: "Int64List" oneof_index: 0 } }
message_type { name: "Features"
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type_name: "Feature" } }
  field { name: "feature" number: 1 label: LABEL_REPEATED type_name: "FeatureEntry" } }
message_type { name: "Example"
  field { name: "features" number: 1 type_name: "Features" } }
"""

# Seconds that the difference of two times of a file may be wrong by.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Box:
    """One label of one box: who does what, where in the picture, at one moment of the clip.

    Attributes:
        x1, y1, x2, y2: left, top, right and bottom in shares of the picture's width and height.
        label: index into `Info.labels`.
        person: who it is, the same number all over a video; -1 if that is not known.
        time: seconds on the clip's own clock.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    label: int
    person: int = -1
    time: float = 0.0


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
        boxes: one row for each label of each box.
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
    boxes: tuple[Box, ...] = ()


def encode(clip: Clip) -> bytes:
    """Serialises a clip as a tf.train.Example.

    Raises:
        ValueError: neither frames nor sound, a frame rate that is not positive, sound that is not
            int16 `[s]`, or a box that lies outside of the clip.
    """
    if not clip.frames and not has_sound(clip):
        raise ValueError(f"clip {clip.id!r} has neither a frame nor sound; a record needs one")
    if not clip.fps > 0:
        raise ValueError(f"clip {clip.id!r} has {clip.fps} frames a second, expected more than 0")
    audio = np.empty(0, np.int16) if clip.audio is None else clip.audio
    if audio.dtype != np.int16 or audio.ndim != 1:
        raise ValueError(
            f"clip {clip.id!r} has sound {audio.dtype} {audio.shape}, expected mono int16 [s]"
        )
    if problem := box_problem(clip.boxes, clip.duration):
        raise ValueError(f"clip {clip.id!r} has {problem}")

    strings: dict[str, Sequence[bytes]] = {
        "id": [clip.id.encode()],
        "source": [os.fsencode(clip.source)],
        "frames": clip.frames,
        "audio": [audio.astype("<i2", copy=False).tobytes()],
    }
    floats = {"fps": [clip.fps], "start": [clip.start], "duration": [clip.duration]}
    integers: dict[str, Sequence[int]] = {
        "height": [clip.height],
        "width": [clip.width],
        "has_audio": [int(clip.audio is not None)],
        "label": clip.labels,
    }
    if clip.boxes:
        floats["box"] = [side for b in clip.boxes for side in (b.x1, b.y1, b.x2, b.y2)]
        floats["box_time"] = [box.time for box in clip.boxes]
        integers["box_label"] = [box.label for box in clip.boxes]
        integers["box_person"] = [box.person for box in clip.boxes]

    kinds = {"bytes_list": strings, "float_list": floats, "int64_list": integers}
    features = {
        name: {kind: {"value": values}}
        for kind, lists in kinds.items()
        for name, values in lists.items()
    }
    return _Example(features={"feature": features}).SerializeToString(deterministic=True)


def decode(record: bytes) -> Clip:
    """Inverse of `encode`; floats come back at float32 precision.

    Raises:
        ValueError: the bytes are not a clip.
    """
    try:
        feature = _Example.FromString(record).features.feature
        has_audio = bool(feature["has_audio"].int64_list.value[0])
        audio = np.frombuffer(feature["audio"].bytes_list.value[0], "<i2")
        boxes = zip(
            *[iter(feature["box"].float_list.value)] * 4,
            feature["box_label"].int64_list.value,
            feature["box_person"].int64_list.value,
            feature["box_time"].float_list.value,
            strict=True,
        )
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
            boxes=tuple(Box(*row) for row in boxes),
        )
    except Exception as error:  # protobuf's DecodeError is no ValueError in every implementation
        raise ValueError(f"a record of {len(record)} bytes is not a clip: {error!r}") from error


def has_sound(clip: Clip) -> bool:
    """Whether there is a sound to hear; an empty track is none."""
    return clip.audio is not None and len(clip.audio) > 0


def box_problem(boxes: Sequence[Box], duration: float) -> str:
    """The first box that a clip of this duration cannot have, in words; empty if there is none."""
    for box in boxes:
        if not (0.0 <= box.x1 <= box.x2 <= 1.0 and 0.0 <= box.y1 <= box.y2 <= 1.0):
            return f"the box {box}, expected 0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1"
        if not -_ROUNDING <= box.time <= duration + _ROUNDING:
            return f"a box at {box.time:g} s, expected 0 to {duration:g} s"
    return ""


# The class of the message tf.train.Example.
_pool = descriptor_pool.DescriptorPool()
_pool.Add(text_format.Parse(_PROTO, descriptor_pb2.FileDescriptorProto()))
_Example: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("av_mae.Example"))
