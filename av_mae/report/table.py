"""Finished runs side by side: one row a run, as aligned text, as Markdown and as a page."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from av_mae.report import charts, history, progress, render

_NAMES = ["run", "modalities", "start"]  # of the columns left of the metrics


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
        best: the best value of each metric that more than one run has.
    """

    rows: list[Row]
    metrics: list[str]
    best: Mapping[str, float]

    def cells(self, row: Row) -> list[str]:
        values = [row.values.get(metric) for metric in self.metrics]
        scores = ["-" if value is None else progress.score(value) for value in values]
        return [row.name, "+".join(row.log.modalities), row.log.start_point, *scores]

    @property
    def notes(self) -> list[str]:
        """What stands behind the scores: `test/accuracy: of 270 clips; guessing gets 0.111`."""
        lines = []
        for metric in self.metrics:
            scores = [row.log.scores[metric] for row in self.rows if metric in row.log.scores]
            clips = [f"{score.clips:,}" for score in scores if score.clips is not None]
            chance = [progress.score(score.chance) for score in scores if score.chance is not None]
            behind = [f"of {' or '.join(dict.fromkeys(clips))} clips"] if clips else []
            behind += [f"guessing gets {' or '.join(dict.fromkeys(chance))}"] if chance else []
            if behind:
                lines.append(f"{metric}: {'; '.join(behind)}")
        return lines

    def is_best(self, row: Row, metric: str) -> bool:
        return metric in self.best and row.values.get(metric) == self.best[metric]


def read(workdirs: Sequence[pathlib.Path | str], metrics: Sequence[str] = ()) -> Table:
    """Reads the runs in the order given.

    Args:
        metrics: columns, named `<evaluator>/<metric>`; empty for all that any run has.

    Raises:
        ValueError: a folder that holds no run, or a metric that no run was evaluated on.
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
    known = list(dict.fromkeys(metric for row in rows for metric in row.values))
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
    return Table(rows, list(metrics) or known, best)


def text(table: Table) -> str:
    """Columns aligned with spaces, for a terminal."""
    rows = [[*_NAMES, *table.metrics], *(table.cells(row) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return "\n".join(lines + table.notes) + "\n"


def markdown(table: Table) -> str:
    """The table, and below it where each row comes from: config, length, machine, command."""
    lines = ["| " + " | ".join([*_NAMES, *table.metrics]) + " |"]
    lines += ["| --- | --- | --- |" + " ---: |" * len(table.metrics)]
    for row in table.rows:
        cells = [cell.replace("|", "\\|") for cell in table.cells(row)]
        for i, metric in enumerate(table.metrics, start=len(_NAMES)):
            cells[i] = f"**{cells[i]}**" if table.is_best(row, metric) else cells[i]
        lines.append("| " + " | ".join(cells) + " |")
    sources = [f"- {row.name}: {row.source}, `{row.command}`" for row in table.rows]
    notes = [f"{note}  " for note in table.notes]  # a line each
    return "\n".join([*lines, "", *notes, *([""] if notes else []), *sources]) + "\n"


def write_page(table: Table, path: pathlib.Path | str) -> pathlib.Path:
    """A self-contained page: the table, and the evaluation curves of all runs over each other."""
    curves = []
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
        names=_NAMES,
        curves=curves,
        colours=charts.COLOURS,
    )
