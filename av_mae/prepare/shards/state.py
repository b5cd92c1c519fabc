"""What of a preparation is finished, so that it goes on after a kill without redoing a shard."""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from av_mae.input import storage
from av_mae.prepare.shards import plan

FOLDER = ".prepare"
# What remains to be done, while a pipeline does it.
TASKS = "tasks"
_PLAN = "plan.json"
_READERS = 32

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

        A store has no locks: there the second run is not noticed, and writes the same files.

        Raises:
            ValueError: another run is writing into it, or it was begun with other settings.
            OSError: it cannot be written.
        """
        self._out, self._folder = out, out / FOLDER
        self._lock: int | None = None
        try:
            storage.make_folder(self._folder)
            if not storage.is_address(out):
                self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise OSError(f"cannot write into --out={out}: {error.strerror or error}") from error
        try:
            self._take_lock()
            self._begin(dict(settings), overwrite)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def outcomes(self, shards: Sequence[plan.Shard]) -> dict[str, Outcome]:
        """By file name, those of the shards that are finished and lie there in full length."""
        data, notes = storage.sizes(self._out), storage.sizes(self._folder)
        noted = [shard for shard in shards if f"{shard.file}.json" in notes]
        with concurrent.futures.ThreadPoolExecutor(_READERS) as threads:
            found = threads.map(lambda shard: _read(_note(self._out, shard)), noted)
            return {
                shard.file: outcome
                for shard, outcome in zip(noted, found, strict=True)
                if outcome is not None and _whole(shard, outcome, data)
            }

    def _take_lock(self) -> None:
        if self._lock is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another run is writing into --out={self._out}; wait for it"
            ) from error

    def _begin(self, settings: dict[str, Any], overwrite: bool) -> None:
        if overwrite:
            self._clear()
        for folder in (self._out, self._folder):
            for left in storage.unfinished(folder):
                left.unlink()
        (self._folder / TASKS).unlink(missing_ok=True)
        written = self._folder / _PLAN
        if written.is_file():
            _check_same(self._out, json.loads(written.read_text()), settings)
        elif any((self._out / name).exists() for name in WRITTEN):
            raise ValueError(
                f"--out={self._out} holds a data set that this run cannot continue; "
                "use another folder, or --overwrite to replace it"
            )
        else:
            _write_json(written, settings)

    def _clear(self) -> None:
        """Removes what preparations wrote, and nothing else."""
        shards = [path for path in self._out.glob("*.tfrecord-*-of-*") if path.is_file()]
        states = [path for path in self._folder.iterdir() if path.name != "lock"]
        for path in (*shards, *states, *(self._out / name for name in WRITTEN)):
            path.unlink(missing_ok=True)


def finish(out: pathlib.Path, shard: plan.Shard, outcome: Outcome) -> None:
    """Notes the outcome of a shard that is written and has its name."""
    _write_json(_note(out, shard), dataclasses.asdict(outcome))


def finished(out: pathlib.Path, shard: plan.Shard) -> bool:
    """Whether a shard needs no work any more."""
    outcome = _read(_note(out, shard))
    if outcome is None:
        return False
    files = (out / name for name in _files(shard))
    with contextlib.suppress(OSError):
        return _whole(shard, outcome, {file.name: file.stat().st_size for file in files})
    return False


def _note(out: pathlib.Path, shard: plan.Shard) -> pathlib.Path:
    return out / FOLDER / f"{shard.file}.json"


def _read(path: pathlib.Path) -> Outcome | None:
    try:
        values = json.loads(path.read_text())
        return Outcome(**(values | {k: _rows(values[k]) for k in ("rejected", "partial")}))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _files(shard: plan.Shard) -> tuple[str, str]:
    return shard.file, f"{shard.file}.index"


def _whole(shard: plan.Shard, outcome: Outcome, sizes: Mapping[str, int]) -> bool:
    size, index = (sizes.get(name) for name in _files(shard))
    return size == outcome.shard["bytes"] and index == 8 * outcome.shard["clips"]


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


def _write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    storage.write(path, json.dumps(values, indent=1).encode())
