"""Media files to records: decoded once, checked, in parallel; a killed run goes on where it was.

python -m av_mae.prepare --dataset=folder --source=VIDEOS --out=records/mine
python -m av_mae.prepare --dataset=csv --source=list.csv --out=records/mine
python -m av_mae.prepare --dataset=ucf101:split=2 --source=UCF101 --out=records/ucf101_2
python -m av_mae.prepare --dataset=sample --out=records/sample
python -m av_mae.prepare --dataset=csv --source=list.csv --out=gs://BUCKET/mine \\
    --runner=DataflowRunner --project=... (options of Apache Beam follow)
"""

import os
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import app, flags

from av_mae.input import cores, records, storage
from av_mae.prepare import datasets
from av_mae.prepare.lists.listing import VAL_SHARE
from av_mae.prepare.media import container
from av_mae.prepare.shards import assignment, build, cache, report
from av_mae.prepare.shards.settings import Settings

_DATASET: flags.FlagHolder[str] = flags.DEFINE_string(  # pyright: ignore[reportAssignmentType]
    "dataset",
    None,
    "Kind of source, with arguments behind a colon: ucf101:split=2,val=false.\n"
    + "\n".join(map(datasets.summary, datasets.names())),
)
_SOURCE = flags.DEFINE_string(
    "source", "", "The folder or csv file to read: of official lists and media; sample needs none."
)
_OUT: flags.FlagHolder[str] = flags.DEFINE_string(  # pyright: ignore[reportAssignmentType]
    "out", None, "Folder to write; the same command goes on after a kill."
)
_CACHE = flags.DEFINE_string(
    "cache", None, "Instead of --out: folder in which these media and settings have a folder."
)
_NAME = flags.DEFINE_string(
    "name", None, "Name of the data set; default: the name of --out, or of --source with --cache."
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
    f"{VAL_SHARE}.",
)
_FPS = flags.DEFINE_float("fps", 12.5, "Frames a second in the records.")
_SHORT_SIDE = flags.DEFINE_integer(
    "short_side", 256, "Pixels of the short side; smaller pictures are not enlarged."
)
_QUALITY = flags.DEFINE_integer("jpeg_quality", 90, "JPEG quality of the frames, 1 to 95.")
_CLIPS = flags.DEFINE_integer("clips_per_shard", 64, "Clips in one file; the unit of resuming.")
_SECONDS = flags.DEFINE_float(
    "max_seconds", 600.0, "Clips longer than this are rejected.", lower_bound=0.1
)
_PIXELS = flags.DEFINE_integer(
    "max_pixels", 8192 * 8192, "Clips with larger frames are rejected.", lower_bound=1
)
_PATIENCE = flags.DEFINE_float(
    "patience", 300.0, "Seconds after which a file is given up.", lower_bound=1.0
)
_MEMORY = flags.DEFINE_float(
    "worker_memory",
    4.0,
    "GiB that a decoding process may occupy, on Linux; a file that needs more is rejected. "
    "0 is no limit.",
    lower_bound=0.0,
)
_FETCH = flags.DEFINE_float(
    "max_fetch", 8.0, "GiB of a remote file; larger ones are rejected.", lower_bound=0.0
)
_RUNNER = flags.DEFINE_string(
    "runner",
    None,
    "Prepare with Apache Beam: DirectRunner on this machine, or DataflowRunner, FlinkRunner, "
    "SparkRunner, ... with Beam's own options on the same command line. Default: without Beam.",
)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Decoding processes; default: one a core.", lower_bound=1
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the data set in --out.")

Request = tuple[datasets.Listing, Settings, Sequence[str] | None]

# Exit codes: EX_CONFIG, and what a shell calls an interrupt from the keyboard.
_BAD_REQUEST = 78
_INTERRUPTED = 130


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
        _leave(str(error))


