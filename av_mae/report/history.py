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
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METRICS = "metrics.jsonl"
RUN = "run.json"
CONFIG = "config.json"
RESULTS = "results.json"

_BOOKKEEPING = ("step", "kind", "time", "text")
_CLIPS, _CHANCE = "clips", "chance"
_LOWER_IS_BETTER = ("loss", "error", "perplexity")


@dataclasses.dataclass(frozen=True)
class Point:
    """The metrics of one step, and when they were written (seconds since 1970)."""

    step: int
    time: float
    values: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Score:
    """One evaluation metric over a run.

    Attributes:
        name: `<evaluator>/<metric>`, and its two parts.
        points: all that have it.
        clips: number of clips behind the last one; None where the evaluator does not say.
        chance: what guessing gets; None where the evaluator does not say.
        value, best_value: its last one, and the one at `best`.
    """

    name: str
    evaluator: str
    metric: str
    points: list[Point]
    values: list[float]
    value: float
    best: Point
    best_value: float
    clips: int | None = None
    chance: float | None = None


@dataclasses.dataclass(frozen=True)
class RunLog:
    """Everything that a workdir holds for a report; what it lacks is empty.

    Attributes:
        config: the experiment as a nested dict.
        info: run.json; see `av_mae.report.writer`.
        session: the last of `sessions` that trained, else the last of any kind.
        start_point: `from scratch`, or the run or file the parameters came from.
        step: the last one that was logged.
        train, evaluations: by ascending step, one entry a step.
        scores: every metric that was ever evaluated, in the order of first appearance.
        notes: (step, text).
        training_seconds: spent in training steps, over all sessions.
        elapsed_seconds: from the start of every session to the last thing it wrote, summed.
        problems: what could not be read, as sentences.
    """

    workdir: pathlib.Path
    name: str
    config: dict[str, Any]
    info: dict[str, Any]
    sessions: list[dict[str, Any]]
    session: dict[str, Any]
    modalities: list[str]
    start_point: str
    step: int
    train: list[Point]
    evaluations: list[Point]
    scores: dict[str, Score]
    notes: list[tuple[int, str]]
    training_seconds: float
    elapsed_seconds: float
    problems: list[str]

    @property
    def headline(self) -> list[Score]:
        """All scores, those that matter most first.

        The whole model before one that is shown less (`test[audio]`), the test split before others,
        the metric that checkpoints are kept by before others, and losses last.
        """
        best = self.config.get("checkpoint", {}).get("best", "").rpartition("/")[2]
        evaluators = self.config.get("evaluators", {})

        def rank(score: Score) -> tuple[bool, ...]:
            name, partial, _ = score.evaluator.partition("[")
            split = evaluators.get(name, {}).get("split", name)
            return (
                bool(partial),
                re.match(r"test\b", split) is None,
                score.metric != best,
                lower_is_better(score.name),
            )

        return sorted(self.scores.values(), key=rank)


def read(workdir: pathlib.Path | str) -> RunLog:
    """Reads a workdir, finished or not; tolerates what a killed process leaves.

    Raises:
        ValueError: `workdir` is not the folder of a run.
    """
    workdir = pathlib.Path(workdir)
    if not is_run(workdir):
        raise ValueError(
            f"{workdir} holds no run ({METRICS}, {RUN} and {CONFIG} are missing); "
            "give the --workdir of a training"
        )
    problems: list[str] = []
    lines, broken = read_lines(workdir / METRICS)
    if broken:
        kind = "line" if broken == 1 else "lines"
        problems.append(f"{broken} unreadable {kind} of {METRICS} left out")
    results = read_json(workdir / RESULTS, problems) or []
    results = results if isinstance(results, list) else [results]
    scored = [line for line in lines if line["kind"] == "eval"]
    scored += [{"step": result["step"], **result["results"]} for result in results]
    train = _points(line for line in lines if line["kind"] == "train")
    evaluations = _points(scored)
    points = [*train, *evaluations]

    config = read_json(workdir / CONFIG, problems) or {}
    origin = config.get("init_from", {}).get("path", "")
    start_point = f"pretrained: {pathlib.PurePath(origin).name}" if origin else "from scratch"
    info = read_json(workdir / RUN, problems) or {}
    sessions = info.get("sessions", [])
    trained = [s for s in sessions if s["resume_step"] is not None]
    starts = itertools.pairwise([*(s["time"] for s in sessions), math.inf])
    return RunLog(
        workdir=workdir,
        name=workdir.resolve().name,
        config=config,
        info=info,
        sessions=sessions,
        session=next(reversed(trained or sessions), {}),
        modalities=sorted(config.get("modalities", {})),
        start_point=start_point if config else "",
        step=max((p.step for p in points), default=0),
        train=train,
        evaluations=evaluations,
        scores=_scores(evaluations),
        notes=[(line["step"], line["text"]) for line in lines if line["kind"] == "note"],
        training_seconds=sum(
            p.values.get("speed/step_seconds", 0.0) * p.values.get("speed/steps", 0.0)
            for p in train
        ),
        elapsed_seconds=sum(
            max((p.time - start for p in points if start <= p.time < following), default=0.0)
            for start, following in starts
        ),
        problems=problems,
    )


def is_run(folder: pathlib.Path) -> bool:
    """Whether a folder holds anything that a training writes."""
    return any((folder / name).is_file() for name in (METRICS, RUN, CONFIG))


def read_json(path: pathlib.Path, problems: list[str] | None = None) -> Any:
    """The content of a file; None where there is none, or none that is whole.

    Args:
        problems: gets a sentence about a file that is not whole.
    """
    try:
        return json.loads(path.read_bytes()) if path.is_file() else None
    except ValueError as error:
        if problems is not None:
            problems.append(f"{path.name} is not whole JSON ({error}) and was left out")
        return None


def is_score(name: str) -> bool:
    """Whether `<evaluator>/<metric>` says how good a model is, and not what stands behind a score.

    That is the number of `clips` behind all scores of the evaluator but those of one modality that
    has its own, as `clips_audio` for `accuracy_audio`, and what guessing gets, as
    `chance_accuracy`.
    """
    return name.rpartition("/")[2].partition("_")[0] not in (_CLIPS, _CHANCE)


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


def _scores(evaluations: Sequence[Point]) -> dict[str, Score]:
    found = {}
    for name in dict.fromkeys(name for point in evaluations for name in point.values):
        if not is_score(name):
            continue
        points = [p for p in evaluations if name in p.values]
        values = [p.values[name] for p in points]
        finite = [p for p in points if math.isfinite(p.values[name])] or points
        pick = min if lower_is_better(name) else max
        best = pick(finite, key=lambda p: p.values[name])
        evaluator, _, metric = name.rpartition("/")
        counts = [f"{evaluator}/{_CLIPS}_{metric.rpartition('_')[2]}", f"{evaluator}/{_CLIPS}"]
        clips = [points[-1].values[count] for count in counts if count in points[-1].values]
        found[name] = Score(
            name,
            evaluator or "eval",
            metric,
            points,
            values,
            values[-1],
            best,
            best.values[name],
            int(clips[0]) if clips else None,
            points[-1].values.get(f"{evaluator}/{_CHANCE}_{metric}"),
        )
    return found
