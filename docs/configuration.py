"""Writes docs/configuration.md from the schema in av_mae/config/schema.py, so that it cannot rot.

python docs/configuration.py
"""

import ast
import dataclasses
import inspect
import io
import pathlib
import re
import tokenize
import typing

from av_mae.config import limits, modality, schema

PAGE = pathlib.Path(__file__).with_suffix(".md")

SECTIONS = {
    "Experiment": (schema.Experiment, ""),
    "Dataset": (schema.Dataset, "dataset."),
    "MediaSequence files": (schema.MediaSequence, "dataset.mediasequence."),
    "Video": (modality.Video, "modalities.video."),
    "Audio": (modality.Audio, "modalities.audio."),
    "Model": (schema.Model, "model."),
    "Augmentation": (schema.Augment, "augment."),
    "Optimizer": (schema.Optim, "optim."),
    "Compute": (schema.Compute, "compute."),
    "Checkpoints": (schema.Checkpoint, "checkpoint."),
    "Evaluators": (schema.Evaluator, "evaluators.NAME."),
    "Start": (schema.InitFrom, "init_from."),
}

HEAD = """# Configuration

Every key of a config, its type and limits, its default and its meaning. Written from
`av_mae/config/schema.py` and `av_mae/config/modality.py` by `python docs/configuration.py`; a test
keeps it up to date.

Any key can be overridden on the command line, as in `--config.batch_size=64`,
`--config.modalities.video.size=112`, `--config.modalities.audio.patch="(4, 128)"` or
`--config.dataset.multilabel` and `--noconfig.dataset.multilabel`. Learning rates that a config
scales with the batch size follow an override of it, unless they are overridden themselves.

Durations are text: `"5 epochs"`, `"200 steps"`, `"100000 examples"`, `"5 %"` (of the run; for
`optim.warmup`). An evaluator may also run at the `"end"` only.

Sizes by name, as in `variant=L/16x2` (patches of 16 x 16 pixels and 2 frames):

"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD + _variants()]
    for title, (kind, prefix) in SECTIONS.items():
        parts.append(f"## {title}\n\n{_summary(kind)}\n\n{_table(kind, prefix)}")
    return "\n".join(parts)


def _variants() -> str:
    every = schema.VARIANTS | schema.SMALL
    rows = [f"| {name} | {' | '.join(map(str, v))} |" for name, v in every.items()]
    return "\n".join(
        ["| name | width | depth | heads | mlp |", "| --- | --- | --- | --- | --- |", *rows, ""]
    )


def _table(kind: type, prefix: str) -> str:
    hints = typing.get_type_hints(kind, include_extras=True)
    meanings = _comments(kind) | _attributes(kind)
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for field in dataclasses.fields(kind):
        default = "below"
        if field.default is not dataclasses.MISSING:
            default = f"`{field.default!r}`"
        cells = [f"`{prefix}{field.name}`", _type(hints[field.name]), default]
        cells.append(meanings.get(field.name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*rows, ""])


def _type(hint: typing.Any) -> str:
    if dataclasses.is_dataclass(hint) or typing.get_origin(hint) is dict:
        return "`dict`"
    if typing.get_origin(hint) is typing.Literal:
        return limits.expected(hint)
    kind, expected = limits.base(hint), limits.expected(hint)
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    return f"`{name}`, {expected}" if expected else f"`{name}`"


def _summary(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\nAttributes:")[0].replace("\n", " ")


def _comments(kind: type) -> dict[str, str]:
    """Comments behind the fields, or on the line above them."""
    source = inspect.getsource(kind)
    lines = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    fields = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.AnnAssign)]
    own = {n.lineno for n in fields}
    above = {line + 1: text for line, text in lines.items() if line not in own}
    return {ast.unparse(n.target): (above | lines).get(n.lineno, "") for n in fields}


def _attributes(kind: type) -> dict[str, str]:
    """The entries under "Attributes:" in the docstrings of a class and of those it extends."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        for names, meaning in re.findall(r"^    ([\w, ]+): ((?:.|\n(?=      ))*)", text, re.M):
            found |= dict.fromkeys(names.split(", "), re.sub(r"\s+", " ", meaning))
    return found


if __name__ == "__main__":
    PAGE.write_text(page())
