"""Runs side by side: one row a run, as aligned text, as Markdown and as a page."""

import dataclasses
import glob
import math
import pathlib
from collections.abc import Mapping, Sequence

from av_mae.config import keys
from av_mae.report import charts, differences, history, progress, render

_NAMES = ("run", "modalities", "start")  # of the first columns


@dataclasses.dataclass(frozen=True)
class Row:
    """One run; `values` are the metrics of its last evaluations."""

    name: str
    log: history.RunLog
    values: Mapping[str, float]
    command: str

    @property
    def source(self) -> str:
        """Config digest, steps, time and devices, as far as the workdir knows them."""
        log, spent = self.log, self.log.training_seconds
        parts = [f"config {log.info['digest']}"] if "digest" in log.info else []
        parts += [f"{log.step:,} of {log.info['total_steps']:,} steps"] if log.info else []
        parts += [f"{progress.duration(spent)} in training steps"] if spent else []
        if log.session:
            parts.append(f"{log.session['devices']} x {log.session['device_kind']}")
        return ", ".join(parts) or "no record"


@dataclasses.dataclass(frozen=True)
class Table:
    """Runs by metrics; a run without a metric has no value there.

    Attributes:
        columns: keys of the config that have a column, left of the metrics.
        best: the best value of each metric that more than one run has.
    """

    rows: list[Row]
    columns: list[str]
    metrics: list[str]
    best: Mapping[str, float]

    @property
    def names(self) -> list[str]:
        """Of the columns left of the metrics."""
        return [*_NAMES, *self.columns]

    def cells(self, row: Row) -> list[str]:
        chosen = [differences.cell(row.log.config, key) for key in self.columns]
        values = [row.values.get(metric) for metric in self.metrics]
        scores = ["-" if value is None else progress.score(value) for value in values]
        return [row.name, "+".join(row.log.modalities), row.log.start_point, *chosen, *scores]

    @property
    def differences(self) -> dict[str, list[str]]:
        """The values of each key that is not the same in all configs, in the order of the rows."""
        return differences.rows([row.log.config for row in self.rows])

    @property
    def notes(self) -> list[str]:
        """What stands behind the scores: `test/accuracy: of 270 clips; guessing gets 0.111`."""
        metrics: dict[str, list[str]] = {}
        for metric in self.metrics:
            scores = [row.log.scores[metric] for row in self.rows if metric in row.log.scores]
            clips = [f"{score.clips:,}" for score in scores if score.clips is not None]
            chance = [progress.score(score.chance) for score in scores if score.chance is not None]
            behind = [f"of {' or '.join(dict.fromkeys(clips))} clips"] if clips else []
            behind += [f"guessing gets {' or '.join(dict.fromkeys(chance))}"] if chance else []
            if behind:
                metrics.setdefault("; ".join(behind), []).append(metric)
        return [f"{', '.join(names)}: {behind}" for behind, names in metrics.items()]

    def is_best(self, row: Row, metric: str) -> bool:
        return metric in self.best and row.values.get(metric) == self.best[metric]


def find(patterns: Sequence[str]) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """The workdirs that are meant, and the folders that are none and were left out.

    Args:
        patterns: folders, and wildcards such as `runs/demo/*` or `runs/**`, whose folders come by
            name; what matches twice comes once.

    Raises:
        ValueError: a folder that is not there, or a wildcard that no run matches.
    """
    found: dict[pathlib.Path, bool] = {}
    for pattern in patterns:
        path = pathlib.Path(pattern).expanduser()
        if path.is_dir():
            found[path] = True
            continue
        if not glob.has_magic(pattern):
            advice = ""
            if len(patterns) > 1:
                advice = "; a name with a comma is written in quotes or with a wildcard"
            raise ValueError(f"there is no folder {pattern}{advice}")
        matches = sorted(map(pathlib.Path, glob.glob(str(path), recursive=True)))
        folders = {match: history.is_run(match) for match in matches if match.is_dir()}
        if not any(folders.values()):
            raise ValueError(f"no folder that {pattern} matches holds a run")
        found |= {folder: run for folder, run in folders.items() if folder not in found}
    return [p for p, run in found.items() if run], [p for p, run in found.items() if not run]


