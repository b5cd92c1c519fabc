"""Finished runs side by side: one row a run, as aligned text, as Markdown and as a page."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from av_mae.report import charts, history, markup, page, progress


@dataclasses.dataclass(frozen=True)
class Row:
    """One run; `values` are the metrics of its last evaluations."""

    run: history.Run
    name: str
    modalities: str
    start: str
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Table:
    """Runs by metrics; a run without a metric has no value there."""

    rows: list[Row]
    metrics: list[str]


def read(workdirs: Sequence[pathlib.Path | str], metrics: Sequence[str] = ()) -> Table:
    """Reads the runs in the order given.

    Args:
        metrics: columns, named `<evaluator>/<metric>`; empty for all that any run has.

    Raises:
        ValueError: a folder that holds no run, or a metric that no run was evaluated on.
    """
    runs = [history.read(workdir) for workdir in workdirs]
    if not runs:
        raise ValueError("no run to compare; give --workdirs=DIR,DIR,...")
    rows = [_row(run, name) for run, name in zip(runs, _names(runs), strict=True)]
    known = list(dict.fromkeys(metric for row in rows for metric in row.values))
    for metric in metrics:
        if metric not in known:
            raise ValueError(
                f"no run has metric {metric!r}; there are: {', '.join(known) or 'none yet'}"
            )
    return Table(rows, list(metrics) or known)


def text(table: Table) -> str:
    """Columns aligned with spaces, for a terminal."""
    cells = [_head(table), *(_cells(table, row) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(_aligned, row, widths, range(len(row)))) for row in cells]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:]]) + "\n"


def markdown(table: Table) -> str:
    """The table, and below it where each row comes from: config, length, machine, command."""
    lines = ["| " + " | ".join(_head(table)) + " |"]
    lines += ["| --- | --- | --- |" + " ---: |" * len(table.metrics)]
    for row in table.rows:
        cells = _cells(table, row)
        for i, metric in enumerate(table.metrics, start=3):
            cells[i] = f"**{cells[i]}**" if _is_best(table, row, metric) else cells[i]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    sources = [f"- {row.name}: {_source(row.run)}, `{_command(row.run)}`" for row in table.rows]
    return "\n".join([*lines, "", *sources]) + "\n"


def write_page(table: Table, path: pathlib.Path | str) -> pathlib.Path:
    """A self-contained page: the table, and the evaluation curves of all runs over each other."""
    count = f"{len(table.rows)} runs" if len(table.rows) > 1 else "1 run"
    steps = sum(row.run.step for row in table.rows)
    body = "".join(
        [
            '<header><p class="eyebrow">Comparison</p>',
            f'<h1>{count}</h1><p class="lead">{steps:,} training steps in all</p></header>',
            markup.section("Scores", _html_table(table)),
            markup.section("Curves", _curves(table)),
            markup.section("The runs", _sources(table)),
        ]
    )
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    history.write_whole(path, markup.document(f"{count} · av_mae", body))
    return path


def _row(run: history.Run, name: str) -> Row:
    values = {metric: score.value for metric, score in history.scores(run).items()}
    return Row(run, name, page.modalities(run).replace(" ", ""), page.start_point(run), values)


def _names(runs: Sequence[history.Run]) -> list[str]:
    """Folder names; with the parent folder where two are the same."""
    names = [run.name for run in runs]
    return [
        f"{run.workdir.resolve().parent.name}/{name}" if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def _head(table: Table) -> list[str]:
    return ["run", "modalities", "start", *table.metrics]


def _cells(table: Table, row: Row) -> list[str]:
    return [row.name, row.modalities, row.start, *(_value(row, m) for m in table.metrics)]


def _value(row: Row, metric: str) -> str:
    value = row.values.get(metric)
    return "-" if value is None else progress.score(value)


def _is_best(table: Table, row: Row, metric: str) -> bool:
    """Whether the value is to be marked; never where there is nothing to compare it with."""
    found = [other.values[metric] for other in table.rows if metric in other.values]
    found = [value for value in found if math.isfinite(value)]
    pick = min if history.lower_is_better(metric) else max
    return len(found) > 1 and row.values.get(metric) == pick(found)


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 3 else cell.rjust(width)


def _source(run: history.Run) -> str:
    """Config digest, steps, time and devices, as far as the workdir knows them."""
    parts = [f"config {run.info['digest']}"] if "digest" in run.info else []
    parts.append(f"{run.step:,} of {run.info['total_steps']:,} steps" if run.info else "")
    spent = page.training_seconds(run)
    parts.append(f"{progress.duration(spent)} in training steps" if spent else "")
    if run.session:
        parts.append(f"{run.session['devices']} x {run.session['device_kind']}")
    return ", ".join(filter(None, parts)) or "no record"


def _command(run: history.Run) -> str:
    return run.session.get("command", "no command on record")


def _html_table(table: Table) -> str:
    head = [(name, "") for name in _head(table)[:3]] + [(m, "num") for m in table.metrics]
    rows = []
    for number, row in enumerate(table.rows):
        key = f'<span class="key"><i class="c{number % charts.COLOURS}"></i></span>'
        cells = f"<td>{key}{markup.escape(row.name)}</td>"
        cells += "".join(f"<td>{markup.escape(x)}</td>" for x in (row.modalities, row.start))
        for metric in table.metrics:
            kind = "num best" if _is_best(table, row, metric) else "num"
            cells += f'<td class="{kind}">{_value(row, metric)}</td>'
        rows.append(f"<tr>{cells}</tr>")
    return markup.table(head, rows)


def _curves(table: Table) -> str:
    """Of the metrics that some run was evaluated on more than once."""
    series = {metric: _series(table, metric) for metric in table.metrics}
    made = "".join(
        charts.chart(metric, each)
        for metric, each in series.items()
        if max(len(s.steps) for s in each) > 1
    )
    return f'<div class="charts">{made}</div>' if made else ""


def _series(table: Table, metric: str) -> list[charts.Series]:
    series = []
    for number, row in enumerate(table.rows):
        points = [p for p in row.run.evaluations if metric in p.values]
        values = [p.values[metric] for p in points]
        series.append(charts.Series(row.name, [p.step for p in points], values, number, dots=True))
    return series


def _sources(table: Table) -> str:
    pairs = [
        (
            row.name,
            markup.Html(f"{markup.escape(_source(row.run))}<br>{markup.code(_command(row.run))}"),
        )
        for row in table.rows
    ]
    return f'<div class="card">{markup.facts(pairs)}</div>'
