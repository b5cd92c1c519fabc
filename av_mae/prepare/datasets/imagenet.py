"""ImageNet-1k (ILSVRC 2012): pictures of 1,000 classes, in folders of classes or not.

Pictures are known by their own names. Those for validation that lie in no class folder need
LOC_val_solution.csv, imagenet_2012_validation_synset_labels.txt, or the devkit's two files.
"""

import collections
import re

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options, Refused

_AT = "https://www.image-net.org/challenges/LSVRC/2012/2012-downloads.php (the devkit of task 1)"
_CLASS = re.compile(r"n\d{8}")
_TRAIN = re.compile(r"(n\d{8})_\d+")
_VAL = re.compile(r"ILSVRC2012_val_(\d{8})")
_PUBLISHED = 1_281_167 + 50_000


def clips(source: str, options: Options) -> Listing:
    """Lists the pictures, with labels in the order of their WordNet ids, as everyone does.

    The labels are the words of the class where a list of them is there, else its WordNet id.

    Raises:
        ValueError: a list is missing or damaged, or there is no picture.
    """
    folders = official.Folders(source, options.media)
    train, val = {}, {}  # {path: WordNet id}, None where the folder does not say it
    for path in library.media(folders.media, pictures=True):
        if named := _TRAIN.fullmatch(path.stem):
            train[path] = named[1]
        elif _VAL.fullmatch(path.stem):
            val[path] = path.parent.name if _CLASS.fullmatch(path.parent.name) else None
    if None in val.values():
        truth = _truth(folders)
        val = {path: wnid or truth.get(path.stem) for path, wnid in val.items()}
    found = {wnid for wnid in (train | val).values() if wnid}
    if not found:
        raise ValueError(
            f"no picture of ImageNet is below {folders.media}: they are called n01440764_18.JPEG "
            "and ILSVRC2012_val_00000001.JPEG; for others take --dataset=folder:kind=picture"
        )
    names = _names(folders, found)

    entries: dict[str, Entry] = {}
    refused = []
    for split, pictures in (("train", train), ("val", val)):
        for path, wnid in pictures.items():
            id, file = path.stem, path.as_posix()
            if wnid is None:
                refused.append(Refused(id, file, "no class in the official list"))
            elif id in entries:
                refused.append(Refused(id, file, "there twice: one is kept"))
            else:
                place, label = str(folders.media / path), names[wnid]
                entries[id] = Entry(id, place, file, split, (label,), kind="picture")
    listed = dict(collections.Counter(entry.split for entry in entries.values()))
    kept, labels = tuple(entries.values()), tuple(names.values())
    return Listing(kept, tuple(refused), labels, listed, _PUBLISHED)


def _truth(folders: official.Folders) -> dict[str, str]:
    """The WordNet id of every picture for validation, by the picture's name."""
    path = folders.files(
        "LOC_val_solution.csv",
        "imagenet_2012_validation_synset_labels.txt",
        "ILSVRC2012_validation_ground_truth.txt",
        at=_AT,
    )[0]
    if path.name == "LOC_val_solution.csv":
        rows = official.rows(path, "ImageId", "PredictionString")
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    classes = official.lines(path)
    if path.name == "ILSVRC2012_validation_ground_truth.txt":
        numbered = {number: wnid for number, wnid, _ in _devkit(folders)}
        classes = [numbered.get(official.number(line, path), "") for line in classes]
    wrong = [wnid for wnid in classes if not _CLASS.fullmatch(wnid)]
    if wrong:
        raise ValueError(f"{path} names the class {wrong[0]!r}, which is none; get it anew")
    return {f"ILSVRC2012_val_{i:08d}": wnid for i, wnid in enumerate(classes, 1)}


def _names(folders: official.Folders, found: set[str]) -> dict[str, str]:
    """Label names by WordNet id, in its order: all that an official list has, else those found."""
    words = {wnid: wnid for wnid in found}
    listed = folders.find("LOC_synset_mapping.txt", "synset_words.txt")
    if listed:
        pairs = (line.partition(" ") for line in official.lines(listed[0]))
        words = {wnid: words for wnid, _, words in pairs}
    elif folders.find("meta.mat"):
        words = {wnid: words for _, wnid, words in _devkit(folders)}
    missing = sorted(found - words.keys())
    if missing:
        raise ValueError(
            f"{len(missing)} classes of pictures are not in the list of names, as {missing[0]}; "
            "is it of ImageNet-1k?"
        )
    count = collections.Counter(words.values())
    # Two classes are called crane, one of birds and one of machines.
    return {
        wnid: words[wnid] if count[words[wnid]] == 1 else f"{words[wnid]} ({wnid})"
        for wnid in sorted(words)
    }


def _devkit(folders: official.Folders) -> list[tuple[int, str, str]]:
    """(number in the ground truth, WordNet id, words) of the 1,000 classes."""
    import scipy.io

    path = folders.file("meta.mat", at=_AT)
    try:
        synsets = scipy.io.loadmat(path, squeeze_me=True)["synsets"]
        # Behind the classes stand the groups that they belong to.
        return [
            (int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
            for row in synsets
            if int(row["num_children"]) == 0
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not the devkit's list ({error}); get it from {_AT}") from error
