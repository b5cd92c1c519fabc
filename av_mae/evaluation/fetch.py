"""Results of an evaluation on the host, fetched while the devices work on."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import jax

Result = TypeVar("Result")


def one_late(results: Iterable[Result]) -> Iterator[Result]:
    """Every result as numpy arrays, fetched once the next one is under way."""
    waiting: list[Result] = []
    for result in results:
        waiting.append(result)
        if len(waiting) > 1:
            yield jax.device_get(waiting.pop(0))
    for result in waiting:
        yield jax.device_get(result)
