"""What the tools that look at a whole experiment share: flags, exit codes, JSON and a table."""

import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

from av_mae.config import command_line, parse, schema
from av_mae.input import records

_CONFIG = command_line.define_config()
CLIPS = flags.DEFINE_integer("clips", None, "Training clips; None: those of the records.")
LABELS = flags.DEFINE_integer("labels", None, "Labels; None: those of the records.")
_JSON = flags.DEFINE_string("json", None, "File for all figures, as JSON.")


def main(
    module: str,
    figures_of: Callable[[schema.Experiment], dict[str, Any]],
    table: Callable[[dict[str, Any]], list[str]],
    status: Callable[[dict[str, Any]], int] = lambda _: 0,
) -> None:
    """Runs a tool and exits with its `status`, with 65 (unusable records) or 78 (bad config).

    Args:
        module: the tool's, for the command that is stored with its figures.
    """

    def run(_: list[str]) -> None:
        command_line.log_ours()
        try:
            experiment = parse.experiment(_CONFIG.value)
            figures = {"command": command_line.given(module)} | figures_of(experiment)
        except schema.ConfigError as error:
            command_line.leave(command_line.BAD_CONFIG, error)
        except records.DataError as error:
            command_line.leave(command_line.BAD_DATA, error)
        if _JSON.value:
            pathlib.Path(_JSON.value).write_text(json.dumps(figures, indent=1) + "\n")
        print("\n".join(table(figures)))
        sys.exit(status(figures))

    flags.mark_flags_as_required(["config"])
    app.run(run, flags_parser=lambda arguments: command_line.parse(arguments, _CONFIG))
