"""What became of the clips, as a table for the terminal, and as counts and lists to be stored."""

import collections
import dataclasses
import functools
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from av_mae.config import published
from av_mae.input import records
from av_mae.prepare.lists import splits
from av_mae.prepare.lists.listing import Listing, readable
from av_mae.prepare.shards.settings import Assignment
from av_mae.prepare.shards.state import Outcome

Row = tuple[str, str, str]

_COUNTS = ("clips", "without_sound", "silent", "partial", "rejected")
# Mean and standard deviation of ImageNet's pictures, as flags.
_USUAL_COLOURS = ("mean='(.485,.456,.406)'", "std='(.229,.224,.225)'")
_REASONS = 5


@dataclasses.dataclass(frozen=True)
class Report:
    """The outcome of a preparation.

    Attributes:
        outcomes: by file name of the shard.
    """

    out: pathlib.Path
    listing: Listing
    shards: Sequence[Assignment]
    outcomes: Mapping[str, Outcome]

    @property
    def clips(self) -> int:
        return sum(outcome.shard.clips for outcome in self.outcomes.values())

    @functools.cached_property
    def rejected(self) -> list[Row]:
        """(id, path, reason) of every clip that is in no shard."""
        refused = [(clip.id, readable(clip.path), clip.reason) for clip in self.listing.refused]
        decoded = [row for outcome in self.outcomes.values() for row in outcome.rejected]
        return sorted(refused + decoded)

    @functools.cached_property
    def partial(self) -> list[Row]:
        """(id, path, what is missing) of every clip that is not whole."""
        return sorted(row for outcome in self.outcomes.values() for row in outcome.partial)

    def counts(self) -> dict[str, Any]:
        """Numbers of clips by outcome, in all and by split, and those that there should be."""
        splits: dict[str, dict[str, int]] = {}
        for shard in self.shards:
            of = splits.setdefault(shard.split, dict.fromkeys(_COUNTS, 0))
            outcome = self.outcomes[shard.file]
            of["clips"] += outcome.shard.clips
            of["without_sound"] += outcome.without_sound
            of["silent"] += outcome.silent
            of["partial"] += len(outcome.partial)
            of["rejected"] += len(outcome.rejected)
        total = {name: sum(of[name] for of in splits.values()) for name in _COUNTS}
        total["rejected"] += len(self.listing.refused)
        expected = {"listed": dict(self.listing.listed), "published": self.listing.published}
        return {**total, "splits": splits, **expected}

    def labels(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By split, the most labels that a clip has and the number of clips of each label.

        Args:
            names: of all labels, in index order.
        """
        lost = {row[0] for outcome in self.outcomes.values() for row in outcome.rejected}
        found: dict[str, dict[str, Any]] = {}
        for shard in self.shards:
            of = found.setdefault(shard.split, {"most": 0, "clips": dict.fromkeys(names, 0)})
            for own in (set(entry.labels) for entry in shard.entries if entry.id not in lost):
                of["most"] = max(of["most"], len(own))
                for name in own:
                    of["clips"][name] += 1
        return {name: of | {"clips": list(of["clips"].values())} for name, of in found.items()}

    def __str__(self) -> str:
        """A table of the counts, and the reasons of what was rejected."""
        counts = self.counts()
        lines = [["split", "clips", "no sound", "silent", "partial", "rejected"]]
        for name, of in (*counts["splits"].items(), ("all", counts)):
            lines.append([name, *(f"{of[column]:,}" for column in _COUNTS)])
        unread = [f"warning: {said}" for said in splits.unread(self.listing.entries)]
        rejected = reasons(self.rejected, self.out / "rejected.csv")
        return "\n".join([*aligned(lines), *unread, *rejected])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows of a table, in columns as wide as they need; the first one is text."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *cells in rows:
        yield "  ".join([name.ljust(first), *map(str.rjust, cells, others)])


def reasons(rejected: Sequence[Row], listed_in: pathlib.Path) -> list[str]:
    """The commonest reasons, one line each, with an example."""
    kinds: dict[str, list[Row]] = collections.defaultdict(list)
    for row in rejected:
        kinds[row[2].partition(":")[0]].append(row)
    commonest = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    lines = [f"  {len(rows):,} x {kind}, as {rows[0][0]!r}" for kind, rows in commonest]
    if lines:
        lines.insert(0, f"rejected, all in {listed_in}:")
    if len(lines) > _REASONS + 1:
        lines[_REASONS + 1 :] = [f"  and {len(lines) - _REASONS - 1} more reasons"]
    return lines


def closing(out: pathlib.Path, info: records.Info) -> str:
    """What was written, and the next commands."""
    splits = info.splits.values()
    shards = [shard for split in splits for shard in split.shards]
    size = sum(shard.bytes for shard in shards) / 1e6
    sound = "no sound in the training split"
    if info.audio_mean is not None:
        sound = f"log-mel mean {info.audio_mean:.3f}, deviation {info.audio_std:.3f}"
    most = max((info.most_labels(name) or 0 for name in info.splits), default=0)
    several = f", up to {most} a clip" if most > 1 else ""
    having = [name for name in ("video", "audio") if any(split.having[name] for split in splits)]
    modalities = f":modalities={having[0]}" if len(having) == 1 else ""
    # The configs of the sample are small enough to try on any data; its pictures are dark.
    configs = info.name if f"{info.name}/pretrain" in published.names() else "sample"
    shared = f"{modalities} --config.dataset.path={shlex.quote(str(out))}"
    if configs != info.name and "video" in having:
        shared += "".join(f" --config.modalities.video.{key}" for key in _USUAL_COLOURS)
    shared += f" --workdir=runs/{info.name}"
    lines = [
        f"wrote {out}: {sum(shard.clips for shard in shards):,} clips in {len(shards):,} files, "
        f"{size:,.1f} MB, {len(info.labels):,} labels{several}; {sound}",
        f"next: python -m av_mae.main --config={configs}/pretrain{shared}_pretrain",
    ]
    if info.labels:
        lines.append(
            f"then: python -m av_mae.main --config={configs}/finetune{shared}_finetune "
            f"--config.init_from.path=runs/{info.name}_pretrain"
            + (" --config.dataset.multilabel=True" if most > 1 else "")
        )
    return "\n".join(lines)
