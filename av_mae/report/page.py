"""report.html: one self-contained file that shows what a run did and how well."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from av_mae import tasks
from av_mae.config import schema
from av_mae.report import cards, charts, classes, gallery, history, progress, render

PAGE = "report.html"
# Characters of a gallery's inlined pictures and sound; clips beyond it are named, not shown.
BUDGET = 14_000_000

_TILES = 4
_RECENT = 20  # log lines whose median is the pace
_EARLIER = 3  # earlier galleries the first clip is shown from


def write(workdir: pathlib.Path | str) -> pathlib.Path:
    """Writes `<workdir>/report.html` from what lies in the workdir, finished or not.

    Raises:
        ValueError: `workdir` is not the folder of a run.
    """
    log = history.read(workdir)
    total = log.info.get("total_steps", 0)
    name = "speed/clips_per_second"
    rates = sorted(p.values[name] for p in log.train[-_RECENT:] if name in p.values)
    return render.page(
        "report.html",
        log.workdir / PAGE,
        log=log,
        task=tasks.find(log.config["task"]) if "task" in log.config else None,
        total=total,
        done=min(log.step / total, 1.0) if total else 0.0,
        about=_about(log.config),
        headline=log.headline[: _TILES - 1],
        last_loss=log.train[-1].values.get("loss") if log.train else None,
        pace=f"{progress.rate(rates[len(rates) // 2])} clips/s" if rates else "",
        curves=_curves(log),
        sparkline=charts.sparkline,
        evaluations=classes.parts(log.workdir),
        galleries=galleries(gallery.read(log.workdir)),
        speed=_speed(log),
        config=json.dumps(log.config, indent=2, ensure_ascii=False),
    )


def finish(workdir: pathlib.Path) -> None:
    """Writes the page, and prints where it and the scores are: the last lines of a run's log."""
    report, results = write(workdir), workdir / history.RESULTS
    if results.is_file():
        print(f"scores: {results}")
    print(f"report: {report}", flush=True)


def galleries(every: Sequence[gallery.Gallery]) -> Markup:
    """The last gallery of each name, then how the prediction of its first clip developed."""
    by_name: dict[str, list[gallery.Gallery]] = {}
    for one in every:
        if one.examples:
            by_name.setdefault(one.name, []).append(one)
    latest, development = [], []
    for own in by_name.values():
        place = f"{gallery.FOLDER}/{own[-1].step:08d}"
        latest.append((own[-1], cards.within(BUDGET, own[-1].examples), place))
        if len(own) > 1:
            places = {round(i * (len(own) - 1) / _EARLIER) for i in range(_EARLIER + 1)}
            development.append([own[place] for place in sorted(places)])
    if not latest:
        return Markup()
    return render.part("galleries.html", latest=latest, development=development)


def _about(c: Mapping[str, Any]) -> list[str]:
    """Data set and model: `sample`, `ViT-B, mid fusion, 16 frames of 224², 10 s of sound`."""
    model, shown, parts = c.get("model", {}), c.get("modalities", {}), []
    if model:
        every = schema.VARIANTS | schema.SMALL
        sizes = tuple(model.get(k) for k in ("width", "depth", "heads", "mlp"))
        named = [name for name, known in every.items() if known == sizes]
        parts.append(f"ViT-{named[0]}" if named else f"ViT {sizes[0]} wide, {sizes[1]} deep")
        parts += [f"{model['fusion']} fusion"] if len(shown) > 1 else []
    if "video" in shown:
        parts.append(f"{shown['video']['frames']} frames of {shown['video']['size']}²")
    if "audio" in shown:
        parts.append(f"{shown['audio']['seconds']:g} s of sound")
    dataset = pathlib.PurePath(c.get("dataset", {}).get("path", "")).name
    return [part for part in (dataset, ", ".join(parts)) if part]


def _curves(log: history.RunLog) -> list[Markup]:
    """One chart for each metric name, with training and all evaluators in it; loss first."""
    labels = dict.fromkeys(["train", *(score.evaluator for score in log.scores.values())])
    colours = {label: i for i, label in enumerate(labels)}
    series: dict[str, list[charts.Series]] = {"loss": []}
    for score in log.scores.values():
        steps, colour = [p.step for p in score.points], colours[score.evaluator]
        drawn = charts.Series(score.evaluator, steps, score.values, colour, dots=True)
        series.setdefault(score.metric, []).append(drawn)
    for name in dict.fromkeys(n for p in log.train for n in p.values):
        if not name.startswith("speed/"):
            series.setdefault(name, []).insert(0, charts.of_points("train", log.train, name))
    return list(filter(None, (charts.lines(metric, each) for metric, each in series.items())))


def _speed(log: history.RunLog) -> list[Markup]:
    made = []
    for title, name, factor in (
        ("clips a second", "speed/clips_per_second", 1.0),
        ("waiting for input, %", "speed/input_wait", 100.0),
        ("MFU, %", "speed/mfu", 100.0),
    ):
        drawn = charts.of_points("train", log.train, name, factor=factor)
        made.append(charts.lines(title, [drawn], from_zero=True))
    return list(filter(None, made))
