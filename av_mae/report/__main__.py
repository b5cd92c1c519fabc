"""`python -m av_mae.report --workdirs=A,B,C`: a table of finished runs."""

import pathlib

from absl import app, flags

from av_mae.config import command_line
from av_mae.report import history, table

_WORKDIRS = flags.DEFINE_list("workdirs", None, "Workdirs of the runs, in the order of the rows.")
_METRIC = flags.DEFINE_list(
    "metric", [], "Columns, such as test/accuracy; without it all metrics that any run has."
)
_OUT = flags.DEFINE_string("out", None, "File to write the table to, as Markdown.")
_HTML = flags.DEFINE_string("html", None, "File to write a page with table and curves to.")


def main(_: list[str]) -> None:
    """Prints the table, and writes the files that were asked for."""
    try:
        found = table.read(_WORKDIRS.value or [], _METRIC.value or [])
    except ValueError as error:
        command_line.leave(1, error)
    print(table.text(found), end="")
    if _OUT.value:
        path = pathlib.Path(_OUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        history.write_whole(path, table.markdown(found))
    if _HTML.value:
        table.write_page(found, _HTML.value)


if __name__ == "__main__":
    flags.mark_flag_as_required("workdirs")
    app.run(main)
