"""Names what media files show: `python -m av_mae.tools.predict --model=DIR FILE...`.

A file of up to 20 s is judged as evaluation judges a clip, a longer one by windows that are evenly
spread over it; a line says what was seen. With --window or --hop windows slide over all of it, and
the best labels of each are listed: on the terminal, with --json, and in --out.
"""

import csv
import json
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from av_mae import api
from av_mae.inference import stream
from av_mae.tools import files

_ALL = 0.95  # of a file that was seen but for the rounding of windows
_HEADER = ("file", "start", "end", "rank", "label", "probability")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the most probable labels of every file; 0, 1 (bad files) or 78 (bad request)."""
    own = files.define()
    files.slide(own, "the window; without both a few windows are judged")
    top = flags.DEFINE_integer("top", 5, "Labels a file, and a window.", flag_values=own)
    as_json = flags.DEFINE_bool("json", False, "One JSON object a line and file.", flag_values=own)
    meaning = "File to write the windows to: a csv, or a json of one object a file."
    flags.DEFINE_string("out", "", meaning, flag_values=own)
    try:
        paths = files.parse(own, argv, __doc__)
        if own.out and pathlib.Path(own.out).suffix not in (".csv", ".json"):
            raise ValueError(f"--out={own.out} is neither .csv nor .json")
        model, names = files.load(own)
        model.expect("classify")
    except ValueError as error:
        return files.leave(error)
    slides = own.window is not None or own.hop is not None
    found: dict[str, api.Timeline] = {}

    def predict(path: str) -> None:
        judged = model.timeline(
            path,
            window=own.window,
            hop=own.hop,
            modalities=names,
            start=own.start,
            end=own.end,
            frame_rate=own.frame_rate,
        )
        found[path] = judged
        if as_json.value:
            is_plain = "utf" not in (sys.stdout.encoding or "").lower()
            plain = _plain(path, judged, top.value)
            print(json.dumps(plain, ensure_ascii=is_plain), flush=True)
            return
        said = judged.said()
        if not slides and judged.share < _ALL:
            seen = max(modality.seconds for modality in model.known(names).values())
            said += f"; --hop={seen:.2g} judges all of it"
        lines = [f"  {chance:6.1%}  {label}" for label, chance in judged.top(top.value).items()]
        for number in range(len(judged.windows) if slides else 0):
            start, end = judged.windows[number].tolist()
            best = judged.top(top.value, number).items()
            times = f"{stream.moment(start):>9} to {stream.moment(end):>9}"
            lines.append(
                f"{times}  " + "  ".join(f"{label} {chance:.1%}" for label, chance in best)
            )
        print(path, f"  {said}", *lines, sep="\n", flush=True)

    status = files.each(paths, predict)
    if own.out and found:
        _write(pathlib.Path(own.out), found, top.value)
    return status


def _plain(path: str, judged: api.Timeline, top: int) -> dict:
    """A file as JSON takes it."""
    windows = [
        {"start": start, "end": end, "labels": judged.top(top, number)}
        for number, (start, end) in enumerate(judged.windows.round(3).tolist())
    ]
    seconds = round(judged.seconds, 3)
    return {"file": path, "labels": judged.top(top), "seconds": seconds, "windows": windows}


def _write(out: pathlib.Path, found: dict[str, api.Timeline], top: int) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        if out.suffix == ".json":
            objects = [_plain(path, judged, top) for path, judged in found.items()]
            json.dump(objects, file, indent=1, ensure_ascii=False)
        else:
            rows = ((path, *row) for path, judged in found.items() for row in judged.rows(top))
            csv.writer(file).writerows([_HEADER, *rows])


if __name__ == "__main__":
    sys.exit(main())
