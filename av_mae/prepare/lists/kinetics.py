"""Kinetics of any size: DeepMind's lists, and pieces of YouTube videos however they are kept."""

import pathlib
from collections.abc import Iterator, Mapping

from av_mae.prepare import datasets
from av_mae.prepare.lists import library, official

_AT = "https://github.com/cvdfoundation/kinetics-dataset"


def listing(
    classes: int,
    source: str,
    options: datasets.Options,
    *,
    test: bool,
    whole: bool,
    published: Mapping[str, int],
) -> datasets.Listing:
    """Lists the clips of train.csv and val.csv (or validate.csv), and of test.csv if asked for.

    Labels are in the alphabetical order of their names, as every program indexes them; all of them
    come from the training list, however few clips are there.

    Args:
        published: numbers of clips by list; empty where they are not known.

    Raises:
        ValueError: a list is missing or of another Kinetics, or none of its clips is there.
    """
    folders = official.Folders.of(source, options.media)
    lists = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
    if not test:
        del lists["test"]
    entries: list[datasets.Entry] = []
    labels: set[str] = set()
    for split, spellings in lists.items():
        path = folders.file(*_file_names(classes, spellings), at=_AT)
        listed = list(_entries(path, split))
        labels.update(name for entry in listed for name in entry.labels)
        if len(labels) > classes:
            raise ValueError(
                f"{path} has {len(labels)} classes, Kinetics-{classes} {classes}; name the folder "
                "of its own lists with --source, or another --dataset"
            )
        entries += listed
    return library.Library(folders.media).listing(
        (library.of_video(entry, whole=whole) for entry in entries),
        labels=sorted(labels),
        published=sum(published[split] for split in lists) if published else None,
    )


def _file_names(classes: int, spellings: tuple[str, ...]) -> list[str]:
    """`train.csv`, `kinetics_train.csv`, `kinetics-400_train.csv`, `kinetics700_2020_train.csv`."""
    names = [f"{name}.csv" for name in spellings]
    for name in spellings:
        names += [f"kinetics_{name}.csv", f"k{classes}_{name}.csv"]
        names += [f"kinetics{dash}{classes}*_{name}.csv" for dash in ("", "-", "_")]
    return names


def _entries(path: pathlib.Path, split: str) -> Iterator[datasets.Entry]:
    columns = ("youtube_id", "time_start", "time_end")
    for row in official.rows(path, *columns if split == "test" else ("label", *columns)):
        # Published test lists have no labels, or empty ones.
        labels = (row["label"],) if row.get("label") else ()
        start = official.seconds(row["time_start"], path)
        end = official.seconds(row["time_end"], path)
        yield library.piece(row["youtube_id"], start, end, split, labels)
