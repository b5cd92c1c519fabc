"""`python -m av_mae.report --workdirs='runs/demo/*'`: a table of runs, and what they differ by."""

import pathlib
import sys

from absl import app, flags

from av_mae.config import command_line
from av_mae.report import history, table

_WORKDIRS = flags.DEFINE_list(
    "workdirs",
    None,
    "Workdirs of the runs, in the order of the rows; also wildcards in quotes, as 'runs/demo/*'.",
)
_METRIC = flags.DEFINE_list(
    "metric", [], "Columns, such as test/accuracy; without it all metrics that any run has."
)
_COLUMNS = flags.DEFINE_list(
    "columns", [], "Keys of the config that get a column, such as lr,optim.layer_decay."
)
_OUT = flags.DEFINE_string("out", None, "File to write the table to, as Markdown.")
_HTML = flags.DEFINE_string("html", None, "File to write a page with table and curves to.")


def main(arguments: list[str]) -> None:
    """Prints the table, and writes the files that were asked for."""
    command_line.log_ours()
    try:
        # A shell expands `--workdirs runs/*` to one flag and further arguments.
        workdirs, others = table.find([*(_WORKDIRS.value or []), *arguments[1:]])
        for folder in others:
            print(f"skipped {folder}: it holds no run", file=sys.stderr)
        found = table.read(workdirs, _METRIC.value, _COLUMNS.value)
    except ValueError as error:
        command_line.leave(1, error)
    print(table.text(found), end="")
    if _OUT.value:
        path = pathlib.Path(_OUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        history.write_whole(path, table.markdown(found))
    if _HTML.value:
        print(f"page: {table.write_page(found, _HTML.value)}", file=sys.stderr)


if __name__ == "__main__":
    flags.mark_flag_as_required("workdirs")
    app.run(main)
