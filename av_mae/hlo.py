"""What a compiled program moves, read from its text (XLA's HLO): collectives, loops included."""

import dataclasses
import math
import re
from collections.abc import Iterator

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
)

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2}


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    kind: str
    shape: str
    line: str

    @property
    def bytes(self) -> float:
        """Size of its result; of a tuple, of all parts."""
        return sum(_size(kind, axes) for kind, axes in _ARRAY.findall(self.shape))


def collective_bytes(text: str) -> dict[str, float]:
    """Bytes that one device sends in a run of the program, by kind of collective.

    Counted for rings of n devices, as XLA's own cost models do: all-reduce 2 (n - 1) / n of its
    operand, all-gather and reduce-scatter (n - 1) / n of the larger side, permutations all of it.
    A loop's body counts as often as it runs.
    """
    total: dict[str, float] = {}
    for times, instruction in _run(text):
        kind = instruction.kind.removesuffix("-start")
        if kind in COLLECTIVES:
            total[kind] = total.get(kind, 0.0) + times * _sent(kind, instruction)
    return total


def _sent(kind: str, instruction: Instruction) -> float:
    n = _group(instruction.line)
    size = instruction.bytes
    if instruction.kind.endswith("-start") and kind in ("all-gather", "collective-permute"):
        # The tuple holds the operand beside the result (and counters of a few bytes).
        sizes = [_size(k, axes) for k, axes in _ARRAY.findall(instruction.shape)]
        size = max(sizes)
    share = (n - 1) / n
    if kind == "all-reduce":
        return 2 * share * size
    if kind == "reduce-scatter":
        return (n - 1) * size
    return size if kind == "collective-permute" else share * size


def _group(line: str) -> int:
    """Number of devices that take part together, in any of the three ways it is written."""
    mesh = re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{([^}]*)\}", line)
    if mesh:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part or sizes[name]) for name, part in axes)
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", line)
    if listed:
        return len(listed[1].split(","))
    tiled = re.search(r"replica_groups=\[(\d+),(\d+)\]", line)
    return int(tiled[2]) if tiled else 2


def _run(text: str) -> Iterator[tuple[int, Instruction]]:
    """Every instruction that runs, with the number of times that it does."""
    computations, entry = _computations(text)
    todo = [(1, entry)]
    while todo:
        times, name = todo.pop()
        for instruction in computations.get(name, ()):
            yield times, instruction
            todo += [(times * n, called) for n, called in _called(instruction)]


def _called(instruction: Instruction) -> Iterator[tuple[int, str]]:
    """Computations that an instruction runs; the insides of a fusion move nothing themselves."""
    if instruction.kind == "while":
        count = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', instruction.line)
        body = re.search(r"body=%?([\w.\-]+)", instruction.line)
        if body:
            yield int(count[1]) if count else 1, body[1]
    elif instruction.kind in ("call", "conditional", "async-start"):
        called = r"(?:to_apply|calls|\w+_computation)=%?([\w.\-]+)"
        for name in re.findall(called, instruction.line):
            yield 1, name


def _computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    found: dict[str, list[Instruction]] = {}
    entry, current = "", ""
    for line in text.splitlines():
        head = _COMPUTATION.match(line)
        if head:
            current = head[2]
            found[current] = []
            entry = current if head[1] else entry
            continue
        match = _INSTRUCTION.match(line)
        if match and current:
            name, shape, kind, _ = match.groups()
            found[current].append(Instruction(name, kind, shape, line))
    return found, entry


def _size(kind: str, axes: str) -> float:
    bits = re.search(r"\d+", kind)
    width = _BYTES.get(kind, int(bits[0]) / 8 if bits else 0)
    return width * math.prod(int(n) for n in axes.split(",") if n)
