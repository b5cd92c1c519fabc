"""What decides the bytes of the records besides the media themselves."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from av_mae.prepare import datasets
from av_mae.prepare.media import container

# Changes when the same media and settings would give other records.
REVISION = 2


@dataclasses.dataclass(frozen=True)
class Settings:
    """How media are turned into records.

    Attributes:
        name: of the data set, in the names of its files.
        fps: frames a second.
        short_side: pixels that the short side is scaled down to.
        jpeg_quality: 1 to 95.
    """

    name: str
    fps: float = 12.5
    short_side: int = 256
    jpeg_quality: int = 90
    clips_per_shard: int = 64
    limits: container.Limits = container.DEFAULT_LIMITS

    def check(self) -> None:
        """Raises a ValueError for a setting that cannot be."""
        for flag, low, high in (
            ("fps", 0.1, 240),
            ("short_side", 2, 8192),
            ("jpeg_quality", 1, 95),
            ("clips_per_shard", 1, 100_000),
        ):
            value = getattr(self, flag)
            if not low <= value <= high:
                raise ValueError(f"--{flag} is {value}, expected {low} to {high}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"--name is {self.name!r}, expected letters a-z, digits and _")

    def fingerprint(
        self, entries: Iterable[datasets.Entry], labels: Sequence[str]
    ) -> dict[str, Any]:
        """All that the bytes of the shards depend on, named after the flags."""
        values = dataclasses.asdict(self)
        del values["limits"]  # most of them decide what is rejected, not what is written
        return {
            "revision": REVISION,
            **values,
            "max_pixels": self.limits.pixels,
            "max_seconds": self.limits.seconds,
            "clips": digest(entries),
            "labels": list(labels),
        }


def digest(entries: Iterable[datasets.Entry]) -> str:
    """Tells two lists of clips apart, whatever their order and wherever their files lie."""
    nowhere = (dataclasses.replace(entry, path="") for entry in entries)
    lines = sorted(json.dumps(dataclasses.asdict(entry)) for entry in nowhere)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
