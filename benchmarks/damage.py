"""Prepares many damaged media files and says what became of each, at what cost; as JSON.

    python -m benchmarks.damage [--source=DIR] [--files=10000] [--seed=0] [--out=FILE]

Every file is a copy of one of `--source` (default: the sample, rendered here) with one kind of
damage, drawn from (seed, number). They are prepared by the real command. Exits with 1 if a file is
neither in the records nor in rejected.csv, or the command fails. Memory is sampled on Linux.
"""

import collections
import csv
import itertools
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from absl import app, flags

_SOURCE = flags.DEFINE_string("source", None, "Folder with media files; the sample if not given.")
_FILES = flags.DEFINE_integer("files", 10_000, "Number of damaged files.")
_SEED = flags.DEFINE_integer("seed", 0, "Of all damage.")
_FLAGS = flags.DEFINE_list(
    "prepare", ["short_side=32", "fps=5", "patience=20"], "Flags of av_mae.prepare."
)
_SECONDS = flags.DEFINE_float(
    "seconds", 0.0, "Copy packets of this many seconds of each file only; 0: whole files."
)
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")

_NOT_MEDIA = {".csv", ".json", ".txt", ""}
# Headers lie at one end of a file or the other.
_HEAD = 4096
_SAMPLING = 0.25
_PIECES = 20

Bytes = np.ndarray  # uint8 [n]


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        sources = _sources(root)
        kinds = make_files(sources, root / "media", _FILES.value, _SEED.value)
        cost = _prepare(root / "media", root / "out")
        result = {
            "files": len(kinds),
            "seed": _SEED.value,
            "sources": len(sources),
            "prepare": _FLAGS.value,
            **summary(root / "out", kinds),
            **cost,
        }
    text = json.dumps(result, indent=1)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text + "\n")
    print(text)
    sys.exit(1 if result["unaccounted"] or result["exit_code"] else 0)


def make_files(
    sources: list[pathlib.Path], folder: pathlib.Path, files: int, seed: int
) -> dict[str, str]:
    """Writes damaged copies of the sources in turn; {file name: kind of damage}."""
    folder.mkdir(parents=True)
    contents = [np.fromfile(source, np.uint8) for source in sources]
    kinds = {}
    for number in range(files):
        rng = np.random.default_rng([seed, number])
        source = sources[number % len(sources)]
        kind = str(rng.choice(list(DAMAGE)))
        other = contents[rng.integers(len(contents))]
        damaged = DAMAGE[kind](contents[number % len(sources)].copy(), other, rng)
        name = f"{number:06d}_{kind}_{source.name}"
        damaged.tofile(folder / name)
        kinds[name] = kind
    return kinds


def summary(out: pathlib.Path, kinds: dict[str, str]) -> dict[str, Any]:
    """What became of the files, in all and by kind of damage."""
    read = _ids(out)
    rejected = {row["id"]: row["reason"] for row in _rows(out / "rejected.csv")}
    partial = {row["id"]: row["reason"] for row in _rows(out / "partial.csv")}
    reasons = collections.Counter(reason.partition(":")[0] for reason in rejected.values())
    fate = dict.fromkeys(rejected, "rejected")
    fate |= {name: "partial" if name in partial else "whole" for name in read}
    by_kind: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for name, kind in kinds.items():
        by_kind[kind][fate.get(name, "unaccounted")] += 1
    return {
        "read": len(read),
        "partial": len(partial),
        "rejected": len(rejected),
        "unaccounted": sorted((kinds.keys() - fate.keys()) | (read & rejected.keys())),
        "crashes": reasons["decoder crashed"],
        "over_time": reasons["took too long"],
        "out_of_memory": reasons["out of memory"],
        "unexpected": sorted(
            f"{name}: {reason}" for name, reason in rejected.items() if reason.startswith("decoder")
        ),
        "reasons": dict(reasons.most_common()),
        "damage": dict(collections.Counter(map(_last, partial.values())).most_common()),
        "kinds": {kind: dict(counts) for kind, counts in sorted(by_kind.items())},
    }


def _last(reason: str) -> str:
    """The decoder's own words at the end of a reason, without its numbers."""
    return re.sub(r"[\d.]+", "#", reason.rpartition(": ")[2])


def _cut(content: Bytes, _: Bytes, rng: np.random.Generator) -> Bytes:
    return content[: rng.integers(len(content))]


def _flip(content: Bytes, _: Bytes, rng: np.random.Generator) -> Bytes:
    """One to a thousand bits, anywhere."""
    count = int(10 ** rng.uniform(0, 3))
    where = rng.integers(len(content), size=count)
    content[where] ^= (1 << rng.integers(8, size=count)).astype(np.uint8)
    return content


def _header(content: Bytes, _: Bytes, rng: np.random.Generator) -> Bytes:
    """One to sixteen bytes near the beginning or the end."""
    reach = min(_HEAD, len(content))
    where = rng.integers(reach, size=rng.integers(1, 17))
    if rng.random() < 0.5:
        where = len(content) - 1 - where
    content[where] = rng.integers(256, size=len(where))
    return content


def _zero(content: Bytes, _: Bytes, rng: np.random.Generator) -> Bytes:
    start, stop = np.sort(rng.integers(len(content) + 1, size=2))
    content[start:stop] = 0
    return content


