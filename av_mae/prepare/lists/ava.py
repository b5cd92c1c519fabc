"""AVA's lists: actions of persons at key frames, as clips of a few seconds around each of them."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Box, Entry, Listing, Refused
from av_mae.prepare.media import container

AT = "https://research.google.com/ava/download.html"

_ACTION = re.compile(r'name:\s*"(.+?)"\s+(?:label_)?id:\s*(\d+)')
# The annotated quarter of an hour is often cut from the movies; nothing else is as short.
_CUT_BEGINS = 900.0
_LONGEST_CUT = 1000.0


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
    official.labels(found.items(), path)
    if len(found) != classes:
        raise ValueError(f"{path} names {len(found)} actions, not {classes}; get it from {AT}")
    return dict(sorted(found.items()))


def key_frames(
    path: pathlib.Path, names: Mapping[int, str], split: str, seconds: float
) -> Iterator[Entry]:
    """A clip for each key frame of a list, on the clock of the whole video.

    Its id is that of official result files, `-5KQ66BBWC4,0902`; its labels are all actions in it.
    Key frames without an action of `names` are left out.

    Args:
        seconds: length of the clips; the key frame is in the middle.

    Raises:
        ValueError: `seconds` is no length, or a line is not understood.
    """
    if not 0.0 < seconds <= 60.0:
        raise ValueError(f"--dataset: seconds is {seconds:g}, expected 0 < seconds <= 60")
    # {video and second: {box and person: its actions}}
    frames: dict[tuple[str, float, str], dict[tuple[float, ...], list[str]]] = {}
    for number, line in enumerate(official.lines(path), 1):
        try:
            video, moment, *cells = line.split(",")
            if not any(cells):  # a frame without anybody
                continue
            frame = frames.setdefault((video, float(moment), moment), {})
            corners = [min(max(float(cell), 0.0), 1.0) for cell in cells[:4]]
            person = int(cells[5]) if cells[5:] else -1  # only movies number their persons
            action = int(cells[4])
            if not 1 <= action <= 80:
                raise ValueError
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}, line {number}: {line!r} is no box; get it anew") from error
        frame.setdefault((*corners, person), []).append(names.get(action, ""))

    for (video, time, moment), found in frames.items():
        boxes = []
        for (x1, y1, x2, y2, person), acts in found.items():
            known = tuple(dict.fromkeys(name for name in acts if name))
            if known:
                boxes.append(Box(x1, y1, x2, y2, time, known, int(person)))
        if boxes:
            labels = tuple(dict.fromkeys(name for box in boxes for name in box.labels))
            start, end = max(0.0, time - seconds / 2), time + seconds / 2
            yield Entry(f"{video},{moment}", "", "", split, labels, start, end, boxes=tuple(boxes))


def movies(folders: official.Folders, names: Mapping[int, str], seconds: float) -> Listing:
    """The clips of AVA 2.2 that are not excluded, in whole movies or in quarters of an hour.

    Raises:
        ValueError: a list is missing or damaged.
    """
    wanted, refused = [], []
    for split in ("train", "val"):
        without = folders.file(f"ava_{split}_excluded_timestamps_v2.2.csv", at=AT)
        excluded = {_video_and_second(line, without) for line in official.lines(without)}
        path = folders.file(f"ava_{split}_v2.2.csv", at=AT)
        for entry in key_frames(path, names, split, seconds):
            video, second = _video_and_second(entry.id, path)
            if (video, second) in excluded:
                refused.append(Refused(entry.id, video, f"excluded: in {without.name}"))
            else:
                wanted.append(library.Wanted(entry, (), video))
    listing = library.Library(folders.media).listing(wanted, labels=tuple(names.values()))
    cuts = {path for path in {entry.path for entry in listing.entries} if _is_cut(path)}
    entries = tuple(moved(e, _CUT_BEGINS) if e.path in cuts else e for e in listing.entries)
    return dataclasses.replace(listing, entries=entries, refused=(*listing.refused, *refused))


def moved(entry: Entry, seconds: float) -> Entry:
    """The clip in a file that begins `seconds` into the video."""
    assert entry.start is not None and entry.end is not None
    return dataclasses.replace(
        entry,
        start=max(0.0, entry.start - seconds),
        end=entry.end - seconds,
        boxes=tuple(dataclasses.replace(box, time=box.time - seconds) for box in entry.boxes),
    )


def _is_cut(path: str) -> bool:
    """Whether a file announces the length of a quarter of an hour, not of a whole movie."""
    limits = container.DEFAULT_LIMITS
    try:
        with container.open_media(path, limits) as file:
            video, _ = container.streams(file, "video", limits)
            seconds = container.announced_seconds(file, video)
    except container.UnreadableError:
        return False  # its clips are rejected when they are read
    return seconds <= _LONGEST_CUT


def _video_and_second(text: str, path: pathlib.Path) -> tuple[str, float]:
    """`-5KQ66BBWC4,0902` taken apart: the id of a key frame, or a line of excluded ones."""
    video, _, moment = text.rpartition(",")
    return video, official.seconds(moment, path)
