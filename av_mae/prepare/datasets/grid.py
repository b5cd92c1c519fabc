"""GRID, one talker: files whose names spell six words, as `bbaf2n` does; one is the label.

`word` says which. Clips with the same first four letters stay together, in the split of talker 1's
experiment (docs/results.md); sentences that talker 1 does not say are for training.
"""

from typing import Literal

from av_mae.prepare import datasets
from av_mae.prepare.lists import library, official

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# What the characters of a name stand for.
_WORDS = {
    "command": {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    "color": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "preposition": {"a": "at", "b": "by", "i": "in", "w": "with"},
    "letter": {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    "digit": dict(zip("z123456789", _DIGITS, strict=True)),
    "adverb": {"a": "again", "n": "now", "p": "please", "s": "soon"},
}
_GROUP = 4
# Groups by their first four letters.
_VAL = (
    "bbaf bbbm bgat bgwu bras brba bwim bwwn lbak lbbq lgaf lgwg lrbe lriq lwae lwbz "
    "pbac pbai pgij pgwz prbx prwd pwbd pwwe sban sbwu sgii sgio srau srwv swbp swib"
)
_TEST = (
    "bbas bbbs bbiz bgau bgbn bgin bgwh braf brbg brbt bwbg bwis bwit bwwu lbij lbwk lbwr lbwy "
    "lgas lgbf lgif lgiz lrae lrar lrik lrwl lwal lwar lwil lwiy pbap pbbi pbbj pbib pgaq pgbk "
    "pgid pgwe praj prbj prwj prwq pwbk pwbx pwic pwix sbaa sbim sbwb sbwo sgai sgap sgiv sgwj "
    "srab srbu srin sriu swai swav swbc swwp"
)


def clips(
    source: str,
    options: datasets.Options,
    *,
    word: Literal["digit", "command", "color", "preposition", "letter", "adverb"] = "digit",
) -> datasets.Listing:
    """Lists the clips of one talker.

    Raises:
        ValueError: two files spell the same sentence, or none spells any.
    """
    root = official.Folders.of(source, options.media).media
    entries: dict[str, datasets.Entry] = {}
    refused = []
    for path in library.media(root):
        spelled = _sentence(path.stem)
        if spelled is None:
            reason = "no sentence of GRID: its name is not six letters such as bbaf2n"
            refused.append(datasets.Refused(path.as_posix(), path.as_posix(), reason))
        elif path.stem in entries:
            raise ValueError(
                f"{entries[path.stem].source} and {path} below {root} are the same sentence; give "
                "--source the folder of one talker"
            )
        else:
            file, split = path.as_posix(), _split(path.stem)
            labels = (spelled[word],)
            entries[path.stem] = datasets.Entry(file, str(root / path), file, split, labels)
    if not entries:
        raise ValueError(f"no file below {root} is named after a sentence, as bbaf2n.mpg is")
    return datasets.Listing(tuple(entries.values()), tuple(refused))


def _sentence(name: str) -> dict[str, str] | None:
    """{slot: word} of a name, or None if it spells no sentence."""
    if len(name) != len(_WORDS):
        return None
    spelled = list(zip(_WORDS, name, strict=True))
    if any(char not in _WORDS[slot] for slot, char in spelled):
        return None
    return {slot: _WORDS[slot][char] for slot, char in spelled}


def _split(name: str) -> str:
    group = name[:_GROUP]
    return "val" if group in _VAL.split() else "test" if group in _TEST.split() else "train"
