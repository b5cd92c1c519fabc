"""A program of its own that writes the weights of a Keras file in HDF5 to its standard output.

HDF5's library neither ends nor can be interrupted in some damaged files, and crashes in others;
then this process is killed, not the one that wants the weights. It writes a line when it is ready,
a line of JSON (names, types and shapes, or a sentence that refuses the file) and the arrays.
"""

import contextlib
import json
import math
import os
import pathlib
import sys
import time
from typing import Any

import h5py
import numpy as np

# Of a processor: for any file, and bytes a second of a large one; and memory beside its arrays.
_SECONDS, _SPEED, _ROOM = 1.0, 50e6, 2**29
_AGAIN = "write the file with model.save_weights('FILE.h5') under Keras 2"


class RefusalError(Exception):
    """The file is whole, but not what is wanted; the message says what to do."""


def main() -> None:
    """Writes what the file `sys.argv[1]` holds."""
    out, path = sys.stdout.buffer, pathlib.Path(sys.argv[1])
    _limit(path.stat().st_size)
    out.write(b"ready\n")
    out.flush()
    try:
        with h5py.File(path) as file:
            found = weights(file, path.stat().st_size)
            header = [(name, x.dtype.newbyteorder("<").str, x.shape) for name, x in found]
            out.write(json.dumps({"arrays": header}).encode() + b"\n")
            for (_, x), (_, dtype, _) in zip(found, header, strict=True):
                out.write(np.ascontiguousarray(np.asarray(x), dtype).tobytes())
    except RefusalError as error:
        out.write(json.dumps({"refusal": str(error)}).encode() + b"\n")
    except Exception as error:  # h5py raises anything of a damaged file
        out.write(json.dumps({"damage": str(error)}).encode() + b"\n")
    out.flush()
    os._exit(0)  # closing a damaged file may hang as well


def _limit(size: int) -> None:
    """Seconds of work and bytes that a file of this size needs at most, where a system has limits.

    It is not the clock that counts, which goes on while other processes have their turn.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        seconds = math.ceil(time.process_time() + _SECONDS + size / _SPEED)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
        room = pages * resource.getpagesize() + _ROOM + 3 * size
        resource.setrlimit(resource.RLIMIT_AS, (room, room))


def weights(file: h5py.File, room: int) -> list[tuple[str, Any]]:
    """Names and arrays in the order of the layers, the model's own ones last.

    Args:
        room: bytes that all arrays can have, those of the file.

    Raises:
        RefusalError: it is no weights file of Keras 2, or what it names is not in it.
    """
    if "layer_names" not in file.attrs:
        raise RefusalError(
            f"it has no attribute layer_names: it is no weights file of Keras 2; {_AGAIN}"
        )
    result: list[tuple[str, Any]] = []
    for layer in (*_names(file, "layer_names", room), "top_level_model_weights"):
        group = _find(file, layer)
        for name in _names(group, "weight_names", room) if group is not None else ():
            x = _find(group, name)
            stored = isinstance(x, h5py.Dataset) and not (x.is_virtual or x.external)
            if stored and x.shape is not None and x.dtype.kind == "f":
                room -= x.dtype.itemsize * max(math.prod(x.shape), math.prod(x.chunks or ()))
            else:
                room = -1
            if room < 0:
                raise RefusalError(
                    f"{name} is not stored in it as floats, or larger than the file; copy it again"
                )
            result.append((name, x))
    return result


def _find(group: Any, name: str) -> Any:
    """What `name` means inside the file, without following it to another one."""
    hard = h5py.h5l.TYPE_HARD  # pyright: ignore[reportAttributeAccessIssue]
    for part in name.split("/"):
        links = group.id.links if isinstance(group, h5py.Group) else None
        if links is None or not links.exists(part.encode()):
            return None
        if links.get_info(part.encode()).type != hard:
            raise RefusalError(
                f"{name} is a link to another place, which is not followed; {_AGAIN}"
            )
        group = group[part]
    return group


def _names(of: Any, key: str, room: int) -> list[str]:
    place = of.attrs.get_id(key)
    shape = list(place.shape or ())
    if len(shape) != 1 or shape[0] * place.dtype.itemsize > room:
        raise RefusalError(
            f"the attribute {key} is of shape {shape}, expected names in a row; {_AGAIN}"
        )
    found: Any = of.attrs[key]
    return [x.decode() if isinstance(x, bytes) else str(x) for x in found]