def _main(arguments: list[str]) -> None:
    try:
        if not _DATASET.value:
            known = ", ".join(datasets.names())
            raise ValueError(f"--dataset is missing; one of {known}; --help says what they take")
        if bool(_OUT.value) == bool(_CACHE.value):
            said = "both --out and --cache are given" if _OUT.value else "--out is missing"
            raise ValueError(
                f"{said}; give --out=DIR, the folder to write, or --cache=DIR (docs/data.md)"
            )
        if len(arguments) > 1 and _RUNNER.value is None:
            raise ValueError(
                f"unexpected argument {arguments[1]!r}; options are written --name=value"
            )
        if _CACHE.value:
            _prepare_at_first_use(pathlib.Path(_CACHE.value), arguments[1:])
        else:
            _prepare(storage.path(_OUT.value), arguments[1:])
    except (ModuleNotFoundError, ValueError, OSError) as error:
        _leave(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _prepare(out: pathlib.Path, beam_options: Sequence[str]) -> None:
    request = _request(str(out), _NAME.value or _name(out))
    result = _build(out, request, beam_options)
    print(result)
    _check_any(result.clips, out)
    print(report.closing(out, records.Info.load(out)))


def _prepare_at_first_use(folder: pathlib.Path, beam_options: Sequence[str]) -> None:
    """Prepares what is not there yet; the last line that it prints is the folder of the records."""
    name = _NAME.value or _name(pathlib.Path(_SOURCE.value).with_suffix(""))
    request = _request(str(folder / name), name)
    out = cache.entry(folder, *request)
    with cache.held(out):
        clips = None if _OVERWRITE.value else records.whole_clips(out)
        if clips is None:
            print(f"preparing {_SOURCE.value} into {out}", file=sys.stderr)
            result = _build(out, request, beam_options)
            print(result)
            clips = result.clips
    _check_any(clips, out)
    print(out)


def _request(out: str, name: str) -> Request:
    """The clips, how they are prepared, and their label names in order, as the flags say."""
    options = datasets.Options(
        out=out,
        media=_MEDIA.value,
        val_share=_VAL_SHARE.value,
        ignore_columns=tuple(_IGNORE.value),
        workers=_WORKERS.value or cores.count(),
    )
    listing = datasets.clips(_DATASET.value, _SOURCE.value, options)
    for warning in listing.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    untrained = assignment.untrained(listing.entries)
    if untrained:
        print(
            f"warning: {len(untrained)} labels occur in no training clip: "
            f"{', '.join(untrained[:5])}",
            file=sys.stderr,
        )
    settings = Settings(
        name=name,
        fps=_FPS.value,
        short_side=_SHORT_SIDE.value,
        jpeg_quality=_QUALITY.value,
        clips_per_shard=_CLIPS.value,
        limits=container.Limits(
            pixels=_PIXELS.value,
            seconds=_SECONDS.value,
            patience=_PATIENCE.value,
            fetched=round(_FETCH.value * 2**30),
            memory=round(_MEMORY.value * 2**30) or None,
        ),
    )
    return listing, settings, _label_names(_LABELS.value) or listing.labels


def _build(out: pathlib.Path, request: Request, beam_options: Sequence[str]) -> report.Report:
    listing, settings, labels = request
    workers = _WORKERS.value or cores.count()
    pipeline = None
    if _RUNNER.value is not None:
        from av_mae.prepare.shards import beam

        pipeline = beam.options(_RUNNER.value, beam_options, workers)
    return build.build(
        listing,
        out,
        settings,
        labels=labels,
        workers=workers,
        overwrite=_OVERWRITE.value,
        pipeline=pipeline,
    )


def _check_any(clips: int, out: pathlib.Path) -> None:
    if not clips:
        _leave(f"none of the clips could be prepared; the reasons are in {out / 'rejected.csv'}")


def _label_names(file: str | None) -> list[str] | None:
    if file is None:
        return None
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"--labels={file} cannot be read: {error.strerror}") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise ValueError(f"--labels={file} is empty; expected one label name a line")
    return names


def _name(out: pathlib.Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", out.resolve().name.lower()).strip("_")
    return name if name[:1].isalpha() else f"data_{name}".rstrip("_")


def _leave(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(_BAD_REQUEST)


if __name__ == "__main__":
    main()
