"""Media files to records: decoded once, checked, in parallel; a killed run goes on where it was.

python -m av_mae.prepare --dataset=folder --source=VIDEOS --out=records/mine
python -m av_mae.prepare --dataset=csv --source=list.csv --out=records/mine
python -m av_mae.prepare --dataset=ucf101:split=2 --source=UCF101 --out=records/ucf101_2
python -m av_mae.prepare --dataset=sample --out=records/sample
python -m av_mae.prepare --dataset=csv --source=list.csv --out=gs://BUCKET/mine \\
    --runner=DataflowRunner --project=... (options of Apache Beam follow)
"""

import dataclasses
import fcntl
import os
import pathlib
import re
import sys
from collections.abc import Sequence

from absl import app, flags

from av_mae.config import command_line
from av_mae.input import cores, records, storage
from av_mae.prepare import datasets
from av_mae.prepare.lists import names as names_lib
from av_mae.prepare.lists import splits, text
from av_mae.prepare.media.container import Limits
from av_mae.prepare.shards import build, report
from av_mae.prepare.shards import settings as settings_lib
from av_mae.prepare.shards.settings import Settings

_DATASET = flags.DEFINE_string(
    "dataset",
    "",
    "Kind of source, with arguments behind a colon: ucf101:split=2,val=false.\n"
    + "\n".join(map(datasets.summary, datasets.names())),
)
_SOURCE = flags.DEFINE_string(
    "source", "", "The folder or csv file to read: of official lists and media; sample needs none."
)
_OUT = flags.DEFINE_string("out", "", "Folder to write; the same command goes on after a kill.")
_CACHE = flags.DEFINE_string(
    "cache", "", "Instead of --out: folder in which these media and settings have a folder."
)
_NAME = flags.DEFINE_string(
    "name", "", "Name of the data set; default: the name of --out, or of --source with --cache."
)
_MEDIA = flags.DEFINE_string(
    "media", None, "Folder of the media, if it is not the one of the csv or of the official lists."
)
_IGNORE = flags.DEFINE_list("ignore_columns", [], "csv: columns that are not read.")
_LABELS = flags.DEFINE_string(
    "labels",
    None,
    "File with one label name a line, in index order; default: the data set's own, or sorted.",
)
_VAL_SHARE = flags.DEFINE_float(
    "val_share",
    None,
    "folder, csv: share of the clips for validation where the source has no splits; default "
    f"{splits.VAL_SHARE}.",
)
_TEST_SHARE = flags.DEFINE_float(
    "test_share", None, "folder, csv: the same for a test split; default 0, which makes none."
)
_FPS = flags.DEFINE_float("fps", Settings.fps, "Frames a second in the records.")
_SHORT_SIDE = flags.DEFINE_integer(
    "short_side", Settings.short_side, "Pixels of the short side; no picture is enlarged."
)
_QUALITY = flags.DEFINE_integer("jpeg_quality", Settings.jpeg_quality, "JPEG quality, 1 to 95.")
_CLIPS = flags.DEFINE_integer(
    "clips_per_shard", Settings.clips_per_shard, "Clips in one file; the unit of resuming."
)
# With the least value behind the meaning.
_SECONDS = flags.DEFINE_float("max_seconds", Limits.seconds, "Longer clips are rejected.", 0.1)
_PIXELS = flags.DEFINE_integer("max_pixels", Limits.pixels, "Larger frames are rejected.", 1)
_PATIENCE = flags.DEFINE_float("patience", Limits.patience, "Most seconds spent on a file.", 1.0)
_MEMORY = flags.DEFINE_float(
    "worker_memory",
    4.0,
    "GiB that a decoding process may occupy, on Linux; a file that needs more is rejected. "
    "0 is no limit.",
    0.0,
)
_FETCH = flags.DEFINE_float("max_fetch", 8.0, "GiB of a remote file; larger are rejected.", 0.0)
_RUNNER = flags.DEFINE_string(
    "runner",
    None,
    "Prepare with Apache Beam: DirectRunner on this machine, or DataflowRunner, FlinkRunner, "
    "SparkRunner, ... with Beam's own options on the same command line. Default: without Beam.",
)
_WORKERS = flags.DEFINE_integer("workers", None, "Decoding processes; default: one a core.", 1)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the data set in --out.")

_INTERRUPTED = 130  # what a shell calls an interrupt from the keyboard


