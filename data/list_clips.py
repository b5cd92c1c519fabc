"""Writes the csv that `python -m av_mae.prepare --dataset=csv` reads, from a data set's own lists.

    python data/list_clips.py vggsound --lists=DIR --videos=DIR --out=vggsound.csv

Clips that a list names and the folder lacks are counted and left out: what cannot be downloaded any
more is the usual case. See data/<data set>/README.md for what --lists and --videos hold.
"""

import argparse
import csv
import json
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator

MEDIA = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".mpg", ".mpeg", ".m4v"}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

# path, labels, split, start, end: the last two only where the file holds more than the clip.
Row = tuple[str, str, str, str, str]


def main() -> None:
    options = _options()
    expected, rows = 0, []
    for row in SOURCES[options.source](options):
        expected += 1
        rows += [row] if row else []
    if not rows:
        sys.exit(f"error: none of {expected:,} listed clips is in {options.videos}")
    with open(options.out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "start", "end"])
        writer.writerows(rows)
    splits = [row[2] for row in rows]
    counts = ", ".join(f"{splits.count(name):,} {name}" for name in dict.fromkeys(splits))
    print(f"{expected:,} listed, {len(rows):,} found ({counts}); wrote {options.out}")


def audioset(options: argparse.Namespace) -> Iterator[Row | None]:
    """Google's segment lists; label names in index order go to --labels_out."""
    with open(options.lists / "class_labels_indices.csv", newline="") as file:
        names = {row["mid"]: row["display_name"] for row in csv.DictReader(file)}
    if options.labels_out:
        options.labels_out.write_text("\n".join(names.values()) + "\n")
    wanted = set(options.ids.read_text().split()) if options.ids else None
    videos = _by_stem(options.videos)
    lists = {"balanced_train": "train", "unbalanced_train": "train", "eval": "test"}
    for name, split in lists.items():
        with open(options.lists / f"{name}_segments.csv", newline="") as file:
            for row in csv.reader(file, skipinitialspace=True):
                if row[0].startswith("#") or (split == "train" and wanted and row[0] not in wanted):
                    continue
                labels = ";".join(names[mid] for mid in row[3].split(","))
                yield _segment(videos, row[0], float(row[1]), float(row[2]), labels, split)


def vggsound(options: argparse.Namespace) -> Iterator[Row | None]:
    """vggsound.csv of the authors: YouTube id, start second, label, split."""
    videos = _by_stem(options.videos)
    with open(options.lists / "vggsound.csv", newline="") as file:
        for youtube, start, label, split in csv.reader(file):
            yield _segment(videos, youtube, float(start), float(start) + 10, label, split)


def ucf101(options: argparse.Namespace) -> Iterator[Row | None]:
    """Official split 1. Groups 8 to 10 of its training list become `val`, unless --no_val."""
    for name, split in (("trainlist01.txt", "train"), ("testlist01.txt", "test")):
        lines = (options.lists / name).read_text().splitlines()
        for path in (line.split()[0] for line in lines if line.strip()):
            group = int(path.partition("_g")[2][:2])
            held_out = split == "train" and group in (8, 9, 10) and not options.no_val
            found = (options.videos / path).is_file()
            row = (path, path.partition("/")[0], "val" if held_out else split, "", "")
            yield row if found else None


def kinetics400(options: argparse.Namespace) -> Iterator[Row | None]:
    """DeepMind's lists: label, YouTube id, start and end second, split. Its test list stays out."""
    videos = _by_stem(options.videos)
    validation = _first(options.lists, "validate.csv", "val.csv")
    for path, split in ((options.lists / "train.csv", "train"), (validation, "val")):
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                start, end = float(row["time_start"]), float(row["time_end"])
                yield _segment(videos, row["youtube_id"], start, end, row["label"], split)


def ssv2(options: argparse.Namespace) -> Iterator[Row | None]:
    """20BN's lists; a class is a template, without the brackets around what is filled in."""
    prefix = "something-something-v2-"
    names = json.loads(_first(options.lists, "labels.json", prefix + "labels.json").read_text())
    if options.labels_out:
        options.labels_out.write_text("\n".join(sorted(names, key=lambda n: int(names[n]))) + "\n")
    videos = _by_stem(options.videos)
    for name, split in (("train.json", "train"), ("validation.json", "val")):
        for clip in json.loads(_first(options.lists, name, prefix + name).read_text()):
            label = clip["template"].replace("[", "").replace("]", "")
            found = videos.get(clip["id"])
            yield (str(found), label, split, "", "") if found else None


