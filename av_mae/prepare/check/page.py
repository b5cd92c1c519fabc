"""The outcome of a check as one self-contained page: counts, histograms, samples, findings."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import read, result
from av_mae.report import bars, history, markup, progress

FILE = "check.html"

# Labels listed at once; the others are folded away.
_LABELS = 40
_ROWS = 30


def write(outcome: result.Result, path: pathlib.Path) -> None:
    """Writes the page.

    Raises:
        OSError: it cannot be written.
    """
    body = "".join(
        [
            _header(outcome),
            _tiles(outcome),
            markup.section("Problems", _findings(outcome, "bad")),
            markup.section("Warnings", _findings(outcome, "warn")),
            markup.section("Splits", _splits(outcome)),
            markup.section("Clips", _samples(outcome)),
            markup.section("Measured", _histograms(outcome)),
            markup.section("Labels", _labels(outcome)),
            markup.section("Not in the records", _rows(outcome.rejected or [], "rejected.csv")),
            markup.section("Not to their end", _rows(outcome.partial or [], "partial.csv")),
            markup.section("How it was made", _facts(outcome)),
            "<footer>Written by av_mae; everything shown is in this one file.</footer>",
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    history.write_whole(path, markup.document(f"{outcome.info.name}, checked · av_mae", body))


def _header(outcome: result.Result) -> str:
    problems, warnings = list(outcome.findings.problems()), list(outcome.findings.warnings())
    chips = [("nothing is wrong", "good")] if outcome.ok else []
    chips += [(f"{kind.count:,} x {name}", "bad") for name, kind in problems]
    chips += [(f"{len(warnings)} warnings", "warn")] if warnings else []
    info = outcome.info
    about = f"{info.fps:g} frames a second, short side {info.short_side}, {outcome.folder}"
    return (
        f'<header><p class="eyebrow">Records, checked</p><h1>{markup.escape(info.name)}</h1>'
        f'<p class="lead">{markup.escape(about)}</p>{markup.chips(chips)}</header>\n'
    )


def _tiles(outcome: result.Result) -> str:
    rows = outcome.rows
    seconds = float(rows["duration"].sum(dtype=np.float64))
    heard = int((rows["samples"] > 0).sum())
    used = sum(1 for i in range(len(outcome.info.labels)) if _of_label(outcome, i).any())
    tiles = [
        ("clips", f"{len(rows):,}", f"in {len(outcome.splits)} splits"),
        ("length of all", progress.duration(seconds), _each(rows["duration"])),
        ("with sound", f"{heard / max(len(rows), 1):.0%}", f"{heard:,} clips"),
        ("labels", f"{len(outcome.info.labels):,}", f"{used:,} of them used"),
        ("size", f"{outcome.bytes / 1e6:,.3g} MB", _shards(outcome)),
    ]
    return f'<div class="tiles">{"".join(markup.tile(*tile) for tile in tiles)}</div>\n'


def _each(seconds: np.ndarray) -> str:
    return f"median {np.median(seconds):.3g} s a clip" if len(seconds) else ""


def _shards(outcome: result.Result) -> str:
    count = sum(split.shards for split in outcome.splits)
    return f"in {count:,} shards, all read" if count != 1 else "in 1 shard, read"


def _findings(outcome: result.Result, looks: str) -> str:
    bad = looks == "bad"
    kinds = outcome.findings.problems() if bad else outcome.findings.warnings()
    meaning: Mapping[str, str] = findings_lib.PROBLEMS if bad else findings_lib.WARNINGS
    cards = "".join(_finding(name, kind, meaning[name], looks) for name, kind in kinds)
    return f'<div class="stack">{cards}</div>' if cards else ""


def _finding(name: str, kind: findings_lib.Finding, meaning: str, looks: str) -> str:
    examples = "".join(f"<li>{markup.escape(example)}</li>" for example in kind.examples)
    return (
        f'<div class="card finding {looks}"><h3>{kind.count:,} x {markup.escape(name)} '
        f"<small>{markup.escape(meaning)}</small></h3><ul>{examples}</ul></div>"
    )


def _splits(outcome: result.Result) -> str:
    head = ("split", "clips", "expected", "hours", "no pictures", "no sound", "silent", "no label")
    rows = []
    for name, of in result.plain(outcome)["splits"].items():
        short = of["clips"] < of["in_av_mae_json"]
        more = f"<small>of {of['in_av_mae_json']:,} written</small>" if short else ""
        expected = "" if of["expected"] is None else f"{of['expected']:,}"
        counts = [of["without_pictures"], of["without_sound"], of["silent"], of["unlabelled"]]
        cells = [f"{of['clips']:,}{more}", expected, f"{of['hours']:.2f}"]
        cells += [f"{count:,}" for count in counts]
        numbers = "".join(f'<td class="num">{cell}</td>' for cell in cells)
        rows.append(f"<tr><td>{markup.escape(name)}</td>{numbers}</tr>")
    return markup.table([(text, "num" if i else "") for i, text in enumerate(head)], rows)


def _samples(outcome: result.Result) -> str:
    cards = [_sample(outcome, split, clip) for split in outcome.splits for clip in split.shown]
    return f'<div class="clips">{"".join(cards)}</div>' if cards else ""


def _sample(outcome: result.Result, split: read.Contents, clip: read.Shown) -> str:
    pictures = "".join(
        f'<img src="{markup.data_uri(picture, "frame.jpg")}" alt="">' for picture in clip.pictures
    )
    known = range(len(outcome.info.labels))
    names = ", ".join(outcome.info.labels[i] for i in clip.labels if i in known) or "no label"
    sound = "" if clip.sound is not None else ", no sound"
    about = f"{split.name} · {names} · {clip.seconds:.3g} s{sound} · {clip.id}"
    row = f'<div class="row">{pictures}</div>' if pictures else ""
    return f'<article class="card">{row}{_wave(clip)}<p>{markup.escape(about)}</p></article>'


def _wave(clip: read.Shown) -> str:
    if clip.sound is None:
        return ""
    above = [f"{x},{50 - 49 * value:.1f}" for x, value in enumerate(clip.sound)]
    below = [f"{x},{50 + 49 * value:.1f}" for x, value in enumerate(clip.sound)]
    points = " ".join([*above, *reversed(below)])
    return (
        f'<svg viewBox="0 0 {max(len(clip.sound) - 1, 1)} 100" preserveAspectRatio="none" '
        f'role="img" aria-label="loudness over time"><polygon points="{points}"/></svg>'
    )


def _histograms(outcome: result.Result) -> str:
    by_split = [(split.name, result.measures(split.rows)) for split in outcome.splits]
    names = by_split[0][1] if by_split else {}
    made = [
        bars.histogram(
            name, [bars.Values(split, of[name], n) for n, (split, of) in enumerate(by_split)]
        )
        for name in names
    ]
    found = result.sizes(outcome.rows)
    if found:
        listed = markup.facts((size, f"{count:,}") for size, count in found.items())
        made.append(
            f'<figure class="chart"><figcaption><b>width x height</b></figcaption>{listed}</figure>'
        )
    return f'<div class="charts">{"".join(made)}</div>' if any(made) else ""


def _labels(outcome: result.Result) -> str:
    """A bar for every label, the most frequent first; the middle of a long list is folded."""
    if not outcome.info.labels or not outcome.splits:
        return ""
    counts = np.stack([split.labels for split in outcome.splits], axis=1)
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    most = int(counts.sum(axis=1).max())
    lines = [_label(outcome, int(i), counts[i], most) for i in order]
    head = [("label", ""), ("", "wide"), *((split.name, "num") for split in outcome.splits)]
    if len(lines) <= _LABELS:
        return markup.table(head, lines)
    half = _LABELS // 2
    return (
        f'{markup.table(head, lines[:half])}<details class="card" style="margin:12px 0">'
        f"<summary>{len(lines) - 2 * half:,} more labels</summary>"
        f"{markup.table(head, lines[half:-half])}</details>{markup.table(head, lines[-half:])}"
    )


def _label(outcome: result.Result, index: int, counts: np.ndarray, most: int) -> str:
    numbers = "".join(f'<td class="num">{count:,}</td>' for count in counts)
    name = markup.escape(outcome.info.labels[index])
    bar = bars.row([int(count) for count in counts], most)
    return f"<tr><td>{name}</td><td>{bar}</td>{numbers}</tr>"


def _of_label(outcome: result.Result, index: int) -> np.ndarray:
    return np.array([split.labels[index] for split in outcome.splits])


def _rows(rows: result.Rows, file: str) -> str:
    """Clips by reason, and the first of them one by one."""
    if not rows:
        return ""
    kinds = markup.facts((kind, f"{n:,}") for kind, n in result.reasons(rows).items())
    head = [("clip", ""), ("reason", "")]
    listed = markup.table(head, (_cells((id, reason)) for id, _, reason in rows[:_ROWS]))
    more = f"<summary>{min(len(rows), _ROWS):,} of {len(rows):,}; all are in {file}</summary>"
    return (
        f'<div class="stack"><div class="card">{kinds}</div><details>{more}{listed}</details></div>'
    )


def _cells(texts: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td>{markup.escape(text)}</td>' for text in texts)}</tr>"


def _facts(outcome: result.Result) -> str:
    info = outcome.info
    sound = ""
    if info.audio_mean is not None:
        sound = f"{info.audio_mean:.3f}, deviation {info.audio_std:.3f}"
    pairs = [("version", info.version), *info.preprocessing.items(), ("log-mel mean", sound)]
    return f'<div class="card">{markup.facts(pairs)}</div>'
