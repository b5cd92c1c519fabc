"""The outcome of a check as lines for a terminal."""

from collections.abc import Iterator

from av_mae.prepare.check import findings as findings_lib
from av_mae.prepare.check import result as result_lib

_TITLES = ("split", "clips", "expected", "hours", "no pictures", "no sound", "silent", "no label")
# Labels named at either end of the histogram, and examples of a finding.
_LABELS, _EXAMPLES = 3, 3


def lines(result: result_lib.Result) -> Iterator[str]:
    """What is in the data set, then warnings, then problems."""
    info, rows = result.info, result.rows
    yield (
        f"{result.folder}: {info.name}, {len(info.labels):,} labels, {info.fps:g} frames a second, "
        f"{result.bytes / 1e6:,.1f} MB"
    )
    yield ""
    yield from _table(result)
    yield ""
    yield from (f"{title + ':':<32} {shown}" for title, shown in _facts(result) if shown)
    for title, found, meaning in (
        ("warnings", dict(result.findings.warnings()), findings_lib.WARNINGS),
        ("problems", dict(result.findings.problems()), findings_lib.PROBLEMS),
    ):
        yield ""
        yield f"{title}:" if found else f"{title}: none"
        for kind, finding in found.items():
            yield f"  {finding.count:,} x {kind} ({meaning[kind]})"
            yield from (f"      {example}" for example in finding.examples[:_EXAMPLES])
    shards = sum(split.shards for split in result.splits)
    verdict = "nothing is wrong" if result.ok else "not as it should be: see the problems above"
    yield f"{len(rows):,} clips in {shards:,} shards read in {result.seconds:.1f} s: {verdict}"


def _table(result: result_lib.Result) -> Iterator[str]:
    """A row for each split, in columns as wide as they need."""
    rows: list[tuple[str, ...]] = [_TITLES]
    for name, of in result_lib.plain(result)["splits"].items():
        clips = f"{of['clips']:,}"
        if of["clips"] != of["in_av_mae_json"]:
            clips += f" of {of['in_av_mae_json']:,}"
        expected = "-" if of["expected"] is None else f"{of['expected']:,}"
        counts = [f"{of[key]:,}" for key in ("without_pictures", "without_sound", "silent")]
        unlabelled = f"{of['unlabelled']:,}" if result.info.labels else "-"
        rows.append((name, clips, expected, f"{of['hours']:.2f}", *counts, unlabelled))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_TITLES))]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([f"{row[0]:<{widths[0]}}", *cells])


def _facts(result: result_lib.Result) -> Iterator[tuple[str, str]]:
    """(title, text) of what is measured, of the labels, and of the csv files."""
    for name, values in result_lib.measures(result.rows).items():
        found = result_lib.quantiles(values)
        yield name, ", ".join(f"{key} {value:,.4g}" for key, value in found.items())
    sizes = result_lib.sizes(result.rows).items()
    yield "pictures", ", ".join(f"{size}: {count:,}" for size, count in sizes)
    for split in result.splits:
        if split.labels.any():
            counted = sorted(zip(-split.labels, result.info.labels, strict=True))
            named = [f"{name} {-count:,}" for count, name in counted]
            least = named[max(_LABELS, len(named) - _LABELS) :]
            rest = f"; least: {', '.join(least)}" if least else ""
            yield f"labels of {split.name}", f"most: {', '.join(named[:_LABELS])}{rest}"
    for name, rows in (("rejected", result.rejected), ("partial", result.partial)):
        reasons = result_lib.reasons(rows or []).items()
        yield name, ", ".join(f"{n:,} x {kind}" for kind, n in reasons)
