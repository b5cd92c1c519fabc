"""Boxes of a record: who does what, where in the picture, at one moment of the clip.

In a record they are four lists of equal length, one row for each label of each box: `box` (four
numbers a row), `box_label`, `box_person` and `box_time`. Rows with the same place, time and person
are one box with several labels. Records of clips without boxes do not have these lists.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from av_mae.input import features

# Seconds that the difference of two times of a file may be wrong by.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Box:
    """One label of one box.

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


def encode(boxes: Sequence[Box]) -> dict[str, Any]:
    """The features of a clip's boxes; none for a clip without."""
    if not boxes:
        return {}
    return {
        "box": features.floats(side for box in boxes for side in (box.x1, box.y1, box.x2, box.y2)),
        "box_label": features.integers(box.label for box in boxes),
        "box_person": features.integers(box.person for box in boxes),
        "box_time": features.floats(box.time for box in boxes),
    }


def decode(found: Mapping[str, Any]) -> tuple[Box, ...]:
    """Inverse of `encode`; floats come back at float32 precision."""
    if "box" not in found:
        return ()
    sides = iter(found["box"].float_list.value)
    places = zip(sides, sides, sides, sides, strict=True)
    labels = found["box_label"].int64_list.value
    people = found["box_person"].int64_list.value
    times = found["box_time"].float_list.value
    rows = zip(places, labels, people, times, strict=True)
    return tuple(Box(*place, label, person, time) for place, label, person, time in rows)


def problem(boxes: Sequence[Box], duration: float) -> str:
    """What cannot be about the boxes of a clip; empty if all is well."""
    for box in boxes:
        if not (0.0 <= box.x1 <= box.x2 <= 1.0 and 0.0 <= box.y1 <= box.y2 <= 1.0):
            return f"the box {box}, expected 0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1"
        if not -_ROUNDING <= box.time <= duration + _ROUNDING:
            return f"a box at {box.time:g} s, expected 0 to {duration:g} s"
    return ""
