"""Kinetics of any size: DeepMind's lists, and clips of YouTube videos, cut or whole."""

from collections.abc import Mapping

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options

_AT = "https://github.com/cvdfoundation/kinetics-dataset"


def clips(
    classes: int,
    published: Mapping[str, int],
    source: str,
    options: Options,
    *,
    test: bool = False,
    whole: bool = True,
) -> Listing:
    """Lists the clips of train.csv and val.csv (or validate.csv), and of test.csv if `test`.

    Labels are in the alphabetical order of their names, as every program indexes them; all of them
    come from the training list, even if few of its clips exist.

    Args:
        published: number of clips by list; empty where it is not known.

    Raises:
        ValueError: a list is missing or of another Kinetics, or none of its clips exists.
    """
    folders = official.Folders(source, options.media)
    splits = ("train", "val", "test") if test else ("train", "val")
    entries: list[Entry] = []
    labels: set[str] = set()
    for split in splits:
        spellings = ("val", "validate") if split == "val" else (split,)
        names = [f"{name}.csv" for name in spellings]
        for name in spellings:
            names += [f"kinetics_{name}.csv", f"k{classes}_{name}.csv"]
            # kinetics-400_train.csv, kinetics700_2020_train.csv
            names += [f"kinetics{dash}{classes}*_{name}.csv" for dash in ("", "-", "_")]
        path = folders.file(*names, at=_AT)
        # Published test lists have no labels, or empty ones.
        label = () if split == "test" else ("label",)
        for row in official.rows(path, *label, "youtube_id", "time_start", "time_end"):
            named = (row["label"],) if row.get("label") else ()
            start = official.seconds(row["time_start"], path)
            end = official.seconds(row["time_end"], path)
            entries.append(library.piece(row["youtube_id"], start, end, split, named))
            labels.update(named)
        if len(labels) > classes:
            raise ValueError(
                f"{path} has {len(labels)} classes, Kinetics-{classes} {classes}; name the folder "
                "of its own lists with --source, or another --dataset"
            )
    return library.Library(folders.media).listing(
        (library.of_video(entry, whole=whole) for entry in entries),
        labels=sorted(labels),
        published=sum(published[split] for split in splits) if published else None,
    )
