"""What of a preparation is finished, so that it goes on after a kill without redoing a shard."""

import concurrent.futures
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from av_mae.input import records, storage
from av_mae.prepare.shards.assignment import Assignment

FOLDER = ".prepare"
# What remains to be done, while a pipeline does it.
TASKS = "tasks"
_SETTINGS = "plan.json"
_READERS = 32

# What a preparation leaves in its folder beside the shards.
WRITTEN = (
    records.INFO_FILE,
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

        A store has no locks: there the second run is not noticed, and writes the same files.

        Raises:
            ValueError: another run is writing into it, or it was begun with other settings.
            OSError: it cannot be written.
        """
        self._out, self._folder = out, out / FOLDER
        self._lock: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not storage.is_address(out):
                self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise ValueError(f"another run is writing into --out={out}; wait for it") from error
        except OSError as error:
            self.close()
            raise OSError(f"cannot write into --out={out}: {error.strerror or error}") from error
        try:
            self._begin(settings, overwrite)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def outcomes(self, shards: Sequence[Assignment]) -> dict[str, Outcome]:
        """By file name, those of the shards that are finished and whole."""
        sizes, noted = storage.sizes(self._out), storage.sizes(self._folder)
        begun = [shard.file for shard in shards if f"{shard.file}.json" in noted]
        with concurrent.futures.ThreadPoolExecutor(_READERS) as threads:
            found = threads.map(lambda file: _outcome(self._out, file, sizes), begun)
            return {
                file: outcome
                for file, outcome in zip(begun, found, strict=True)
                if outcome is not None
            }

    def _begin(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Removes what killed runs left, and continues a run with the same settings."""
        if overwrite:  # what preparations wrote, and nothing else
            shards = [path for path in self._out.glob("*.tfrecord-*-of-*") if path.is_file()]
            states = [path for path in self._folder.iterdir() if path.name != "lock"]
            for path in (*shards, *states, *(self._out / name for name in WRITTEN)):
                path.unlink(missing_ok=True)
        for folder in (self._out, self._folder):
            for left in storage.unfinished(folder):
                left.unlink()
        (self._folder / TASKS).unlink(missing_ok=True)

        path = self._folder / _SETTINGS
        if path.is_file():
            before = json.loads(path.read_text())
            for key in sorted(before.keys() | settings.keys()):
                if before.get(key) == settings.get(key):
                    continue
                change = f"--{key}={before.get(key)}, now it is {settings.get(key)}"
                if key in ("clips", "labels"):
                    change = f"another list of {key}"
                raise ValueError(
                    f"--out={self._out} was begun with {change}; continue with the same, "
                    "use another folder, or --overwrite to start anew"
                )
        elif any((self._out / name).exists() for name in WRITTEN):
            raise ValueError(
                f"--out={self._out} holds a data set that this run cannot continue; "
                "use another folder, or --overwrite to replace it"
            )
        else:
            _write_json(path, settings)


def finish(out: pathlib.Path, shard: Assignment, outcome: Outcome) -> None:
    """Keeps the outcome of a shard that is written and has its name."""
    _write_json(_path(out, shard.file), dataclasses.asdict(outcome))


def is_finished(out: pathlib.Path, shard: Assignment) -> bool:
    """Whether a shard needs no work any more."""
    files = (out / shard.file, out / f"{shard.file}.index")
    sizes = {file.name: file.stat().st_size for file in files if file.is_file()}
    return _outcome(out, shard.file, sizes) is not None


def _outcome(out: pathlib.Path, file: str, sizes: Mapping[str, int]) -> Outcome | None:
    """The outcome of a shard; None if it is not finished or not whole."""
    try:
        values = json.loads(_path(out, file).read_text())
        rows = {key: tuple(map(tuple, values[key])) for key in ("rejected", "partial")}
        outcome = Outcome(**(values | rows))
        shard = records.Shard(**outcome.shard)
        return None if records.problem(out, shard, sizes) else outcome
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _path(out: pathlib.Path, file: str) -> pathlib.Path:
    return out / FOLDER / f"{file}.json"


def _write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    storage.write(path, json.dumps(values, indent=1).encode())
