"""Builds what a pickle describes without running it: opcode by opcode, of values and allowed calls.

Python's unpickler hashes, copies and calls whatever it is told to, so that a few bytes keep it busy
for ever or fill the memory. Here keys are small, what is copied is no larger than the file, and
objects of other programs are placeholders.
"""

import collections
import pickletools
from collections.abc import Callable, Sequence
from typing import Any, cast

from av_mae.config import schema

# Parts of a key, nested tuples and sets spelt out: what its hash has to visit.
_MOST_PARTS = 1000
_MOST_BITS = 60  # larger integers can all have the same hash
_MOST_NAMES = 10_000  # of classes and functions
_COPIES = 4  # times the size of the file that calls may be given to copy
_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)


class Kind(type):
    """The type of placeholders: what a pickle calls is either built or refused."""

    name: str
    refusal: str

    def __call__(cls, *_: Any, **__: Any) -> Any:
        if cls.refusal:
            raise schema.ConfigError(cls.refusal)
        return super().__call__()


class Placeholder(metaclass=Kind):
    """An object of another program: it can be built and filled in, and does nothing."""

    name = refusal = ""
    state: Any = None

    def __hash__(self) -> int:
        return id(self)


class Unpickler:
    """Reads pickles.

    Args:
        find: what stands for a class or function, by module and name: a `Kind` or a function.
        stored: what stands for a persistent id.
    """

    def __init__(self, find: Callable[[str, str], Any], stored: Callable[[Any], Any]):
        self._find, self._stored = find, stored
        self._named: dict[tuple[str, str], Any] = {}
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # stacks below a mark
        self._room = 0

    def load(self, file: Any) -> Any:
        """The object of the pickle at the position of a file, which is behind it afterwards.

        Raises:
            ValueError: it is damaged, or would take more than its file can hold.
            ConfigError: what `find` raises.
        """
        start = file.tell()
        file.seek(0, 2)
        self._room = _COPIES * file.tell()
        file.seek(start)
        memo: dict[int, Any] = {}
        self._stack, self._outer = [], []
        for code, value, _ in pickletools.genops(file):  # which reads no more than there is
            name, argument = code.name, cast(Any, value)
            if name in _VALUES:
                self._stack.append(argument)
            elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else argument] = self._stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self._stack.append(memo[argument])
            elif name in _BUILT:
                count, build = _BUILT[name]
                self._push(build(self._take(count)))
            elif name in _FILLED:
                count, fill = _FILLED[name]
                items = self._take(count)
                fill(self._stack[-1], items)
            elif name == "MARK":
                self._outer.append(self._stack)
                self._stack = []
            elif name == "STOP":
                return self._stack.pop()
            elif name not in ("PROTO", "FRAME"):
                self._call(name, argument)
        raise ValueError("a pickle without an end")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _take(self, count: int | None) -> list[Any]:
        """The last values of the stack; None is all behind the last mark."""
        items = self._stack
        if count is None:
            self._stack = self._outer.pop()
            return items
        if count > len(items):
            raise ValueError("an opcode without its values")
        taken = items[len(items) - count :]
        del items[len(items) - count :]
        return taken

    def _call(self, name: str, argument: Any) -> None:
        """Opcodes that name something, call it, or drop values."""
        if name == "POP" and self._stack:
            self._stack.pop()
        elif name in ("POP", "POP_MARK"):
            self._take(None)
        elif name == "DUP":
            self._push(self._stack[-1])
        elif name == "GLOBAL":
            self._push(self._global(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            self._push(self._global(*self._take(2)))
        elif name == "BINPERSID":
            self._push(self._stored(*self._take(1)))
        elif name == "INST":
            self._push(self._made(self._global(*argument.split(" ", 1)), self._take(None)))
        elif name == "OBJ":
            kind, *arguments = self._take(None)
            self._push(self._made(kind, arguments))
        elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            kind, arguments, *_ = self._take(3 if name == "NEWOBJ_EX" else 2)
            is_new = name != "REDUCE" and isinstance(kind, Kind)
            self._push(object.__new__(kind) if is_new else self._made(kind, arguments))
        else:
            raise ValueError(f"the opcode {name}, which no checkpoint has")

    def _global(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        if (module, name) not in self._named:
            if len(self._named) >= _MOST_NAMES:
                raise ValueError(f"more than {_MOST_NAMES:,} classes and functions")
            self._named[module, name] = self._find(module, name)
        return self._named[module, name]

    def _made(self, function: Any, arguments: Sequence[Any]) -> Any:
        if not isinstance(arguments, list | tuple):
            raise ValueError("arguments that are no tuple")
        self._room -= len(arguments) + sum(len(x) for x in arguments if isinstance(x, _SIZED))
        if self._room < 0:
            raise ValueError("it copies more than the file has")
        return function(*arguments)


def key(value: Any) -> Any:
    """The value, if its hash takes no longer than that of a tuple of some values.

    Raises:
        ValueError: it would, as that of tuples which hold the same tuple twice, and so on.
    """
    parts = [value]
    for part in parts:  # which grows
        if isinstance(part, tuple | frozenset):
            if len(parts) + len(part) > _MOST_PARTS:
                raise ValueError(f"a key of more than {_MOST_PARTS:,} parts")
            parts += part
        elif isinstance(part, int) and part.bit_length() > _MOST_BITS:
            raise ValueError(f"a key of more than {_MOST_BITS} bits")
    return value


def mapping(items: Sequence[Any]) -> dict[Any, Any]:
    """A dict of keys and values in turn."""
    return {key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target += items
    elif not isinstance(target, Placeholder):
        raise ValueError(f"values appended to a {type(target).__name__}")


def _update(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        target |= mapping(items)
    elif not isinstance(target, Placeholder):
        raise ValueError(f"entries of a {type(target).__name__}")


def _add(target: Any, items: list[Any]) -> None:
    if isinstance(target, set):
        target.update(map(key, items))
    elif not isinstance(target, Placeholder):
        raise ValueError(f"members of a {type(target).__name__}")


def _fill_in(target: Any, items: list[Any]) -> None:
    if isinstance(target, Placeholder):
        (target.state,) = items
    elif not isinstance(target, collections.OrderedDict):  # whose attributes nothing reads
        raise ValueError(f"attributes of a {type(target).__name__}")


# Opcodes whose argument is their value.
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
# How many values of the stack an opcode takes (None: all behind the mark), and what it makes of
# them, or does with the value that lies below.
_BUILT: dict[str, tuple[int | None, Callable[[list[Any]], Any]]] = {
    "NONE": (0, lambda _: None),
    "NEWTRUE": (0, lambda _: True),
    "NEWFALSE": (0, lambda _: False),
    "EMPTY_TUPLE": (0, tuple),
    "TUPLE": (None, tuple),
    "TUPLE1": (1, tuple),
    "TUPLE2": (2, tuple),
    "TUPLE3": (3, tuple),
    "EMPTY_LIST": (0, list),
    "LIST": (None, list),
    "EMPTY_DICT": (0, mapping),
    "DICT": (None, mapping),
    "EMPTY_SET": (0, set),
    "FROZENSET": (None, lambda items: frozenset(map(key, items))),
}
_FILLED: dict[str, tuple[int | None, Callable[[Any, list[Any]], None]]] = {
    "APPEND": (1, _extend),
    "APPENDS": (None, _extend),
    "SETITEM": (2, _update),
    "SETITEMS": (None, _update),
    "ADDITEMS": (None, _add),
    "BUILD": (1, _fill_in),
}
