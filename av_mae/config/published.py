"""The configs that come with the library, by name: `audioset/pretrain` is a file of `configs/`."""

import difflib
import pathlib

from av_mae.config import limits

# Inside an installed package, beside it in a clone of the repository.
_INSIDE, _BESIDE = (folder / "configs" for folder in pathlib.Path(__file__).parents[1:3])
FOLDER = _INSIDE if _INSIDE.is_dir() else _BESIDE


def names() -> list[str]:
    """All of them, such as `audioset/pretrain`."""
    return sorted(f"{file.parent.name}/{file.stem}" for file in FOLDER.glob("*/*.py"))


def file(name: str) -> pathlib.Path:
    """The file of a config.

    Raises:
        ConfigError: there is none of this name; the message has the nearest and all data sets.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        sets = dict.fromkeys(name.partition("/")[0] for name in known)
        raise limits.ConfigError(
            f"no config {name!r} is published; {guess}there are DATASET/pretrain and "
            f"DATASET/finetune of {', '.join(sets)}; the path of a file ends in .py"
        )
    return FOLDER / f"{name}.py"
