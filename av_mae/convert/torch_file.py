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
import io
import math
import mmap
import operator
import pathlib
import pickle
import pickletools
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from av_mae.config import schema
from av_mae.convert import describe

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


class _Kind(type):
    """The type of placeholders: what a pickle calls is either built or refused."""

    name: str
    refusal: str

    def __call__(cls, *_: Any, **__: Any) -> Any:
        if cls.refusal:
            raise schema.ConfigError(cls.refusal)
        return super().__call__()


class Placeholder(metaclass=_Kind):
    """An object of another program: it can be built and filled in, and does nothing."""

    name = refusal = ""

    def __new__(cls, *_: Any, **__: Any) -> "Placeholder":  # as some pickles call it
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def add(self, value: Any) -> None: ...

    def __hash__(self) -> int:
        return id(self)


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Values of one type in a row: their place, for messages, and how to read them."""

    where: str
    dtype: np.dtype
    read: Callable[[], bytes]


class _Unpickler(pickle.Unpickler):
    """Builds tensors from storages that `storage(key, dtype, count)` finds."""

    def __init__(self, file: Any, path: pathlib.Path, storage: Callable[..., _Storage]):
        start = file.tell()
        for code, argument, place in pickletools.genops(file):  # which reads no more than there is
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > place - start:
                raise ValueError(f"it names object {argument} within {place - start} bytes")
        file.seek(start)
        super().__init__(file, encoding="latin1")
        self._path, self._storage = path, storage

    def find_class(self, module: str, name: str) -> Any:
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
        kind = owner if isinstance(owner, _Kind) else type(owner)
        if not isinstance(kind, _Kind):
            raise schema.ConfigError(self._refusal(f"builtins.getattr of {kind.__name__}.{name}"))
        return self._placeholder(f"{kind.name}.{name}")

    def _placeholder(self, name: str, built: bool = False) -> _Kind:
        last = name.split(".")[-1]
        refusal = "" if built or _REBUILDS.fullmatch(last) else self._refusal(name)
        return _Kind(last, (Placeholder,), {"name": name, "refusal": refusal})

    def _refusal(self, name: str) -> str:
        return (
            f"{self._path} asks for {name}, which no checkpoint needs; it was not run. "
            "Do not load this file elsewhere unless you trust where it comes from"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, values, key, _, count, *view = pid
        if kind != "storage" or (view and view[0] is not None):
            raise ValueError("a storage that is a view of another")
        return self._storage(key, _DTYPES[values], count)


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    shape, steps = (tuple(map(operator.index, sizes)) for sizes in (size, stride))
    if len(shape) != len(steps):
        raise ValueError(f"a tensor of shape {shape} and strides {steps}")
    return Tensor(shape, storage.dtype, storage, operator.index(offset), steps)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


_BUILDERS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): lambda *_: {},
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda build, _, values, *__: build(*values),
    ("torch", "Size"): tuple,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("copyreg", "_reconstructor"): lambda kind, *_: (
        kind() if isinstance(kind, _Kind) else Placeholder()
    ),
    ("types", "SimpleNamespace"): Placeholder,
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

            def read() -> bytes:
                try:
                    with zipfile.ZipFile(path) as archive:
                        return archive.read(where)  # and verifies its checksum
                except zipfile.BadZipFile as error:
                    raise schema.ConfigError(
                        f"{path} is damaged: {error}; copy it again"
                    ) from error

            return _Storage(f"{path}, {where}", dtype, read)

        return _Unpickler(io.BytesIO(archive.read(data)), path, storage).load()


def _read_legacy(path: pathlib.Path) -> Any:
    places: dict[str, int] = {}
    sizes: dict[str, int] = {}

    def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
        sizes[key], size = dtype.itemsize, count * dtype.itemsize

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
            for _ in range(2):  # the version of the protocol, and sizes of the machine's types
                _Unpickler(mapped, path, storage).load()
            saved = _Unpickler(mapped, path, storage).load()
            for key in _Unpickler(mapped, path, storage).load():
                (count,) = struct.unpack("<q", mapped.read(8))
                places[key] = mapped.tell()
                mapped.seek(min(places[key] + count * sizes[key], len(mapped)))
    return saved
