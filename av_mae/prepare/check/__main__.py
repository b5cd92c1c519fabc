"""Reads records again and reports on them, as text and as a page; exit code 1 on any problem.

python -m av_mae.prepare.check records/mine
python -m av_mae.prepare.check records/mine --decode=all --html=check.html --json=check.json
"""

import json
import os
import pathlib
import sys

from absl import app, flags

from av_mae.config import command_line
from av_mae.input import cores
from av_mae.prepare.check import page, result
from av_mae.prepare.lists.listing import readable

_DECODE = flags.DEFINE_enum(
    "decode", "sample", ["sample", "all"], "Pictures that are decoded: three a clip, or all."
)
_HTML = flags.DEFINE_string("html", None, "File of the page; default: check.html in the folder.")
_JSON = flags.DEFINE_string("json", None, "File to write everything to for machines.")
_WORKERS = flags.DEFINE_integer("workers", None, "Processes; default: one a core.", 1)

_WRONG = 1


def main() -> None:
    """Runs the program; exits with 1 if the records have problems, with 78 if there are none."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    app.run(_main)


def _main(arguments: list[str]) -> None:
    command_line.log_ours()
    try:
        if len(arguments) != 2:
            raise ValueError(
                "name the folder of one data set: python -m av_mae.prepare.check records/mine"
            )
        folder = pathlib.Path(arguments[1])
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; name one with records")
        workers = _WORKERS.value or cores.count()
        outcome = result.check(folder, every_frame=_DECODE.value == "all", workers=workers)
        print("\n".join(result.lines(outcome)))
        if _JSON.value:
            pathlib.Path(_JSON.value).write_text(json.dumps(result.plain(outcome), indent=1))
        file = pathlib.Path(_HTML.value or folder / page.FILE)
        page.write(outcome, file)
        print(f"page: {readable(str(file))}")
    except (ValueError, OSError) as error:
        command_line.leave(command_line.BAD_CONFIG, error)
    sys.exit(0 if outcome.ok else _WRONG)


if __name__ == "__main__":
    main()
