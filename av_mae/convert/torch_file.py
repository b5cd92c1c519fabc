"""PyTorch's files (.pth, .pt, .bin), read without PyTorch and without running what they contain.

Such a file is a pickle, which may name any function of any module to be called. Here the few that
build tensors are replaced by our own. Bookkeeping becomes empty placeholders: classes of a training
program, and the types of Python's own library that hold values. The rest of that library, and a
call of any function that does not rebuild a value, are reasons to refuse the file. Formats, both
written by `torch.save`: a zip archive of one pickle and a member for each storage, and (before 1.6)
pickles followed by the storages.
"""

import builtins
import collections
import dataclasses
import functools
import io
import math
import mmap
import operator
import pathlib
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from av_mae.config import schema
from av_mae.convert import describe, pickled

_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
}
# Modules of Python's library that hold values, as settings and bookkeeping have them.
_VALUES = (
    "argparse", "collections", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "pathlib", "random", "typing", "uuid", "zoneinfo",
)  # fmt: skip
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # as protocol 2 writes them
_TYPES = {name for name, value in vars(builtins).items() if isinstance(value, type)}
_TYPES |= {"long", "unicode", "xrange"}
# What may be called: classes, and functions and types in lower case that only rebuild a value.
_REBUILDS = re.compile(
    r"_*[A-Z]\w*|\w*(build|construct|unpickle|_ctor)\w*|_new_\w+|_frombuffer|_load_from_bytes"
    r"|_get_layout|scalar|dtype|ndarray|device|deque|partial|date|datetime|time|timedelta|timezone"
)
_MOST_AXES = 32
_SHOWN = 200  # characters of a name
_LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_DATA = "data.pkl"
_ZIP_START = re.compile(rb"PK\x03\x04.*data\.pkl", re.DOTALL)  # the pickle comes first
_START = 256  # bytes that hold the name of an archive's first member


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor whose values are read from the file on demand."""

    shape: tuple[int, ...]
    dtype: np.dtype
    _storage: "_Storage"
    _offset: int
    _stride: tuple[int, ...]

    def numpy(self) -> np.ndarray:
        """The values, row-major.

        Raises:
            ConfigError: they lie outside the file, or their checksum is wrong.
        """
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        flat = np.frombuffer(self._storage.read(), self.dtype)
        steps = zip(self.shape, self._stride, strict=True)
        last = self._offset + sum((size - 1) * stride for size, stride in steps)
        least = min((self._offset, *self.shape, *self._stride))
        if least < 0 or last >= len(flat) or math.prod(self.shape) > len(flat):
            raise schema.ConfigError(
                f"{self._storage.where}: a tensor of shape {self.shape} reaches over its "
                f"{len(flat)} stored values; the file is damaged"
            )
        strides = tuple(stride * self.dtype.itemsize for stride in self._stride)
        view = np.lib.stride_tricks.as_strided(flat[self._offset :], self.shape, strides)
        return np.ascontiguousarray(view).reshape(self.shape)


def read(path: pathlib.Path) -> Any:
    """The saved object: dicts, lists and numbers with `Tensor` leaves.

    Objects of known programs, as the `argparse.Namespace` of training options, are `Placeholder`s.

    Raises:
        ConfigError: not a PyTorch file, truncated, damaged, or one that asks for code to run.
    """
    with describe.reading(path, "PyTorch file"):
        return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)


def is_torch(path: pathlib.Path) -> bool:
    """Whether a file is one of PyTorch's, by its content; it may be truncated."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/")[-1] == _DATA for name in archive.namelist())
    with path.open("rb") as file:
        start = file.read(_START)
    return start.startswith(_LEGACY_START) or _ZIP_START.match(start) is not None


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Values of one type in a row: their place, for messages, and how to read them."""

    where: str
    dtype: np.dtype
    read: Callable[[], bytes]


class _Names:
    """What stands for the classes and functions that a file names.

    Args:
        storage: finds the values of a key, type and count; it is asked once for each.
    """

    def __init__(self, path: pathlib.Path, storage: Callable[[str, np.dtype, int], _Storage]):
        self._path, self._storage = path, functools.cache(storage)

    def load(self, file: Any) -> Any:
        """The object of the pickle at the position of a file."""
        return pickled.Unpickler(self._find, self._stored).load(file)

    def _find(self, module: str, name: str) -> Any:
        module = _OLD_NAMES.get(module, module)
        if (module, name) in _BUILDERS:
            return _BUILDERS[module, name]
        if (module, name) == ("builtins", "getattr"):
            return self._attribute
        if module == "torch" and name in _DTYPES:
            return name
        root, (first, *more) = module.split(".")[0], name.split(".")
        is_value = root in _VALUES or (module == "builtins" and name in _TYPES)
        through_module = more and not re.fullmatch("_*[A-Z].*", first)
        if through_module or (root in sys.stdlib_module_names and not is_value):
            raise schema.ConfigError(self._refusal(f"{module}.{name}"))
        return self._placeholder(f"{module}.{name}", module == "builtins")

    def _attribute(self, owner: Any, name: str) -> Any:
        """`getattr`, by which protocol 2 writes methods, on placeholders alone."""
        kind = owner if isinstance(owner, pickled.Kind) else type(owner)
        if not isinstance(kind, pickled.Kind):
            raise schema.ConfigError(self._refusal(f"builtins.getattr of {kind.__name__}.{name}"))
        return self._placeholder(f"{kind.name}.{name}")

    def _placeholder(self, name: str, built: bool = False) -> pickled.Kind:
        last = name.split(".")[-1]
        refusal = "" if built or _REBUILDS.fullmatch(last) else self._refusal(name)
        return pickled.Kind(last, (pickled.Placeholder,), {"name": name, "refusal": refusal})

    def _refusal(self, name: str) -> str:
        return (
            f"{self._path} asks for {name[:_SHOWN]}, which no checkpoint needs; it was not run. "
            "Do not load this file elsewhere unless you trust where it comes from"
        )

    def _stored(self, pid: Any) -> _Storage:
        kind, values, key, _, count, *view = pid
        if kind != "storage" or (view and view[0] is not None):
            raise ValueError("a storage that is a view of another")
        if not isinstance(key, str) or not isinstance(values, str):
            raise ValueError("a storage without a name or a type")
        return self._storage(key, _DTYPES[values], operator.index(count))


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    shape, steps = (tuple(map(operator.index, sizes)) for sizes in (size, stride))
    if not isinstance(storage, _Storage) or len(shape) != len(steps) or len(shape) > _MOST_AXES:
        raise ValueError(f"a tensor of shape {shape} and strides {steps}")
    return Tensor(shape, storage.dtype, storage, operator.index(offset), steps)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _of_type(build: Any, _: Any, values: tuple, *__: Any) -> Any:
    if build not in (_tensor, _parameter):
        raise ValueError("a tensor that another function builds")
    return build(*values[:_MOST_AXES])


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


_BUILDERS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): lambda pairs=(): collections.OrderedDict(
        (pickled.key(k), v) for k, v in pairs
    ),
    ("collections", "defaultdict"): lambda *_: {},
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
    ("torch", "Size"): tuple,
    ("builtins", "set"): lambda values=(): set(map(pickled.key, values)),
    ("builtins", "frozenset"): lambda values=(): frozenset(map(pickled.key, values)),
    ("copyreg", "_reconstructor"): lambda kind, *_: (
        kind() if isinstance(kind, pickled.Kind) else pickled.Placeholder()
    ),
    ("types", "SimpleNamespace"): pickled.Placeholder,
    ("_codecs", "encode"): _latin1,
}


def _read_zip(path: pathlib.Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        data = next(n for n in archive.namelist() if n.split("/")[-1] == _DATA)
        root = data.removesuffix(_DATA)
        order = f"{root}byteorder"
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise schema.ConfigError(f"{path} is compressed, which PyTorch's files never are")
        if max(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise schema.ConfigError(f"{path} is damaged: a part of it is larger than the file")
        if order in archive.namelist() and archive.read(order) != b"little":
            raise schema.ConfigError(f"{path} is big-endian; only little-endian files can be read")

        def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
            where = f"{root}data/{key}"
            if archive.getinfo(where).file_size != count * dtype.itemsize:
                raise ValueError(f"{where} does not hold {count} values of {dtype}")

            @functools.cache  # views of it, of which there may be thousands, share its bytes
            def read() -> bytes:
                try:
                    with zipfile.ZipFile(path) as archive:
                        return archive.read(where)  # and verifies its checksum
                except zipfile.BadZipFile as error:
                    raise schema.ConfigError(
                        f"{path} is damaged: {error}; copy it again"
                    ) from error

            return _Storage(f"{path}, {where}", dtype, read)

        return _Names(path, storage).load(io.BytesIO(archive.read(data)))


def _read_legacy(path: pathlib.Path) -> Any:
    places: dict[str, int] = {}
    sizes: dict[str, int] = {}

    def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
        sizes[key], size = dtype.itemsize, count * dtype.itemsize

        @functools.cache
        def read() -> bytes:
            missing = places[key] + size - path.stat().st_size
            if missing > 0:
                raise schema.ConfigError(f"{path} is truncated: {missing:,} bytes are missing")
            with path.open("rb") as file:
                file.seek(places[key])
                return file.read(size)

        return _Storage(f"{path}, storage {key}", dtype, read)

    with path.open("rb") as file:
        start = file.read(_START)
        if _ZIP_START.match(start):
            raise schema.ConfigError(f"{path} is truncated: the end of its zip archive is missing")
        if not start.startswith(_LEGACY_START):
            raise schema.ConfigError(
                f"{path} is not a PyTorch file: neither a zip archive with a {_DATA} "
                "nor of the format before 1.6"
            )
        # A mapped file is read no further than to its end, whatever length a pickle claims.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            mapped.seek(len(_LEGACY_START))
            names = _Names(path, storage)
            for _ in range(2):  # the version of the protocol, and sizes of the machine's types
                names.load(mapped)
            saved = names.load(mapped)
            for key in names.load(mapped):
                if not isinstance(key, str):
                    raise ValueError("a storage without a name")
                (count,) = struct.unpack("<q", mapped.read(8))
                places[key] = mapped.tell()
                mapped.seek(min(places[key] + count * sizes[key], len(mapped)))
    return saved
