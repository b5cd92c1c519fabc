"""What a foreign file says about its model, and how that becomes an experiment.

Widths and depths are in the shapes of the arrays; what else a model needs is not (its heads, say,
or the length of its clips). There the published models agree on a value, or the user is asked.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from absl import logging
from flax import traverse_util

from av_mae.config import parse, schema
from av_mae.convert import table

# Width -> heads of the published encoders and decoders.
_HEADS = {width: heads for width, _, heads, _ in schema.VARIANTS.values()} | {512: 8, 640: 8}


@dataclasses.dataclass(frozen=True)
class Ask:
    """A value that follows neither from the file nor from the published models."""

    why: str


@dataclasses.dataclass(frozen=True)
class Description:
    """A foreign model: its arrays, and the keys of an experiment that follow from them.

    Attributes:
        facts: dotted keys of `schema.Experiment` that the file shows, with their values.
        usual: keys that it does not show, with the values of the published models, or `Ask`.
        rules: of the model's parameters, once the experiment is known.
        labels: label names, or one empty name a class where the file has none.
        spare: arrays that a model may do without, as tables that a formula gives as well.
        dropped: arrays that the reader has left out already.
    """

    family: str
    arrays: table.Arrays
    facts: Mapping[str, Any]
    usual: Mapping[str, Any]
    rules: Callable[[schema.Experiment], list[table.Rule]]
    labels: tuple[str, ...] = ()
    step: int = 0
    spare: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@contextlib.contextmanager
def reading(path: pathlib.Path, kind: str) -> Iterator[None]:
    """Raises what a reader raises of a damaged file, which can be anything, as a ConfigError."""
    try:
        yield
    except (schema.ConfigError, ImportError):
        raise
    except Exception as error:
        what = "it lacks" if isinstance(error, KeyError) else f"{type(error).__name__}:"
        raise schema.ConfigError(
            f"{path} is not a whole {kind} ({what} {str(error)[:200]}); copy or download it again"
        ) from error


def experiment(
    found: Description,
    known: Mapping[str, Any] | None,
    source: str,
    *,
    answers: Mapping[str, Any] | None = None,
) -> schema.Experiment:
    """The experiment of a foreign model.

    Args:
        known: dotted keys and values for what the file does not show, as `{"model.heads": 6}`, or
            all keys of an experiment. The file overrides them, with a warning unless there are
            `answers`: a run that starts from the file may have inputs of its own.
        answers: values of keys that would be asked for otherwise.

    Raises:
        ConfigError: a key is neither shown nor known; all such keys are named.
    """
    modalities = {key.split(".")[1] for key in found.facts if key.startswith("modalities.")}
    known = {
        key: value
        for key, value in (known or {}).items()
        if not key.startswith("modalities.") or key.split(".")[1] in modalities
    }
    for key in sorted(known.keys() & found.facts.keys()) if answers is None else ():
        if known[key] != found.facts[key]:
            logging.warning(
                "%s shows %s=%r, not %r as it was told; the file counts",
                source,
                key,
                found.facts[key],
                known[key],
            )

    open_keys = {k: v.why for k, v in found.usual.items() if isinstance(v, Ask)}
    known = {k: v for k, v in (answers or {}).items() if k in open_keys} | known
    asked = {k: why for k, why in open_keys.items() if k not in known}
    if asked:
        reasons = "; ".join(f"{key} ({why})" for key, why in asked.items())
        raise schema.ConfigError(
            f"{source} ({found.family}) does not show {reasons}. Say so: python -m av_mae.convert "
            f"{source} --out=DIR --config=configs/..., or known={{key: value}} in Python"
        )
    assumed = {k: v for k, v in found.usual.items() if k not in known}
    if assumed:
        logging.info(
            "%s (%s) does not show these, taken as published: %s",
            source,
            found.family,
            ", ".join(f"{k}={v!r}" for k, v in sorted(assumed.items())),
        )
    flat = {**assumed, **known, **found.facts}
    try:
        return parse.experiment(traverse_util.unflatten_dict(flat, sep="."))
    except schema.ConfigError as error:
        raise schema.ConfigError(f"{source} ({found.family}): {error}") from error


def heads(width: int) -> int | Ask:
    """The heads of a published model of this width."""
    return _HEADS.get(width, Ask(f"how many heads share its width of {width}"))
