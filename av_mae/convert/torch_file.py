"""PyTorch's files (.pth, .pt, .bin), read without PyTorch and without running what they contain.

Such a file is a pickle, which may name any function of any module to be called. Here the few that
build tensors are replaced by our own, bookkeeping of known programs becomes empty placeholders, and
any other name is a reason to refuse the file. Formats, both written by `torch.save`: a zip archive
of one pickle and a member for each storage, and (before 1.6) pickles followed by the storages.
"""

import collections
import dataclasses
import io
import math
import pathlib
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

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
}
# Programs that write settings and bookkeeping beside the weights; nothing of them is ever called.
_PLACEHOLDERS = ("argparse", "pathlib", "numpy", "torch", "deepspeed", "mmengine", "mmcv", "apex")
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


class Placeholder:
    """An object of another program: it can be built and filled in, and does nothing."""

    name = ""

    def __new__(cls, *_: Any, **__: Any) -> "Placeholder":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any): ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

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

    def __init__(self, file: BinaryIO, path: pathlib.Path, storage: Callable[..., _Storage]):
        super().__init__(file, encoding="latin1")
        self._path, self._storage = path, storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _BUILDERS:
            return _BUILDERS[module, name]
        if module == "torch" and name in _DTYPES:
            return name
        if module.split(".")[0] in _PLACEHOLDERS:
            return type(name, (Placeholder,), {"name": f"{module}.{name}"})
        raise schema.ConfigError(
            f"{self._path} asks for {module}.{name}, which no checkpoint needs; it was not run. "
            "Do not load this file elsewhere unless you trust where it comes from"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, values, key, _, count, *view = pid
        if kind != "storage" or (view and view[0] is not None):
            raise ValueError("a storage that is a view of another")
        return self._storage(key, _DTYPES[values], count)


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return Tensor(tuple(size), storage.dtype, storage, offset, tuple(stride))


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
    ("torch", "Size"): tuple,
    ("builtins", "set"): set,
    ("_codecs", "encode"): _latin1,
}


def _read_zip(path: pathlib.Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        data = next(n for n in archive.namelist() if n.split("/")[-1] == _DATA)
        root = data.removesuffix(_DATA)
        order = f"{root}byteorder"
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise schema.ConfigError(f"{path} is compressed, which PyTorch's files never are")
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
            with path.open("rb") as file:
                file.seek(places[key])
                found = file.read(size)
            if len(found) != size:
                missing = size - len(found)
                raise schema.ConfigError(f"{path} is truncated: {missing:,} bytes are missing")
            return found

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
        file.seek(len(_LEGACY_START))
        for _ in range(2):  # the version of the protocol, and sizes of the machine's types
            _Unpickler(file, path, storage).load()
        saved = _Unpickler(file, path, storage).load()
        for key in _Unpickler(file, path, storage).load():
            (count,) = struct.unpack("<q", file.read(8))
            places[key] = file.tell()
            file.seek(count * sizes[key], io.SEEK_CUR)
    return saved