def main() -> None:
    """Runs the program; exits with 78 where a request cannot be met, and says why."""
    # Only the statistics of the sound use JAX; no accelerator is worth waiting for.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else it greets the user with a warning
    app.run(_main, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
    """Reads the flags; with a runner, what is no flag of this program is an option of Beam."""
    if not any(re.match(r"--?runner(=|$)", argument) for argument in arguments):
        return app.parse_flags_with_usage(arguments)
    try:
        return flags.FLAGS(arguments, known_only=True)
    except flags.Error as error:
        command_line.leave(command_line.BAD_CONFIG, error)


def _main(arguments: list[str]) -> None:
    command_line.log_ours()
    try:
        if not _DATASET.value:
            known = ", ".join(datasets.names())
            raise ValueError(f"--dataset is missing; one of {known}; --help says what they take")
        if bool(_OUT.value) == bool(_CACHE.value):
            said = "both --out and --cache are given" if _OUT.value else "--out is missing"
            raise ValueError(
                f"{said}; give --out=DIR, the folder to write, or --cache=DIR (docs/data.md)"
            )
        _, *rest = arguments
        if rest and _RUNNER.value is None:
            raise ValueError(f"unexpected argument {rest[0]!r}; options are written --name=value")
        _prepare(rest)
    except (ModuleNotFoundError, ValueError, OSError) as error:
        command_line.leave(command_line.BAD_CONFIG, error)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _prepare(beam_options: Sequence[str]) -> None:
    """Prepares into --out, or into a folder of --cache what is not there yet.

    With --cache the last line that it prints is the folder of the records.
    """
    workers = _WORKERS.value or cores.count()
    if _OUT.value:
        out = storage.path(_OUT.value)
        name = _NAME.value or _name(out)
    else:
        name = _NAME.value or _name(pathlib.Path(_SOURCE.value).with_suffix(""))
        out = pathlib.Path(_CACHE.value, name)
    given = _label_names(_LABELS.value)
    listing = _listing(str(out), workers, given or ())
    settings = _settings(name)
    labels = given or listing.labels

    def prepare() -> int:
        pipeline = None
        if _RUNNER.value is not None:
            from av_mae.prepare.shards import beam

            pipeline = beam.options(_RUNNER.value, beam_options, workers)
        result = build.build(
            listing,
            out,
            settings,
            labels=labels,
            workers=workers,
            overwrite=_OVERWRITE.value,
            pipeline=pipeline,
        )
        print(result)
        return result.clips

    if _OUT.value:
        clips = prepare()
    else:
        out = settings.cached(out.parent, listing.entries, labels)
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{out}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that prepares {out}", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            clips = None if _OVERWRITE.value else records.whole_clips(out)
            if clips is None:
                print(f"preparing {_SOURCE.value} into {out}", file=sys.stderr)
                clips = prepare()
    if not clips:
        rejected = out / "rejected.csv"
        raise ValueError(f"none of the clips could be prepared; the reasons are in {rejected}")
    print(report.closing(out, records.Info.load(out)) if _OUT.value else out)


def _listing(out: str, workers: int, labels: Sequence[str]) -> datasets.Listing:
    """The clips of the data set, with given labels as they are spelled there.

    How the source was read, and what is strange about it, is printed.
    """
    ignored = tuple(_IGNORE.value)
    options = datasets.Options(
        out, _MEDIA.value, _VAL_SHARE.value, _TEST_SHARE.value, ignored, workers
    )
    listing = datasets.clips(_DATASET.value, _SOURCE.value, options)
    entries = tuple(names_lib.one_spelling(listing.entries, labels))
    listing = dataclasses.replace(listing, entries=entries)
    warnings = [*listing.warnings, *splits.unread(listing.entries)]
    if untrained := settings_lib.untrained(listing.entries):
        some = ", ".join(untrained[:5])
        warnings.append(f"{len(untrained)} labels occur in no training clip: {some}")
    for kind, sentences in (("note", listing.notes), ("warning", warnings)):
        for sentence in sentences:
            print(f"{kind}: {sentence}", file=sys.stderr)
    return listing


def _settings(name: str) -> Settings:
    limits = Limits(
        pixels=_PIXELS.value,
        seconds=_SECONDS.value,
        patience=_PATIENCE.value,
        fetched=round(_FETCH.value * 2**30),
        memory=round(_MEMORY.value * 2**30) or None,
    )
    return Settings(name, _FPS.value, _SHORT_SIDE.value, _QUALITY.value, _CLIPS.value, limits)


def _label_names(file: str | None) -> list[str] | None:
    if file is None:
        return None
    try:
        content, _ = text.read(pathlib.Path(file))
    except OSError as error:
        raise ValueError(f"--labels={file} cannot be read: {error.strerror}") from error
    if not text.is_text(content):
        raise ValueError(f"--labels={file} is not UTF-8; save it in UTF-8")
    names = [line.strip() for line in content.splitlines() if line.strip()]
    if not names:
        raise ValueError(f"--labels={file} is empty; expected one label name a line")
    return names


def _name(out: pathlib.Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", out.resolve().name.lower()).strip("_")
    return name if name[:1].isalpha() else f"data_{name}".rstrip("_")


if __name__ == "__main__":
    main()