def read(
    workdirs: Sequence[pathlib.Path | str],
    metrics: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Table:
    """Reads the runs in the order given.

    Args:
        metrics: columns, named `<evaluator>/<metric>`; empty for all that any run has.
        columns: keys of the config that get a column, such as `optim.layer_decay`.

    Raises:
        ValueError: a folder that holds no run, a metric that no run was evaluated on, or a key
            that no config has.
    """
    logs = [history.read(workdir) for workdir in workdirs]
    if not logs:
        raise ValueError("no run to compare; give --workdirs=DIR,DIR,...")
    names, rows = [log.name for log in logs], []
    for log, name in zip(logs, names, strict=True):
        if names.count(name) > 1:
            name = f"{log.workdir.resolve().parent.name}/{name}"
        values = {metric: score.value for metric, score in log.scores.items()}
        rows.append(Row(name, log, values, log.session.get("command", "no command on record")))
    known = list(dict.fromkeys(score.name for log in logs for score in log.headline))
    best = {}
    for metric in known:
        values = [row.values[metric] for row in rows if metric in row.values]
        values = [value for value in values if math.isfinite(value)]
        if len(values) > 1:
            best[metric] = (min if history.lower_is_better(metric) else max)(values)
    for metric in metrics:
        if metric not in known:
            raise ValueError(
                f"no run has metric {metric!r}; there are: {', '.join(known) or 'none yet'}"
            )
    there = list(dict.fromkeys(key for log in logs for key in keys.flat(log.config)))
    for key in columns:
        if key not in there:
            raise ValueError(f"no run has config key {key!r}; {keys.advice(key, there)}")
        if any(other.startswith(f"{key}.") for other in there):
            inside = keys.advice(f"{key}.", there)
            raise ValueError(f"config key {key!r} is a section, give one of its keys: {inside}")
    return Table(rows, list(columns), list(metrics) or known, best)


def text(table: Table) -> str:
    """Columns aligned with spaces, for a terminal; below them what differs between the configs."""
    rows = [[*table.names, *table.metrics], *(table.cells(row) for row in table.rows)]
    lines = [*_aligned(rows, len(table.names)), *table.notes]
    if table.differences:
        names = [row.name for row in table.rows]
        compared = [[key, *values] for key, values in table.differences.items()]
        lines += ["", *_aligned([["differs", *names], *compared], 1 + len(names))]
    return "\n".join(lines) + "\n"


def markdown(table: Table) -> str:
    """The table, what differs, and where each row comes from: config, length, machine, command."""
    lines = [_markdown_row([*table.names, *table.metrics])]
    lines += ["|" + " --- |" * len(table.names) + " ---: |" * len(table.metrics)]
    for row in table.rows:
        cells = table.cells(row)
        for i, metric in enumerate(table.metrics, start=len(table.names)):
            cells[i] = f"**{cells[i]}**" if table.is_best(row, metric) else cells[i]
        lines.append(_markdown_row(cells))
    compared = [_markdown_row([f"`{k}`", *values]) for k, values in table.differences.items()]
    if compared:
        names = [row.name for row in table.rows]
        rule = "|" + " --- |" * (1 + len(names))
        compared = ["", _markdown_row(["differs", *names]), rule, *compared]
    sources = [f"- {row.name}: {row.source}, `{row.command}`" for row in table.rows]
    notes = [f"{note}  " for note in table.notes]  # a line each
    notes = ["", *notes] if notes else []
    return "\n".join([*lines, *notes, *compared, "", *sources]) + "\n"


def write_page(table: Table, path: pathlib.Path | str) -> pathlib.Path:
    """A self-contained page: the table, what differs, and the curves of all runs over each other.

    Curves are those of the training loss, one chart for each task, and of the evaluations.
    """
    curves = []
    tasks = [row.log.config.get("task", "") for row in table.rows]
    for task in dict.fromkeys(tasks):
        series = [
            charts.of_points(row.name, row.log.train, "loss", colour=number)
            for number, row in enumerate(table.rows)
            if tasks[number] == task
        ]
        title = f"training loss, {task}" if len(set(tasks)) > 1 else "training loss"
        curves.append(charts.lines(title, [one for one in series if one.steps]))
    for metric in table.metrics:
        series = [
            charts.of_points(row.name, row.log.evaluations, metric, colour=number, dots=True)
            for number, row in enumerate(table.rows)
        ]
        if max(len(one.steps) for one in series) > 1:
            curves.append(charts.lines(metric, series))
    curves = list(filter(None, curves))
    return render.page(
        "comparison.html",
        pathlib.Path(path),
        table=table,
        names=table.names,
        curves=curves,
        colours=charts.COLOURS,
    )


def _aligned(rows: list[list[str]], left: int) -> list[str]:
    """Lines of a table whose first row is a header; so many columns are aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in (rows[0], ["-" * width for width in widths], *rows[1:]):
        cells = zip(row, widths, strict=True)
        padded = [x.ljust(n) if i < left else x.rjust(n) for i, (x, n) in enumerate(cells)]
        lines.append("  ".join(padded).rstrip())
    return lines


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
