"""What is wrong with records: kinds of findings by name, with what to do, and their counts."""

import dataclasses

from av_mae.prepare.lists.listing import readable

_AGAIN = "delete these files and run the same preparation again, or copy them again"

# Records with one of these are not what they are taken for: exit code 1.
PROBLEMS = {
    "missing file": "copy it again, or run the same preparation again: it writes what is missing",
    "wrong size": _AGAIN,
    "wrong checksum": _AGAIN,
    "wrong index": _AGAIN,
    "unreadable shard": _AGAIN,
    "unreadable record": _AGAIN,
    "missing clips": _AGAIN,
    "unknown label": "prepare again into another folder; --labels gives the names in their order",
    "broken picture": _AGAIN,
    "impossible clip": _AGAIN,
    "id twice": "give every clip an id of its own and prepare again",
    "clip in two splits": "leave it out of one of them and prepare again, or scores are too high",
}

# Worth a look, and often right as they are.
WARNINGS = {
    "strange file": "no part of this data set; delete it if nobody needs it",
    "fewer than published": "missing clips are in rejected.csv",
    "other lists": "the official lists are cut off, or of another edition; get them again",
    "not as counted": "av_mae.json, rejected.csv or partial.csv were changed afterwards",
    "empty split": "nothing can be trained on or scored there",
    "split of another name": "read only by a config that names it (dataset.train, "
    "evaluators.NAME.split); call it train, val or test if it is one of them",
    "label without training clips": "it cannot be learned",
    "label without clips": "no clip of any split has it",
    "no label": "only pretraining can use these clips",
    "other frame rate": "prepared at another rate than the data set's",
    "larger than asked": "the short side is above the data set's",
    "sound shorter than pictures": "the sound is followed by silence",
    "sound longer than pictures": "the last picture stays",
    "late sound": "it is preceded by silence",
    "digital silence": "a model hears nothing in these; the track may be an empty one",
    "very quiet": "below -60 dBFS",
    "clipped sound": "more than one sample in a hundred is at full scale",
    "still pictures": "every frame of the clip is the same",
    "same clip twice in a split": "it counts twice",
    "source in two splits": "different parts of one file; they may look and sound alike",
    "same pictures in two splits": "with other sound",
    "same pictures twice in a split": "with other sound",
    "same sound in two splits": "with other pictures",
    "same sound twice in a split": "with other pictures",
    "look-alikes in two splits": "three pictures are nearly equal, as in a copy encoded anew",
    "look-alikes in a split": "three pictures are nearly equal, as in a copy encoded anew",
}

# Examples kept of a kind.
_MOST = 8


@dataclasses.dataclass
class Finding:
    """What was found of one kind: how often, and the first examples in words."""

    count: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)


class Findings:
    """Counts findings by kind; keeps few examples, so that its size is bounded."""

    def __init__(self) -> None:
        self.kinds: dict[str, Finding] = {}

    def add(self, kind: str, *examples: str, count: int = 1) -> None:
        assert kind in PROBLEMS or kind in WARNINGS, kind
        found = self.kinds.setdefault(kind, Finding())
        found.count += count
        found.examples += map(readable, examples[: _MOST - len(found.examples)])

    def merge(self, other: "Findings") -> None:
        for kind, more in other.kinds.items():
            self.add(kind, *more.examples, count=more.count)

    @property
    def problems(self) -> dict[str, Finding]:
        """What fails the check, in the order of PROBLEMS."""
        return {kind: self.kinds[kind] for kind in PROBLEMS if kind in self.kinds}

    @property
    def warnings(self) -> dict[str, Finding]:
        return {kind: self.kinds[kind] for kind in WARNINGS if kind in self.kinds}
