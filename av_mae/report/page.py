"""report.html: one self-contained file that shows what a run did and how well."""

import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from av_mae import tasks
from av_mae.config import schema
from av_mae.report import charts, exhibits, gallery, history, markup, progress

PAGE = "report.html"

_TILES = 4


def write(workdir: pathlib.Path | str) -> pathlib.Path:
    """Writes `<workdir>/report.html` from what lies in the workdir, finished or not.

    Raises:
        ValueError: `workdir` is not the folder of a run.
    """
    run = history.read(workdir)
    galleries = gallery.read(run.workdir)
    body = "".join(
        [
            _header(run),
            _tiles(run),
            markup.section("Curves", _curves(run) or markup.empty("No step was reported yet.")),
            markup.section("Scores", _scores(run)),
            markup.section("Reconstructions", _reconstructions(run, galleries)),
            markup.section("Speed", _speed(run)),
            markup.section("Notes", _notes(run)),
            markup.section("The run", _details(run)),
            "<footer>Written by av_mae; everything shown is in this one file.</footer>",
        ]
    )
    path = run.workdir / PAGE
    history.write_whole(path, markup.document(f"{run.name} · av_mae", body))
    return path


def _task(run: history.Run) -> type[tasks.Task] | None:
    """None where the workdir does not say."""
    return tasks.find(run.config["task"]) if "task" in run.config else None


def dataset(run: history.Run) -> str:
    """Name of the data set: its folder's."""
    return pathlib.PurePath(run.config.get("dataset", {}).get("path", "")).name


def modalities(run: history.Run) -> str:
    """`audio + video`, or the one there is."""
    return " + ".join(sorted(run.config.get("modalities", {})))


def start_point(run: history.Run) -> str:
    """`from scratch`, or the run or file the parameters came from; empty if not known."""
    if not run.config:
        return ""
    path = run.config.get("init_from", {}).get("path", "")
    return f"pretrained: {pathlib.PurePath(path).name}" if path else "from scratch"


def training_seconds(run: history.Run) -> float:
    """Time spent in training steps, over all sessions."""
    return sum(
        p.values.get("speed/step_seconds", 0.0) * p.values.get("speed/steps", 0.0)
        for p in run.train
    )


def elapsed_seconds(run: history.Run) -> float:
    """Time from the start of every session to the last thing it wrote, summed."""
    starts = [s["time"] for s in run.info.get("sessions", ())]
    times = [p.time for p in (*run.train, *run.evaluations)]
    total = 0.0
    for start, following in itertools.pairwise([*starts, float("inf")]):
        total += max((t - start for t in times if start <= t < following), default=0.0)
    return total


def _header(run: history.Run) -> str:
    task = _task(run)
    total = run.info.get("total_steps", 0)
    done = min(run.step / total, 1.0) if total else 0.0
    state = (f"finished {run.step:,} steps", "good") if done == 1.0 else (_reached(run), "")
    chips = [state, (modalities(run), ""), (start_point(run), "")]
    chips += [(f"config {run.info['digest']}", "mono")] if "digest" in run.info else []
    chips += [(problem, "warn") for problem in run.problems]
    about = " · ".join(filter(None, [dataset(run), _model(run.config)]))
    bar = f'<div class="bar"><i style="width:{done:.1%}"></i></div>' if 0 < done < 1 else ""
    return (
        f'<header><p class="eyebrow">{markup.escape(task.title if task else "")}</p>'
        f'<h1>{markup.escape(run.name)}</h1><p class="lead">{markup.escape(about)}</p>'
        f"{markup.chips(chip for chip in chips if chip[0])}{bar}</header>\n"
    )


def _reached(run: history.Run) -> str:
    total = run.info.get("total_steps")
    return f"step {run.step:,} of {total:,}" if total else f"step {run.step:,}"


def _model(c: Mapping[str, Any]) -> str:
    """`ViT-B, mid fusion, 16 frames of 224², 10 s of sound`."""
    model, parts = c.get("model", {}), []
    sizes = tuple(model.get(k) for k in ("width", "depth", "heads", "mlp"))
    if model:
        named = [name for name, known in schema.VARIANTS.items() if known == sizes]
        parts.append(f"ViT-{named[0]}" if named else f"ViT {sizes[0]} wide, {sizes[1]} deep")
        parts += [f"{model['fusion']} fusion"] if len(c.get("modalities", {})) > 1 else []
    shown = c.get("modalities", {})
    if "video" in shown:
        parts.append(f"{shown['video']['frames']} frames of {shown['video']['size']}²")
    if "audio" in shown:
        parts.append(f"{shown['audio']['seconds']:g} s of sound")
    return ", ".join(parts)


def _tiles(run: history.Run) -> str:
    tiles = [_score_tile(score) for score in _headline(run)]
    if not tiles and run.train:
        last = run.train[-1]
        loss = last.values.get("loss")
        tiles += [] if loss is None else [_tile("training loss", loss, f"step {last.step:,}")]
    spent = elapsed_seconds(run) or training_seconds(run)
    if tiles and spent >= 1.0:
        tiles.append(markup.tile("elapsed", progress.duration(spent), _pace(run)))
    return f'<div class="tiles">{"".join(tiles)}</div>\n' if tiles else ""


def _headline(run: history.Run) -> list[history.Score]:
    """The scores that matter most: the one checkpoints are kept by, then what is not a loss."""
    best = run.config.get("checkpoint", {}).get("best", "")
    found = sorted(
        history.scores(run).values(),
        key=lambda s: (s.name != best, history.lower_is_better(s.name)),
    )
    return found[: _TILES - 1]


def _score_tile(score: history.Score) -> str:
    if score.best_value == score.value:
        return _tile(score.name, score.value, f"step {score.last.step:,}, its best")
    best = f"best {progress.score(score.best_value)} at step {score.best.step:,}"
    return _tile(score.name, score.value, best)


