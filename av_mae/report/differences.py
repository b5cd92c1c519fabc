"""What differs between the configs of several runs, key by key."""

from collections.abc import Mapping, Sequence
from typing import Any

NONE = "-"  # in a cell: the config does not have the key, or it is empty

_ABSENT = object()  # the value of a key that a config does not have


def rows(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The value in every config of each key that is not the same in all, by dotted key.

    Where only some configs have a section, such as a modality, that is one row; the keys in it are
    compared among those that have it. A run without a config is not compared.
    """
    found: dict[str, list[str]] = {}
    _compare([config or _ABSENT for config in configs], "", found)
    return found


def cell(config: Mapping[str, Any], key: str) -> str:
    """The value of a dotted key, as text."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return _text(value)


def _compare(configs: Sequence[Any], where: str, found: dict[str, list[str]]) -> None:
    names = (name for config in configs if isinstance(config, Mapping) for name in config)
    for name in dict.fromkeys(names):
        key = f"{where}.{name}".removeprefix(".")
        # An absent section is a difference; an absent value is of a config from before the key.
        asked = [config for config in configs if isinstance(config, Mapping)]
        values = [c.get(name, _ABSENT) if isinstance(c, Mapping) else _ABSENT for c in configs]
        known = [value for value in values if value is not _ABSENT]
        sections = [isinstance(value, Mapping) for value in known]
        if any(sections):
            if len(known) < len(asked) or not all(sections):
                found[key] = [_text(value) for value in values]
            _compare(values, key, found)
        elif any(value != known[0] for value in known):
            found[key] = [_text(value) for value in values]


def _text(value: Any) -> str:
    if value is _ABSENT or value == "":
        return NONE
    if isinstance(value, Mapping):
        return "yes"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or NONE
    return f"{value:.6g}" if isinstance(value, float) else str(value)
