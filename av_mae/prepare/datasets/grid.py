"""GRID, one talker: files whose names spell six words, as `bbaf2n` does; one is the label.

`word` says which. Clips with the same first four letters stay together, in the split of talker 1's
experiment (docs/results.md); sentences that talker 1 does not say are for training.
"""

from typing import Literal

from av_mae.prepare.lists import library, official
from av_mae.prepare.lists.listing import Entry, Listing, Options, Refused

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
# First four letters of the names in a split.
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
_GROUP = 4


def clips(
    source: str,
    options: Options,
    *,
    word: Literal["digit", "command", "color", "preposition", "letter", "adverb"] = "digit",
) -> Listing:
    """Lists the clips of one talker.

    Raises:
        ValueError: two files spell the same sentence, or none spells any.
    """
    root = official.Folders(source, options.media).media
    entries: dict[str, Entry] = {}
    refused = []
    for path in library.media(root):
        name, file = path.stem, path.as_posix()
        slots = zip(_WORDS.values(), name, strict=False)
        if len(name) != len(_WORDS) or any(char not in words for words, char in slots):
            reason = "no sentence of GRID: its name is not six letters such as bbaf2n"
            refused.append(Refused(file, file, reason))
            continue
        if name in entries:
            raise ValueError(
                f"{entries[name].source} and {path} below {root} are the same sentence; give "
                "--source the folder of one talker"
            )
        group = name[:_GROUP]
        split = "val" if group in _VAL else "test" if group in _TEST else "train"
        label = _WORDS[word][name[list(_WORDS).index(word)]]
        entries[name] = Entry(file, str(root / path), file, split, (label,))
    if not entries:
        raise ValueError(f"no file below {root} is named after a sentence, as bbaf2n.mpg is")
    return Listing(tuple(entries.values()), tuple(refused))