def hmdb51(options: argparse.Namespace) -> Iterator[Row | None]:
    """Official split 1. A tenth of the videos that its training clips come from become `val`,
    unless --no_val."""
    splits = {"1": "train", "2": "test"}  # 0: in neither
    for file in sorted(options.lists.glob("*_test_split1.txt")):
        label = file.name.removesuffix("_test_split1.txt")
        words = file.read_text().split()
        for name, number in zip(words[::2], words[1::2], strict=True):
            if number not in splits:
                continue
            source = name.partition(f"_{label}_")[0]
            held_out = number == "1" and zlib.crc32(source.encode()) % 10 == 0
            split = "val" if held_out and not options.no_val else splits[number]
            found = (options.videos / label / name).is_file()
            yield (f"{label}/{name}", label, split, "", "") if found else None


def grid(options: argparse.Namespace) -> Iterator[Row | None]:
    """The digit, the fifth character of a file's name; clips with the same first four stay
    together, in the split that splits.csv gives them."""
    with open(pathlib.Path(__file__).parent / "grid" / "splits.csv", newline="") as file:
        splits = {row["group"]: row["split"] for row in csv.DictReader(file)}
    for stem, path in sorted(_by_stem(options.videos).items()):
        digit = stem[4:5].replace("z", "0")
        known = stem[:4] in splits and digit.isdigit()
        yield (str(path), DIGITS[int(digit)], splits[stem[:4]], "", "") if known else None


SOURCES: dict[str, Callable[[argparse.Namespace], Iterator[Row | None]]] = {
    "audioset": audioset,
    "vggsound": vggsound,
    "ucf101": ucf101,
    "kinetics400": kinetics400,
    "ssv2": ssv2,
    "hmdb51": hmdb51,
    "grid": grid,
}


def _segment(
    videos: dict[str, pathlib.Path],
    youtube: str,
    start: float,
    end: float,
    labels: str,
    split: str,
) -> Row | None:
    """A ten-second clip, as a file of its own or as a part of the whole video."""
    seconds, thousandths = f"{start:g}", f"{start * 1000:.0f}"
    for cut in (f"{youtube}_{start:06.0f}", f"{youtube}_{seconds}", f"{youtube}_{start:.3f}",
                f"{youtube}_{thousandths}", f"{youtube}_{thousandths}_{end * 1000:.0f}",
                f"{youtube}_{seconds}_{end:g}",
                f"{youtube}_{start:06.0f}_{end:06.0f}"):  # fmt: skip
        if cut in videos:
            return (str(videos[cut]), labels, split, "", "")
    if youtube in videos:
        return (str(videos[youtube]), labels, split, seconds, f"{end:g}")
    return None


def _first(folder: pathlib.Path, *names: str) -> pathlib.Path:
    """The first of several names that a list goes by which is in the folder."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    sys.exit(f"error: {folder} holds none of {', '.join(names)}")


def _by_stem(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Media files below a folder by name without suffix; paths relative to the folder."""
    files = [file for file in folder.rglob("*") if file.suffix.lower() in MEDIA]
    if not files:
        sys.exit(f"error: no media files below {folder}")
    return {file.stem: file.relative_to(folder) for file in files}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("--lists", type=pathlib.Path, help="folder of the official lists")
    parser.add_argument("--videos", type=pathlib.Path, required=True, help="folder of the media")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="csv to write")
    parser.add_argument(
        "--ids", type=pathlib.Path, help="audioset: only these train on; one a line"
    )
    parser.add_argument("--labels_out", type=pathlib.Path, help="audioset, ssv2: names by index")
    parser.add_argument("--no_val", action="store_true", help="ucf101, hmdb51: all of split 1")
    options = parser.parse_args()
    if options.source != "grid" and not (options.lists and options.lists.is_dir()):
        parser.error(f"--lists={options.lists} is not a folder; {options.source} needs its lists")
    return options


if __name__ == "__main__":
    main()
