"""AVA's lists: what persons do at key frames, as clips of a few seconds around each of those."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping

from av_mae.prepare import datasets
from av_mae.prepare.lists import library, official
from av_mae.prepare.media import container

AT = "https://research.google.com/ava/download.html"

# Left, top, right and bottom of a box, and the number of the person.
_Place = tuple[float, float, float, float, int]

_ACTION = re.compile(r'name:\s*"(.+?)"\s+(?:label_)?id:\s*(\d+)')
# The annotated quarter of an hour is often cut from the films; nothing else is as short.
_CUT_BEGINS = 900.0
_LONGEST_CUT = 1000.0


def checked(seconds: float) -> float:
    """The length of clips, if it is one.

    Raises:
        ValueError: it is not above 0.
    """
    if not 0.0 < seconds <= 60.0:
        raise ValueError(f"--dataset: seconds is {seconds:g}, expected 0 < seconds <= 60")
    return seconds


def actions(folders: official.Folders, classes: int) -> dict[int, str]:
    """Names of the actions by their numbers, which begin with 1.

    Args:
        classes: 80, or the 60 that are scored, which keep their numbers.

    Raises:
        ValueError: the list is missing or damaged.
    """
    scored = "_for_activitynet_2019" if classes == 60 else ""
    path = folders.file(f"ava_action_list_v2.2{scored}.pbtxt", at=AT)
    found = {int(number): name for name, number in _ACTION.findall(path.read_text())}
    official.unique(found.values(), path)
    if len(found) != classes:
        raise ValueError(f"{path} names {len(found)} actions, not {classes}; get it from {AT}")
    return dict(sorted(found.items()))


def entries(
    path: pathlib.Path, names: Mapping[int, str], split: str, seconds: float
) -> Iterator[datasets.Entry]:
    """A clip for each key frame of a list, on the clock of the whole video.

    Its id is that of official result files, `-5KQ66BBWC4,0902`; its labels are all that somebody
    does in it. Key frames in which nobody does anything of `names` are left out.

    Args:
        seconds: length of the clips; the key frame is in the middle.

    Raises:
        ValueError: a line that is not understood.
    """
    frames: dict[tuple[str, str], dict[_Place, list[str]]] = {}
    for number, line in enumerate(official.lines(path), 1):
        try:
            video, moment, *rest = line.split(",")
            if not any(rest):  # a frame without anybody
                continue
            place, action = _box(rest)
            float(moment)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}, line {number}: {line!r} is no box; get it anew") from error
        frames.setdefault((video, moment), {}).setdefault(place, []).append(names.get(action, ""))
    for (video, moment), boxes in frames.items():
        entry = _entry(video, moment, boxes, split, seconds)
        if entry.boxes:
            yield entry


def _box(cells: list[str]) -> tuple[_Place, int]:
    """Who is where, and the number of what he does; films number their persons."""
    x1, y1, x2, y2 = (min(max(float(cell), 0.0), 1.0) for cell in cells[:4])
    action = int(cells[4])
    if not 1 <= action <= 80:
        raise ValueError
    return (x1, y1, x2, y2, int(cells[5]) if cells[5:] else -1), action


def _entry(
    video: str,
    moment: str,
    boxes: Mapping[_Place, list[str]],
    split: str,
    seconds: float,
) -> datasets.Entry:
    time = float(moment)
    found = []
    for (x1, y1, x2, y2, person), labels in boxes.items():
        known = tuple(dict.fromkeys(name for name in labels if name))
        if known:
            found.append(datasets.Box(x1, y1, x2, y2, time, known, person))
    return datasets.Entry(
        f"{video},{moment}",
        path="",
        source="",
        split=split,
        labels=tuple(dict.fromkeys(name for box in found for name in box.labels)),
        start=max(0.0, time - seconds / 2),
        end=time + seconds / 2,
        boxes=tuple(found),
    )


def video_id(entry: datasets.Entry) -> str:
    return entry.id.rpartition(",")[0]


def movies(folders: official.Folders, names: Mapping[int, str], seconds: float) -> datasets.Listing:
    """The clips of AVA 2.2 that are not excluded, in whole films or in quarters of an hour.

    Raises:
        ValueError: a list is missing or damaged.
    """
    wanted, refused = [], []
    for split in ("train", "val"):
        without = folders.file(f"ava_{split}_excluded_timestamps_v2.2.csv", at=AT)
        excluded = {_frame(line, without) for line in official.lines(without)}
        path = folders.file(f"ava_{split}_v2.2.csv", at=AT)
        for entry in entries(path, names, split, seconds):
            video = video_id(entry)
            if _frame(entry.id, path) in excluded:
                refused.append(datasets.Refused(entry.id, video, f"excluded: in {without.name}"))
            else:
                wanted.append(library.Wanted(entry, (), video))
    listing = library.Library(folders.media).listing(wanted, labels=tuple(names.values()))
    return dataclasses.replace(
        listing, entries=_in_cuts(listing.entries), refused=(*listing.refused, *refused)
    )


def moved(entry: datasets.Entry, seconds: float) -> datasets.Entry:
    """The clip in a file that begins `seconds` into the video."""
    assert entry.start is not None and entry.end is not None
    return dataclasses.replace(
        entry,
        start=max(0.0, entry.start - seconds),
        end=entry.end - seconds,
        boxes=tuple(dataclasses.replace(box, time=box.time - seconds) for box in entry.boxes),
    )


def _in_cuts(found: tuple[datasets.Entry, ...]) -> tuple[datasets.Entry, ...]:
    """The clips on the clocks of their files, of which some are not the whole film."""
    cuts = {path for path in {entry.path for entry in found} if _length(path) <= _LONGEST_CUT}
    return tuple(moved(e, _CUT_BEGINS) if e.path in cuts else e for e in found)


def _length(path: str) -> float:
    """Seconds that a file announces; infinity where it does not, or cannot be opened."""
    limits = container.DEFAULT_LIMITS
    try:
        with container.open_media(path, limits) as file:
            video, _ = container.streams(file, "video", limits)
            return container.announced_seconds(file, video)
    except container.UnreadableError:
        return float("inf")  # its clips are rejected when they are read


def _frame(text: str, path: pathlib.Path) -> tuple[str, float]:
    """Video and second of `-5KQ66BBWC4,0902`."""
    video, _, moment = text.rpartition(",")
    return video, official.seconds(moment, path)