def _swap(content: Bytes, _: Bytes, rng: np.random.Generator) -> Bytes:
    """Two neighbouring pieces exchanged."""
    a, b, c = np.sort(rng.integers(len(content) + 1, size=3))
    return np.concatenate([content[:a], content[b:c], content[a:b], content[c:]])


def _splice(content: Bytes, other: Bytes, rng: np.random.Generator) -> Bytes:
    """The beginning of one file and the end of another."""
    return np.concatenate(
        [content[: rng.integers(len(content))], other[rng.integers(len(other)) :]]
    )


def _size(content: Bytes, _: Bytes, rng: np.random.Generator) -> Bytes:
    """Sizes beside the names of one to four boxes, chunks or elements become wrong."""
    raw = content.tobytes()
    names = [match.span() for match in _NAMES.finditer(raw)]
    for start, stop in (names[i] for i in rng.integers(len(names), size=rng.integers(1, 5))):
        before = rng.random() < 0.5 and start >= 4  # mp4 has the size before the name, others after
        at = start - 4 if before else stop
        value = int(rng.choice([0, 1, 7, 2**16, 2**31 - 1, 2**32 - 1, rng.integers(2**32)]))
        written = np.frombuffer(value.to_bytes(4, "big" if before else "little"), np.uint8)
        content[at : at + 4] = written[: len(content[at : at + 4])]
    return content


# Boxes of mp4, chunks of RIFF, elements of Matroska, start codes of MPEG.
_NAMES = re.compile(
    rb"moov|mvhd|trak|tkhd|mdia|mdhd|stbl|stsd|stts|stsz|stsc|stco|co64|ctts|elst|avcC|hvcC|esds|"
    rb"mdat|RIFF|LIST|avih|strh|strf|movi|idx1|\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x16\x54\xae\x6b|"
    rb"\x1f\x43\xb6\x75|\x1c\x53\xbb\x6b|\x15\x49\xa9\x66|\x00\x00\x01[\xb3\xba\xbb\xe0\xc0]|\A"
)

DAMAGE: dict[str, Callable[[Bytes, Bytes, np.random.Generator], Bytes]] = {
    "cut": _cut, "flip": _flip, "header": _header, "zero": _zero, "swap": _swap,
    "splice": _splice, "size": _size,
}  # fmt: skip


def _sources(root: pathlib.Path) -> list[pathlib.Path]:
    folder = pathlib.Path(_SOURCE.value or root / "sample")
    if not _SOURCE.value:
        from av_mae.prepare.datasets import sample

        sample.render(folder, workers=os.cpu_count() or 1, clips={"train": 1})
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in _NOT_MEDIA)
    if not _SECONDS.value:
        return files
    (root / "short").mkdir()
    return [_shortened(path, root / "short", _SECONDS.value) for path in files]


def _shortened(path: pathlib.Path, folder: pathlib.Path, seconds: float) -> pathlib.Path:
    """A file with the first packets of another, or that one where it cannot be written."""
    import av
    import av.error

    made = folder / path.name
    try:
        with av.open(str(path)) as source, av.open(str(made), "w") as target:
            streams = [s for s in source.streams if s.type in ("video", "audio")]
            copies = {s: target.add_stream_from_template(s) for s in streams}
            for packet in source.demux(streams):
                if packet.dts is None or packet.dts * packet.time_base > seconds:
                    continue
                packet.stream = copies[packet.stream]
                target.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        print(f"{path.name} is taken whole: {error}", file=sys.stderr)
        return path
    return made


def _prepare(media: pathlib.Path, out: pathlib.Path) -> dict[str, Any]:
    """Runs the command; what it cost."""
    command = [sys.executable, "-m", "av_mae.prepare", "--dataset=folder", f"--source={media}"]
    command += [f"--out={out}", "--val_share=0", *(f"--{flag}" for flag in _FLAGS.value)]
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.Popen(command)
    memory = _Memory(run.pid)
    code = run.wait()
    memory.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "exit_code": code,
        "wall_seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_mib": {"parent": max(memory.parent), "worker": max(memory.worker)},
        "peak_mib_over_time": {
            "parent": _pieces(memory.parent),
            "worker": _pieces(memory.worker),
        },
    }


class _Memory:
    """Resident memory in MiB of a process and of the largest of its children, over time."""

    def __init__(self, pid: int) -> None:
        self.parent, self.worker = [0], [0]
        self._pid, self._done = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLING):
            self.parent.append(_resident(self._pid))
            self.worker.append(max((_resident(pid) for pid in _children(self._pid)), default=0))


def _children(pid: int) -> list[int]:
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        return [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []


def _resident(pid: int) -> int:
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _pieces(values: list[int]) -> list[int]:
    """The largest of each of up to 20 equal stretches."""
    bounds = np.linspace(0, len(values), min(_PIECES, len(values)) + 1).astype(int)
    return [max(values[a:b]) for a, b in itertools.pairwise(bounds)]


def _ids(out: pathlib.Path) -> set[str]:
    """Of the clips that are in the records."""
    from av_mae.input import record, records

    found = []
    if not (out / records.INFO_FILE).exists():
        return set()
    info = records.Info.load(out)
    for shard in (shard for split in info.splits.values() for shard in split.shards):
        content = (out / shard.file).read_bytes()
        bounds = [*records.read_index(out, shard), shard.bytes]
        found += [record.decode(content[a + 12 : b - 4]).id for a, b in itertools.pairwise(bounds)]
    return set(found)


def _rows(path: pathlib.Path) -> Iterable[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    app.run(main)
