"""Names what media files show: `python -m av_mae.tools.predict --model=DIR FILE...`."""

import json
import sys
from collections.abc import Sequence

from av_mae import api
from av_mae.tools import files


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the most probable labels of every file; 0, 1 (bad files) or 78 (bad request)."""
    parser = files.parser("predict", "Prints the most probable labels of media files.")
    parser.add_argument("--top", type=int, default=5, help="labels a file")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and file")
    parser.add_argument("--start", type=float, help="seconds; default: the beginning of the file")
    parser.add_argument("--end", type=float, help="seconds; default: the end of the file")
    arguments = parser.parse_args(argv)
    try:
        model, names = files.load(arguments)
        model.expect("classify")
    except ValueError as error:
        return files.leave(error)

    def predict(path: str) -> None:
        clip = api.read_clip(path, start=arguments.start, end=arguments.end)
        found = model.classify(clip, arguments.top, modalities=names)
        print(_line(path, found) if arguments.json else _table(path, found), flush=True)

    return files.each(arguments.files, predict)


def _line(path: str, found: dict[str, float]) -> str:
    return json.dumps({"file": path, "labels": found}, ensure_ascii=False)


def _table(path: str, found: dict[str, float]) -> str:
    return "\n".join([path, *(f"  {share:6.1%}  {label}" for label, share in found.items())])


if __name__ == "__main__":
    sys.exit(main())