def _tile(name: str, value: float, more: str) -> str:
    return markup.tile(name, progress.score(value), more)


def _pace(run: history.Run) -> str:
    rates = [p.values["speed/clips_per_second"] for p in run.train[-20:] if _has_speed(p)]
    return f"{progress.rate(sorted(rates)[len(rates) // 2])} clips/s" if rates else ""


def _curves(run: history.Run) -> str:
    """One chart for each metric name, with training and all evaluators in it; loss first."""
    scores = history.scores(run)
    colours = {name: i for i, name in enumerate(dict.fromkeys(["train", *map(_evaluator, scores)]))}
    series: dict[str, list[charts.Series]] = {"loss": []}
    for name in scores:
        label = _evaluator(name)
        drawn = _series(label, name, run.evaluations, colours[label], dots=True)
        series.setdefault(_metric(name), []).append(drawn)
    for name in dict.fromkeys(n for p in run.train for n in p.values):
        if not name.startswith("speed/"):
            series.setdefault(name, []).insert(0, _series("train", name, run.train))
    made = "".join(charts.chart(metric, each) for metric, each in series.items())
    return f'<div class="charts">{made}</div>' if made else ""


def _speed(run: history.Run) -> str:
    points = [p for p in run.train if _has_speed(p)]
    made = "".join(
        charts.chart(title, [_series("train", name, points, factor=factor)], from_zero=True)
        for title, name, factor in (
            ("clips a second", "speed/clips_per_second", 1.0),
            ("waiting for input, %", "speed/input_wait", 100.0),
            ("MFU, %", "speed/mfu", 100.0),
        )
    )
    return f'<div class="charts">{made}</div>' if made else ""


def _evaluator(name: str) -> str:
    return name.rpartition("/")[0] or "eval"


def _metric(name: str) -> str:
    return name.rpartition("/")[2]


def _has_speed(point: history.Point) -> bool:
    return "speed/clips_per_second" in point.values


def _series(
    label: str,
    name: str,
    points: Sequence[history.Point],
    colour: int = 0,
    *,
    dots: bool = False,
    factor: float = 1.0,
) -> charts.Series:
    own = [p for p in points if name in p.values]
    values = [p.values[name] * factor for p in own]
    return charts.Series(label, [p.step for p in own], values, colour, dots)


def _scores(run: history.Run) -> str:
    found = list(history.scores(run).values())
    if not found:
        return markup.empty("No evaluation has run yet.")
    head = [("evaluator", ""), ("metric", ""), ("last", "num"), ("best", "num"), ("", "trend")]
    rows, before = [], None
    for score in found:
        evaluator = _evaluator(score.name)
        rows.append(_score_row(score, "" if evaluator == before else evaluator))
        before = evaluator
    return markup.table(head, rows)


def _score_row(score: history.Score, evaluator: str) -> str:
    names = (evaluator, _metric(score.name))
    cells = [f"<td>{markup.escape(name)}</td>" for name in names]
    for point, kind in ((score.last, "num"), (score.best, "num best")):
        value = progress.score(point.values[score.name])
        cells.append(f'<td class="{kind}">{value}<small>step {point.step:,}</small></td>')
    trend = charts.sparkline([p.values[score.name] for p in score.points])
    cells.append(f'<td class="trend">{trend}</td>')
    return f'<tr class="{"" if evaluator else "same"}">{"".join(cells)}</tr>'


def _reconstructions(run: history.Run, galleries: Sequence[gallery.Gallery]) -> str:
    shown = exhibits.section(galleries)
    task = _task(run)
    if shown or task is None or not task.gallery:
        return shown
    return markup.empty("No gallery yet: a reconstruction evaluator writes one.")


def _notes(run: history.Run) -> str:
    rows = "".join(f"<li>step {step:,}: {markup.escape(text)}</li>" for step, text in run.notes)
    return f'<ul class="plain">{rows}</ul>' if rows else ""


def _details(run: history.Run) -> str:
    sessions = run.info.get("sessions", [])
    cards = [f'<div class="card">{_machine(run, run.session)}</div>'] if sessions else []
    if len(sessions) > 1:
        cards.append(_card("sessions", _session_list(sessions)))
    if run.config:
        text = json.dumps(run.config, indent=2, ensure_ascii=False)
        cards.append(_card("config", f"<pre>{markup.escape(text)}</pre>"))
    return (
        f'<div class="stack">{"".join(cards)}</div>'
        if cards
        else markup.empty("The workdir says nothing about its session.")
    )


def _machine(run: history.Run, session: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in session["packages"].items())
    hosts = f" on {session['processes']} hosts" if session["processes"] > 1 else ""
    start_up = session.get("start_up")
    return markup.facts(
        [
            ("command", markup.code(session["command"])),
            ("devices", f"{session['devices']} x {session['device_kind']}{hosts}"),
            ("system", f"{session['system']}, {session['cores']} cores"),
            ("started", session["start"].replace("T", " ").replace("+00:00", " UTC")),
            ("start-up", progress.stages(start_up) if start_up else ""),
            ("elapsed", progress.duration(elapsed_seconds(run))),
            ("in training steps", progress.duration(training_seconds(run))),
            ("versions", f"python {session['python']}, {versions}"),
        ]
    )


def _session_list(sessions: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<li>{markup.escape(s['start'])}, from step {s['resume_step'] or 0:,}: "
        f"{markup.code(s['command'])}</li>"
        for s in sessions
    )
    return f'<ol class="plain">{rows}</ol>'


def _card(title: str, content: str) -> str:
    return f'<details class="card"><summary>{title}</summary>{content}</details>'
