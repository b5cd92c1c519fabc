"""The outcome of a check as lines for a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import result as result_lib

_TITLES = ("split", "clips", "expected", "hours", "no pictures", "no sound", "silent", "no label")
# Labels named at either end of the histogram.
_LABELS = 3


def lines(result: result_lib.Result) -> Iterator[str]:
    """What is in the data set, then what is strange, then what is wrong."""
    info = result.info
    yield (
        f"{result.folder}: {info.name}, {len(info.labels):,} labels, {info.fps:g} frames a second, "
        f"{result.bytes / 1e6:,.1f} MB"
    )
    yield ""
    yield from _table(result)
    yield ""
    yield from _measures(result)
    yield from _labels(result)
    yield from _files(result)
    for title, kinds, meaning in (
        ("warnings", result.findings.warnings(), findings_lib.WARNINGS),
        ("problems", result.findings.problems(), findings_lib.PROBLEMS),
    ):
        yield from _findings(title, dict(kinds), meaning)
    clips, shards = len(result.rows), sum(split.shards for split in result.splits)
    verdict = "nothing is wrong" if result.ok else "not as it should be: see the problems above"
    yield f"{clips:,} clips in {shards:,} shards read in {result.seconds:.1f} s: {verdict}"


def _table(result: result_lib.Result) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [_TITLES]
    for name, of in result_lib.plain(result)["splits"].items():
        clips = (
            f"{of['clips']:,}"
            if of["clips"] == of["in_av_mae_json"]
            else (f"{of['clips']:,} of {of['in_av_mae_json']:,}")
        )
        expected = "-" if of["expected"] is None else f"{of['expected']:,}"
        counts = [f"{of[key]:,}" for key in ("without_pictures", "without_sound", "silent")]
        unlabelled = f"{of['unlabelled']:,}" if result.info.labels else "-"
        rows.append((name, clips, expected, f"{of['hours']:.2f}", *counts, unlabelled))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_TITLES))]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([f"{row[0]:<{widths[0]}}", *cells])


def _measures(result: result_lib.Result) -> Iterator[str]:
    rows = result.rows
    for name, values in result_lib.measures(rows).items():
        found = result_lib.quantiles(values)
        if found:
            shown = ", ".join(f"{key} {value:,.4g}" for key, value in found.items())
            yield f"{name + ':':<32} {shown}"
    shown = ", ".join(f"{size}: {count:,}" for size, count in result_lib.sizes(rows).items())
    if shown:
        yield f"{'pictures:':<32} {shown}"


def _labels(result: result_lib.Result) -> Iterator[str]:
    for split in result.splits:
        if not split.labels.any():
            continue
        counted = sorted(zip(-split.labels, result.info.labels, strict=True))
        named = [f"{name} {-count:,}" for count, name in counted]
        least = named[max(_LABELS, len(named) - _LABELS) :]
        rest = f"; least: {', '.join(least)}" if least else ""
        yield f"{f'labels of {split.name}:':<32} most: {', '.join(named[:_LABELS])}{rest}"


def _files(result: result_lib.Result) -> Iterator[str]:
    for name, rows in (("rejected", result.rejected), ("partial", result.partial)):
        if rows:
            kinds = ", ".join(f"{n:,} x {kind}" for kind, n in result_lib.reasons(rows).items())
            yield f"{name + ':':<32} {kinds}"


def _findings(
    title: str, kinds: Mapping[str, findings_lib.Kind], meaning: Mapping[str, str]
) -> Iterator[str]:
    yield ""
    yield f"{title}: {'none' if not kinds else ''}".rstrip()
    for name, kind in kinds.items():
        yield f"  {kind.count:,} x {name} ({meaning[name]})"
        yield from (f"      {example}" for example in _some(kind.examples))


def _some(examples: Sequence[str]) -> Sequence[str]:
    return examples[:3]
