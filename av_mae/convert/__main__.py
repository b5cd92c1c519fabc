"""`python -m av_mae.convert SOURCE --out=DIR`: checkpoints of other programs, in and out."""

import pathlib

from absl import app, flags, logging

from av_mae.config import command_line, parse, schema
from av_mae.convert import huggingface, read, videomae
from av_mae.experiment import checkpoint

_CONFIG = command_line.define_config(
    meaning="What the file does not show of its model: a config, by name or file."
)
_OUT = flags.DEFINE_string("out", None, "Folder to write, which must not hold a model yet.")
_LABELS = flags.DEFINE_string(
    "labels", None, "Text file of label names in index order, one a line."
)
_WRITERS = {
    "workdir": checkpoint.write,
    "huggingface": huggingface.write,
    "videomae": videomae.write,
}
_TO = flags.DEFINE_enum("to", "workdir", list(_WRITERS), "Form of what is written.")


def main() -> None:
    """Runs the program; exits with 0, or 78 for a file that cannot be converted."""
    flags.mark_flag_as_required("out")
    app.run(_main, flags_parser=lambda arguments: command_line.parse(arguments, _CONFIG))


def _main(arguments: list[str]) -> None:
    command_line.log_ours()
    try:
        if len(arguments) != 2:
            raise schema.ConfigError("give one SOURCE: python -m av_mae.convert SOURCE --out=DIR")
        known = parse.experiment(_CONFIG.value) if _CONFIG.value else None
        saved = read.read(arguments[1], known)
        if _LABELS.value:
            try:
                lines = pathlib.Path(_LABELS.value).read_text().splitlines()
            except OSError as error:
                message = f"--labels={_LABELS.value} cannot be read: {error}"
                raise schema.ConfigError(message) from error
            saved = saved.with_labels([line.strip() for line in lines if line.strip()])
        _WRITERS[_TO.value](saved, _OUT.value)
    except schema.ConfigError as error:
        command_line.leave(command_line.BAD_CONFIG, error)
    except ImportError as error:
        message = f"--to={_TO.value} needs {error.name}: pip install {error.name}"
        command_line.leave(command_line.BAD_CONFIG, message)
    e = saved.experiment
    logging.info(
        "%s: %s of %s, %d layers of width %d, step %d -> %s",
        arguments[1],
        e.task,
        " and ".join(e.modalities),
        e.model.depth,
        e.model.width,
        saved.step,
        _OUT.value,
    )


if __name__ == "__main__":
    main()
