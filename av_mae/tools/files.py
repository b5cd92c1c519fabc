"""What the tools for media files share: flags, the model, and one message for each bad file."""

import sys
from collections.abc import Callable, Sequence

from absl import flags

from av_mae import api
from av_mae.config import command_line


def define() -> flags.FlagValues:
    """The flags that all of them have: `--model`, `--modalities`, a part and its frame rate.

    They belong to one command: several of these can run in one process.
    """
    own = flags.FlagValues()
    meaning = "Workdir, checkpoint, or another program's file."
    flags.DEFINE_string("model", None, meaning, required=True, flag_values=own)
    meaning = "Which to use, as in --modalities=audio; default: all."
    flags.DEFINE_string("modalities", "", meaning, flag_values=own)
    for name, default in (("start", "beginning"), ("end", "end")):
        meaning = f"Seconds; default: the {default} of the file."
        flags.DEFINE_float(name, None, meaning, flag_values=own)
    meaning = "Pictures a second in a folder of extracted frames; default: 25."
    flags.DEFINE_float("frame_rate", None, meaning, flag_values=own)
    return own


def parse(own: flags.FlagValues, argv: Sequence[str] | None, doc: str | None) -> list[str]:
    """Parses a command line and returns its media files; `--help` prints `doc` and the flags.

    Raises:
        ValueError: an unknown flag, a bad value, or no file.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "-help", "--help"} & set(arguments):
        print(f"{doc}\nFlags:\n{own.get_help(include_special_flags=False)}")
        sys.exit(0)
    try:
        paths = own(["", *arguments])[1:]
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if not paths:
        raise ValueError("no media files are given; name at least one after the flags")
    for name in ("window", "hop", "frame_rate"):
        value: float | None = own[name].value if name in own else None
        if value is not None and not value > 0:
            expected = "seconds" if name != "frame_rate" else "pictures a second"
            raise ValueError(f"--{name}={value:g}: expected {expected} above 0")
    start, end = own.start or 0.0, own.end
    if start < 0 or (end is not None and not end > start):
        raise ValueError(f"--start={start:g} and --end={end}: expected 0 <= start < end, seconds")
    return paths


def slide(own: flags.FlagValues, default: str) -> None:
    """Defines `--window` and `--hop`."""
    for name, meaning in (
        ("window", "Seconds; default: what the model sees."),
        ("hop", f"Seconds between windows; default: {default}."),
    ):
        flags.DEFINE_float(name, None, meaning, flag_values=own)


def load(own: flags.FlagValues) -> tuple[api.Model, tuple[str, ...]]:
    """The model and the modalities asked for.

    Raises:
        ValueError: no model there, or a modality that it does not know.
    """
    model = api.load(own.model)
    names = tuple(name.strip() for name in own.modalities.split(",") if name.strip())
    model.known(names)
    return model, names


def each(paths: Sequence[str], work: Callable[[str], None]) -> int:
    """Does `work` on every file; bad ones are named on stderr and make the exit status 1."""
    status = 0
    for path in paths:
        try:
            work(path)
        except (ValueError, OSError) as error:
            message = str(error) if path in str(error) else f"{path}: {error}"
            print(f"error: {message}", file=sys.stderr, flush=True)
            status = 1
    return status


def leave(error: Exception) -> int:
    """Says why nothing can be done; the exit status for it."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    return command_line.BAD_CONFIG
