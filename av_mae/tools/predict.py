"""Names what media files show: `python -m av_mae.tools.predict --model=DIR FILE...`."""

import json
import sys
from collections.abc import Sequence

from absl import flags

from av_mae import api
from av_mae.tools import files


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the most probable labels of every file; 0, 1 (bad files) or 78 (bad request)."""
    own = files.define(part=True)
    top = flags.DEFINE_integer("top", 5, "Labels a file.", flag_values=own)
    as_json = flags.DEFINE_bool("json", False, "One JSON object a line and file.", flag_values=own)
    try:
        paths = files.parse(own, argv, __doc__)
        model, names = files.load(own)
        model.expect("classify")
    except ValueError as error:
        return files.leave(error)

    def predict(path: str) -> None:
        clip = api.read_clip(path, start=own.start, end=own.end)
        found = model.classify(clip, top.value, modalities=names)
        if as_json.value:
            is_plain = "utf" not in (sys.stdout.encoding or "").lower()
            print(json.dumps({"file": path, "labels": found}, ensure_ascii=is_plain), flush=True)
        else:
            lines = (f"  {share:6.1%}  {label}" for label, share in found.items())
            print(path, *lines, sep="\n", flush=True)

    return files.each(paths, predict)


if __name__ == "__main__":
    sys.exit(main())
