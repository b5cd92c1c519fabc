"""What of a preparation is finished, so that it goes on after a kill without redoing a shard."""

import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from av_mae.prepare import plan

FOLDER = ".prepare"
_PLAN = "plan.json"

# What a preparation leaves in its folder beside the shards.
WRITTEN = (
    "av_mae.json",
    "dataset_info.json",
    "features.json",
    "label.labels.txt",
    "rejected.csv",
    "partial.csv",
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the clips of one shard.

    Attributes:
        shard: the fields of its `records.Shard`.
        rejected, partial: (id, path, reason) of clips that are not, or not whole, in the shard.
        without_sound, silent: numbers of clips in the shard that have no sound track, and of those
            whose track is digital silence.
    """

    shard: dict[str, Any]
    rejected: tuple[tuple[str, str, str], ...]
    partial: tuple[tuple[str, str, str], ...]
    without_sound: int
    silent: int


class State:
    """The folder `.prepare` of a data set: its settings and the outcomes of its finished shards."""

    def __init__(self, out: pathlib.Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Takes possession of the folder until `close`.

        Raises:
            ValueError: another run is writing into it, or it was begun with other settings.
            OSError: it cannot be written.
        """
        self._out, self._folder = out, out / FOLDER
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise OSError(f"cannot write into --out={out}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise ValueError(f"another run is writing into --out={out}; wait for it") from error
        try:
            self._begin(dict(settings), overwrite)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._lock)

    def outcome(self, shard: plan.Shard) -> Outcome | None:
        """The outcome of a shard if it is finished and lies there in its full length."""
        try:
            values = json.loads(self._file(shard).read_text())
            outcome = Outcome(**(values | {k: _rows(values[k]) for k in ("rejected", "partial")}))
            size = (self._out / shard.file).stat().st_size
            index = (self._out / f"{shard.file}.index").stat().st_size
        except (OSError, ValueError, TypeError, KeyError):
            return None
        whole = size == outcome.shard["bytes"] and index == 8 * outcome.shard["clips"]
        return outcome if whole else None

    def finish(self, shard: plan.Shard, outcome: Outcome) -> None:
        """Notes the outcome of a shard that is written and has its name."""
        _replace(self._file(shard), dataclasses.asdict(outcome))

    def _file(self, shard: plan.Shard) -> pathlib.Path:
        return self._folder / f"{shard.file}.json"

    def _begin(self, settings: dict[str, Any], overwrite: bool) -> None:
        if overwrite:
            self._clear()
        for left in self._out.glob(".*.tfrecord-*.tmp"):
            left.unlink()  # of a run that was killed
        written = self._folder / _PLAN
        if written.is_file():
            _check_same(self._out, json.loads(written.read_text()), settings)
        elif any((self._out / name).exists() for name in WRITTEN):
            raise ValueError(
                f"--out={self._out} holds a data set that this run cannot continue; "
                "use another folder, or --overwrite to replace it"
            )
        else:
            _replace(written, settings)

    def _clear(self) -> None:
        """Removes what preparations wrote, and nothing else."""
        shards = [path for path in self._out.glob("*.tfrecord-*-of-*") if path.is_file()]
        states = [path for path in self._folder.iterdir() if path.name != "lock"]
        for path in (*shards, *states, *(self._out / name for name in WRITTEN)):
            path.unlink(missing_ok=True)


def _check_same(out: pathlib.Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) == now.get(key):
            continue
        change = f"--{key}={before.get(key)}, now it is {now.get(key)}"
        if key in ("clips", "labels"):
            change = f"another list of {key}"
        raise ValueError(
            f"--out={out} was begun with {change}; continue with the same, "
            "use another folder, or --overwrite to start anew"
        )


def _rows(rows: list[list[str]]) -> tuple[tuple[str, str, str], ...]:
    return tuple((id, path, reason) for id, path, reason in rows)


def _replace(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w") as file:
        json.dump(values, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
