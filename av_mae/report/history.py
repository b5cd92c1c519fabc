"""The files a run logs to, written and read: metrics.jsonl, config.json, results.json, run.json.

metrics.jsonl holds one JSON object a line, `{"step": 50, "kind": "train", "time": ..., ...}`, kind
being train, eval or note. A line cut short by a kill is skipped by readers and dropped on restart.
"""

import dataclasses
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

METRICS = "metrics.jsonl"
RUN = "run.json"
CONFIG = "config.json"
RESULTS = "results.json"

_BOOKKEEPING = ("step", "kind", "time", "text")
_LOWER_IS_BETTER = ("loss", "error", "perplexity")


@dataclasses.dataclass(frozen=True)
class Point:
    """The metrics of one step, and when they were written (seconds since 1970)."""

    step: int
    time: float
    values: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Score:
    """One evaluation metric over a run: its last value, its best, and all points that have it."""

    name: str
    last: Point
    best: Point
    points: list[Point]

    @property
    def value(self) -> float:
        return self.last.values[self.name]

    @property
    def best_value(self) -> float:
        return self.best.values[self.name]

    @property
    def values(self) -> list[float]:
        """Of all points."""
        return [p.values[self.name] for p in self.points]

    @property
    def evaluator(self) -> str:
        return self.name.rpartition("/")[0] or "eval"

    @property
    def metric(self) -> str:
        return self.name.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class RunLog:
    """Everything that a workdir holds for a report; what it lacks is empty.

    Attributes:
        config: the experiment as a nested dict.
        info: run.json; see `av_mae.report.session`.
        train, evaluations: by ascending step, one entry a step.
        notes: (step, text).
        problems: what could not be read, as sentences.
    """

    workdir: pathlib.Path
    config: dict[str, Any]
    info: dict[str, Any]
    train: list[Point]
    evaluations: list[Point]
    notes: list[tuple[int, str]]
    problems: list[str]

    @property
    def name(self) -> str:
        return self.workdir.resolve().name

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return max((p.step for p in (*self.train, *self.evaluations)), default=0)

    @property
    def sessions(self) -> list[dict[str, Any]]:
        return self.info.get("sessions", [])

    @property
    def session(self) -> dict[str, Any]:
        """The last session that trained (else the last of any kind); empty when none is known."""
        trained = [s for s in self.sessions if s["resume_step"] is not None]
        return next(reversed(trained or self.sessions), {})

    @property
    def modalities(self) -> list[str]:
        return sorted(self.config.get("modalities", {}))

    @property
    def start_point(self) -> str:
        """`from scratch`, or the run or file the parameters came from; empty if not known."""
        if not self.config:
            return ""
        path = self.config.get("init_from", {}).get("path", "")
        return f"pretrained: {pathlib.PurePath(path).name}" if path else "from scratch"

    def scores(self) -> dict[str, Score]:
        """Every metric that was ever evaluated, in the order of first appearance."""
        found = {}
        for name in dict.fromkeys(name for point in self.evaluations for name in point.values):
            points = [p for p in self.evaluations if name in p.values]
            finite = [p for p in points if math.isfinite(p.values[name])] or points
            pick = min if lower_is_better(name) else max
            found[name] = Score(
                name, points[-1], pick(finite, key=lambda p: p.values[name]), points
            )
        return found

    def training_seconds(self) -> float:
        """Time spent in training steps, over all sessions."""
        return sum(
            p.values.get("speed/step_seconds", 0.0) * p.values.get("speed/steps", 0.0)
            for p in self.train
        )

    def elapsed_seconds(self) -> float:
        """Time from the start of every session to the last thing it wrote, summed."""
        times = [p.time for p in (*self.train, *self.evaluations)]
        starts = [s["time"] for s in self.sessions]
        return sum(
            max((t - start for t in times if start <= t < following), default=0.0)
            for start, following in itertools.pairwise([*starts, math.inf])
        )


def read(workdir: pathlib.Path | str) -> RunLog:
    """Reads a workdir, finished or not; tolerates what a killed process leaves.

    Raises:
        ValueError: `workdir` is not the folder of a run.
    """
    workdir = pathlib.Path(workdir)
    if not any((workdir / name).is_file() for name in (METRICS, RUN, CONFIG)):
        raise ValueError(
            f"{workdir} holds no run ({METRICS}, {RUN} and {CONFIG} are missing); "
            "give the --workdir of a training"
        )
    problems: list[str] = []
    lines, broken = read_lines(workdir / METRICS)
    if broken:
        problems.append(
            f"{broken} unreadable {'line' if broken == 1 else 'lines'} of {METRICS} left out"
        )
    results = _read_json(workdir / RESULTS, problems) or []
    results = results if isinstance(results, list) else [results]
    evaluations = [line for line in lines if line["kind"] == "eval"]
    evaluations += [{"step": result["step"], **result["results"]} for result in results]
    return RunLog(
        workdir=workdir,
        config=_read_json(workdir / CONFIG, problems) or {},
        info=_read_json(workdir / RUN, problems) or {},
        train=_points(line for line in lines if line["kind"] == "train"),
        evaluations=_points(evaluations),
        notes=[(line["step"], line["text"]) for line in lines if line["kind"] == "note"],
        problems=problems,
    )


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of `<evaluator>/<metric>` is the better one."""
    return any(word in metric.split("/")[-1] for word in _LOWER_IS_BETTER)


def read_lines(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
    """(whole lines, number of broken ones); no lines where there is no file."""
    whole: list[dict[str, Any]] = []
    broken = 0
    for text in path.read_bytes().split(b"\n") if path.is_file() else []:
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError:  # of JSON or of UTF-8
            line = None
        if isinstance(line, dict) and isinstance(line.get("step"), int) and "kind" in line:
            whole.append(line)
        else:
            broken += 1
    return whole, broken


def restart(path: pathlib.Path, resume_step: int | None) -> None:
    """Makes metrics.jsonl ready for appending: no broken line, none after `resume_step`.

    Args:
        resume_step: the step of the restored checkpoint, 0 for a fresh start; None keeps all steps.
    """
    lines, broken = read_lines(path)
    kept = [line for line in lines if resume_step is None or line["step"] <= resume_step]
    ends_well = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    if broken or len(kept) < len(lines) or not ends_well:
        write_whole(path, "".join(encode(line) for line in kept))


def encode(line: Mapping[str, Any]) -> str:
    """One line of metrics.jsonl; numbers that are not finite become null, as JSON has none."""
    plain = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in line.items()
    }
    return json.dumps(plain, ensure_ascii=False) + "\n"


def write_whole(path: pathlib.Path, text: str) -> None:
    """Replaces a file in one step: a kill leaves the old one or the new one.

    Names of files that are not Unicode are written with backslash escapes.
    """
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(unfinished, path)


def _read_json(path: pathlib.Path, problems: list[str]) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        problems.append(f"{path.name} is not whole JSON ({error}) and was left out")
        return None


def _points(lines: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Lines by step; what was written later for the same step and name wins."""
    merged: dict[int, Point] = {}
    for line in lines:
        old = merged.get(line["step"], Point(line["step"], 0.0, {}))
        values = {
            key: math.nan if value is None else float(value)
            for key, value in line.items()
            if key not in _BOOKKEEPING
        }
        time = float(line.get("time", old.time))
        merged[line["step"]] = Point(line["step"], time, old.values | values)
    return [merged[step] for step in sorted(merged)]
