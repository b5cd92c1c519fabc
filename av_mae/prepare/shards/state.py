"""What of a preparation is finished, so that it goes on after a kill without redoing a shard."""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from av_mae.input import records, storage
from av_mae.prepare.shards.settings import Assignment

FOLDER = ".prepare"
# What remains to be done, while a pipeline does it.
TASKS = "tasks"
_SETTINGS = "plan.json"
_READERS = 32

# What a preparation leaves in its folder beside the shards.
WRITTEN = (
    records.INFO_FILE, "dataset_info.json", "features.json", "label.labels.txt", "rejected.csv",
    "partial.csv",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the clips of one shard.

    Attributes:
        rejected, partial: (id, path, reason) of clips that are not, or not whole, in the shard.
        without_sound, silent: numbers of clips in the shard that have no sound track, and of those
            whose track is digital silence.
    """

    shard: records.Shard
    rejected: tuple[tuple[str, str, str], ...]
    partial: tuple[tuple[str, str, str], ...]
    without_sound: int
    silent: int


@contextlib.contextmanager
def held(out: pathlib.Path, settings: Mapping[str, Any], *, overwrite: bool) -> Iterator[None]:
    """Begins a preparation in a folder, or continues it, and keeps other runs out of it.

    What killed runs left is removed. A store has no locks: there the second run is not noticed, and
    writes the same files.

    Raises:
        ValueError: another run is writing into it, or it was begun with other settings.
        OSError: it cannot be written.
    """
    folder = out / FOLDER
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not storage.is_address(out):
                lock = stack.enter_context(open(folder / "lock", "a"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another run is writing into --out={out}; wait for it") from error
        except OSError as error:
            raise OSError(f"cannot write into --out={out}: {error.strerror or error}") from error

        if overwrite:  # what preparations wrote, and nothing else
            shards = [path for path in out.glob("*.tfrecord-*-of-*") if path.is_file()]
            states = [path for path in folder.iterdir() if path.name != "lock"]
            for path in (*shards, *states, *(out / name for name in WRITTEN)):
                path.unlink(missing_ok=True)
        left = [*storage.unfinished(out), *storage.unfinished(folder), folder / TASKS]
        for path in left:
            path.unlink(missing_ok=True)

        path = folder / _SETTINGS
        if path.is_file():
            before = json.loads(path.read_text())
            for key in sorted(before.keys() | settings.keys()):
                if before.get(key) == settings.get(key):
                    continue
                change = f"--{key}={before.get(key)}, now it is {settings.get(key)}"
                if key in ("clips", "labels"):
                    change = f"another list of {key}"
                raise ValueError(
                    f"--out={out} was begun with {change}; continue with the same, "
                    "use another folder, or --overwrite to start anew"
                )
        elif any((out / name).exists() for name in WRITTEN):
            raise ValueError(
                f"--out={out} holds a data set that this run cannot continue; "
                "use another folder, or --overwrite to replace it"
            )
        else:
            _write(path, settings)
        yield


def outcomes(out: pathlib.Path, shards: Sequence[Assignment]) -> dict[str, Outcome]:
    """By file name, those of the shards that are finished and whole."""
    sizes, noted = storage.sizes(out), storage.sizes(out / FOLDER)
    begun = [shard.file for shard in shards if f"{shard.file}.json" in noted]
    with concurrent.futures.ThreadPoolExecutor(_READERS) as threads:
        found = threads.map(lambda file: _outcome(out, file, sizes), begun)
        return {file: one for file, one in zip(begun, found, strict=True) if one is not None}


def finish(out: pathlib.Path, shard: Assignment, outcome: Outcome) -> None:
    """Keeps the outcome of a shard that is written and has its name."""
    _write(out / FOLDER / f"{shard.file}.json", dataclasses.asdict(outcome))


def is_finished(out: pathlib.Path, shard: Assignment) -> bool:
    """Whether a shard needs no work any more."""
    files = (out / shard.file, out / f"{shard.file}.index")
    sizes = {file.name: file.stat().st_size for file in files if file.is_file()}
    return _outcome(out, shard.file, sizes) is not None


def _outcome(out: pathlib.Path, file: str, sizes: Mapping[str, int]) -> Outcome | None:
    """The outcome of a shard; None if it is not finished or not whole."""
    try:
        values = json.loads((out / FOLDER / f"{file}.json").read_text())
        rows = {key: tuple(map(tuple, values[key])) for key in ("rejected", "partial")}
        shard = records.Shard(**values["shard"])
        outcome = Outcome(**(values | rows | {"shard": shard}))
        return None if records.problem(out, shard, sizes) else outcome
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    storage.write(path, json.dumps(values, indent=1).encode())
