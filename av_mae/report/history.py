"""What a workdir remembers of its run: metrics.jsonl, run.json, config.json, results.json.

metrics.jsonl holds one JSON object a line, `{"step": 50, "kind": "train", "time": ..., ...}`, kind
being train, eval or note. A line cut short by a kill is skipped by readers and dropped on restart.
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping
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
class Run:
    """Everything a report is made from; what the workdir lacks is empty.

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
        """The last step that anything is known of."""
        return max((p.step for p in (*self.train, *self.evaluations)), default=0)

    @property
    def session(self) -> dict[str, Any]:
        """The last session that trained (else the last of any kind); empty when none is known."""
        every = self.info.get("sessions", [])
        trained = [s for s in every if s["resume_step"] is not None]
        return next(reversed(trained or every), {})


@dataclasses.dataclass(frozen=True)
class Score:
    """One evaluation metric over a run: its last value and its best."""

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


def read(workdir: pathlib.Path | str) -> Run:
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
    evaluations = [line for line in lines if line["kind"] == "eval"]
    evaluations += _results(_json(workdir / RESULTS, problems))
    return Run(
        workdir=workdir,
        config=_json(workdir / CONFIG, problems) or {},
        info=_json(workdir / RUN, problems) or {},
        train=_points(line for line in lines if line["kind"] == "train"),
        evaluations=_points(evaluations),
        notes=[(line["step"], line["text"]) for line in lines if line["kind"] == "note"],
        problems=problems,
    )


def scores(run: Run) -> dict[str, Score]:
    """Every metric that was ever evaluated, in the order of first appearance."""
    names = dict.fromkeys(name for point in run.evaluations for name in point.values)
    return {name: _score(name, run.evaluations) for name in names}


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of `<evaluator>/<metric>` is the better one."""
    return any(word in metric.split("/")[-1] for word in _LOWER_IS_BETTER)


def read_lines(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
    """(whole lines, number of broken ones); no lines where there is no file."""
    if not path.is_file():
        return [], 0
    raw = path.read_bytes().split(b"\n")
    parsed = [_line(text) for text in raw if text.strip()]
    whole = [line for line in parsed if line is not None]
    return whole, len(parsed) - len(whole)


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
    plain = {k: None if _not_finite(v) else v for k, v in line.items()}
    return json.dumps(plain, ensure_ascii=False) + "\n"


def write_whole(path: pathlib.Path, text: str) -> None:
    """Replaces a file in one step: a kill leaves the old one or the new one."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:  # of JSON or of UTF-8
        return None
    known = isinstance(line, dict) and isinstance(line.get("step"), int) and "kind" in line
    return line if known else None


def _json(path: pathlib.Path, problems: list[str]) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        problems.append(f"{path.name} is not whole JSON ({error}) and was left out")
        return None


def _results(found: Any) -> list[dict[str, Any]]:
    """results.json, one evaluation or a list of them, as lines."""
    entries = found if isinstance(found, list) else [found] if found else []
    return [{"step": e["step"], "kind": "eval", **e["results"]} for e in entries]


def _points(lines: Any) -> list[Point]:
    """Lines by step; what was written later for the same step and name wins."""
    merged: dict[int, Point] = {}
    for line in lines:
        old = merged.get(line["step"], Point(line["step"], 0.0, {}))
        values = {k: _number(v) for k, v in line.items() if k not in _BOOKKEEPING}
        time = float(line.get("time", old.time))
        merged[line["step"]] = Point(line["step"], time, old.values | values)
    return [merged[step] for step in sorted(merged)]


def _score(name: str, evaluations: list[Point]) -> Score:
    points = [p for p in evaluations if name in p.values]
    finite = [p for p in points if math.isfinite(p.values[name])] or points
    pick = min if lower_is_better(name) else max
    return Score(name, points[-1], pick(finite, key=lambda p: p.values[name]), points)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
