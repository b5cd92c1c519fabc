"""What became of the clips, as a table for the terminal, counts for the info, and csv files."""

import collections
import csv
import functools
import io
import pathlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from av_mae.input import storage
from av_mae.prepare import datasets
from av_mae.prepare.lists.listing import readable
from av_mae.prepare.shards import plan, state

if TYPE_CHECKING:
    from av_mae.input import records  # loads JAX

Row = tuple[str, str, str]

_COLUMNS = ("clips", "without_sound", "silent", "partial", "rejected")
_TITLES = ("split", "clips", "no sound", "silent", "partial", "rejected")
_REASONS = 5
# Those made for one data set; the one for the sample is small enough to try on any.
_CONFIGS = (
    "audioset", "grid", "hmdb51", "kinetics400", "sample", "ssv2", "ucf101", "vggsound",
)  # fmt: skip


class Report:
    """The outcome of a preparation.

    Attributes:
        outcomes: by file name of the shard.
    """

    def __init__(
        self,
        out: pathlib.Path,
        listing: datasets.Listing,
        shards: Sequence[plan.Shard],
        outcomes: Mapping[str, state.Outcome],
    ) -> None:
        self.out, self.shards, self.outcomes = out, shards, outcomes
        self._expected = {"listed": dict(listing.listed), "published": listing.published}
        self._refused = [(clip.id, readable(clip.path), clip.reason) for clip in listing.refused]

    @property
    def clips(self) -> int:
        return sum(outcome.shard["clips"] for outcome in self.outcomes.values())

    @functools.cached_property
    def rejected(self) -> list[Row]:
        """(id, path, reason) of every clip that is in no shard."""
        decoded = [row for shard in self.shards for row in self.outcomes[shard.file].rejected]
        return sorted(self._refused + decoded)

    @functools.cached_property
    def partial(self) -> list[Row]:
        """(id, path, what is missing) of every clip that is not whole."""
        return sorted(row for shard in self.shards for row in self.outcomes[shard.file].partial)

    def counts(self) -> dict[str, Any]:
        """Numbers of clips by outcome, in all and by split, and those that there should be."""
        splits: dict[str, dict[str, int]] = {}
        for shard in self.shards:
            of = splits.setdefault(shard.split, dict.fromkeys(_COLUMNS, 0))
            outcome = self.outcomes[shard.file]
            of["clips"] += outcome.shard["clips"]
            of["without_sound"] += outcome.without_sound
            of["silent"] += outcome.silent
            of["partial"] += len(outcome.partial)
            of["rejected"] += len(outcome.rejected)
        total = {name: sum(of[name] for of in splits.values()) for name in _COLUMNS}
        total["rejected"] += len(self._refused)
        return {**total, "splits": splits, **self._expected}

    def __str__(self) -> str:
        return "\n".join([*self._table(), *reasons(self.rejected, self.out / "rejected.csv")])

    def _table(self) -> list[str]:
        counts = self.counts()
        lines: list[tuple[str, ...]] = [_TITLES]
        for name, of in (*counts["splits"].items(), ("all", counts)):
            lines.append((name, *(f"{of[column]:,}" for column in _COLUMNS)))
        widths = [max(len(line[i]) for line in lines) for i in range(len(_TITLES))]
        first, *others = widths
        return [
            f"{line[0]:<{first}}  "
            + "  ".join(f"{cell:>{width}}" for cell, width in zip(line[1:], others, strict=True))
            for line in lines
        ]


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


def closing(out: pathlib.Path, info: "records.Info") -> str:
    """What was written, and the next command."""
    shards = [shard for split in info.splits.values() for shard in split.shards]
    size = sum(shard.bytes for shard in shards) / 1e6
    sound = "no sound in the training split"
    if info.audio_mean is not None:
        sound = f"log-mel mean {info.audio_mean:.3f}, deviation {info.audio_std:.3f}"
    config = info.name if info.name in _CONFIGS else "sample"
    return (
        f"wrote {out}: {sum(shard.clips for shard in shards):,} clips in {len(shards):,} files, "
        f"{size:,.1f} MB, {len(info.labels):,} labels; {sound}\n"
        f"next: python -m av_mae.main --config=configs/{config}/pretrain.py{_modalities(info)} "
        f"--config.dataset.path={shlex.quote(str(out))} --workdir=runs/{info.name}_pretrain"
    )


def _modalities(info: "records.Info") -> str:
    """The argument of a config for data that has pictures or sound only."""
    splits = info.splits.values()
    if not any(split.with_pictures for split in splits):
        return ":modalities=audio"
    return "" if any(split.with_sound for split in splits) else ":modalities=video"


def write_rows(path: pathlib.Path, rows: Iterable[Row]) -> None:
    """A csv with columns id, path, reason."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("id", "path", "reason"))
    writer.writerows(rows)
    storage.write(path, text.getvalue().encode("utf-8", errors="surrogateescape"))
