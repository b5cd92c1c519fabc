"""What a compiled program moves, read from its text (XLA's HLO): collectives, loops included."""

import dataclasses
import math
import re
from collections.abc import Iterator

from absl import logging

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
)

# What libtpu hands to its runtime for the hosts' network, as its part of any collective.
BETWEEN_SLICES = "between slices"
_RUNTIME = "xla_megascale_runtime"

_SCATTERED = "all-reduce-scatter"  # an all-reduce of which every device keeps its slice

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
    def operands(self) -> list[str]:
        """Names of what it is given."""
        given = self.line.split(f" {self.kind}(", 1)[1].split(")", 1)[0]
        return re.findall(r"%([\w.\-]+)", given)

    @property
    def index(self) -> int:
        """Which part of a tuple a get-tuple-element takes; else -1."""
        found = re.search(r" get-tuple-element\(.*?\), index=(\d+)", self.line)
        return int(found[1]) if found else -1

    @property
    def bytes(self) -> float:
        """Size of its result; of a tuple, of all parts."""
        return sum(array_bytes(kind, axes) for kind, axes in _ARRAY.findall(self.shape))


Computation = dict[str, Instruction]  # by name, in order; the last one is its result


def collective_bytes(text: str) -> dict[str, float]:
    """Bytes that one device sends in a run of the program, by kind of collective.

    Counted for rings of n devices, as XLA's own cost models do: all-reduce 2 (n - 1) / n of its
    operand, all-gather and reduce-scatter (n - 1) / n of the larger side, permutations all of it.
    A loop's body counts as often as it runs. What leaves a TPU slice counts once, to however many
    others it goes.
    """
    total: dict[str, float] = {}
    for times, instruction in _run(text):
        kind = _collective(instruction)
        total[kind] = total.get(kind, 0.0) + times * _sent(kind, instruction)
    return total


def entry(text: str) -> Computation:
    """The instructions that a program consists of, in the order in which they run."""
    computations, name = _computations(text)
    return computations[name]


def _collective(instruction: Instruction) -> str:
    """Which collective an instruction is; "" for all others."""
    kind = instruction.kind.removesuffix("-start")
    if kind == "send" and _RUNTIME in instruction.line:
        return BETWEEN_SLICES
    return "reduce-scatter" if kind == _SCATTERED else kind if kind in COLLECTIVES else ""


def _sent(kind: str, instruction: Instruction) -> float:
    n = _group(instruction.line)
    size = instruction.bytes
    if kind == BETWEEN_SLICES:
        return array_bytes(*_ARRAY.findall(instruction.shape)[0])
    if instruction.kind.endswith("-start") and kind in ("all-gather", "collective-permute"):
        # The tuple holds the operand beside the result (and counters of a few bytes).
        sizes = [array_bytes(k, axes) for k, axes in _ARRAY.findall(instruction.shape)]
        size = max(sizes)
    share = (n - 1) / n
    if kind == "all-reduce":
        return 2 * share * size
    if instruction.kind == "reduce-scatter":
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
    """Every collective that runs, with the number of times that it does."""
    computations, entry = _computations(text)
    todo = [(1, entry)]
    while todo:
        times, name = todo.pop()
        here = computations.get(name, {})
        for collective in _collectives(here, computations):
            yield times, collective
        for instruction in here.values():
            if instruction.kind == "while":
                loop = _Loop(instruction, here, computations)
                todo.append((times * loop.trips(), loop.body_name))
            else:
                todo += [(times, called) for called in _called(instruction)]


def _collectives(here: Computation, computations: dict[str, Computation]) -> Iterator[Instruction]:
    """Those of one computation, on their own or inside its fusions.

    libtpu lets one that runs beside other work appear in several fusions, all with its channel, and
    makes a reduce-scatter of an all-reduce whose fusion keeps one slice.
    """
    seen: set[str] = set()
    for instruction in here.values():
        fused = re.search(r"\bcalls=%?([\w.\-]+)", instruction.line)
        name = fused[1] if fused and instruction.kind == "fusion" else ""
        for part in (instruction, *computations.get(name, {}).values()):
            channel = re.search(r"\bchannel_id=(\d+)", part.line)
            if not _collective(part) or (channel and channel[1] in seen):
                continue
            seen |= {channel[1]} if channel else set()
            scattered = part.kind == "all-reduce" and name.startswith(_SCATTERED)
            yield dataclasses.replace(part, kind=_SCATTERED) if scattered else part


def _called(instruction: Instruction) -> list[str]:
    """Computations that an instruction runs, fusions aside."""
    if instruction.kind not in ("call", "conditional", "async-start"):
        return []
    return re.findall(r"(?:to_apply|calls|\w+_computation)=%?([\w.\-]+)", instruction.line)


class _Loop:
    """A `while` that counts: some part of its tuple grows until it reaches a constant."""

    def __init__(
        self,
        instruction: Instruction,
        around: Computation,
        computations: dict[str, Computation],
    ):
        self._line, self._operands, self._around = instruction.line, instruction.operands, around
        self.body_name = self._named("body")
        self._body, self._condition = (
            computations.get(name, {}) for name in (self.body_name, self._named("condition"))
        )

    def trips(self) -> int:
        """How often the body runs: said by the compiler (CPU, GPU), or counted (TPU)."""
        known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', self._line)
        if known:
            return int(known[1])
        bound = self._bound()
        if bound is None:
            logging.warning("a loop of unknown length is counted once: %s", self.body_name)
            return 1
        counter, last = bound
        first, step = self._first(counter), self._step(counter)
        return max(math.ceil((last - first) / step), 0)

    def _named(self, role: str) -> str:
        found = re.search(rf"\b{role}=%?([\w.\-]+)", self._line)
        return found[1] if found else ""

    def _bound(self) -> tuple[int, int] | None:
        """(which part of the tuple counts, the value it stays below)."""
        for compare in self._condition.values():
            if compare.kind not in ("compare", "fusion"):
                continue
            given = [self._condition[name] for name in compare.operands if name in self._condition]
            counter = next((i.index for i in given if i.index >= 0), None)
            last = next((_constant(i) for i in given if _constant(i) is not None), None)
            if counter is not None and last is not None:
                return counter, last
        return None

    def _first(self, counter: int) -> int:
        """What the counter begins with; 0, as every loop of JAX's, where the text hides it."""
        return _value(self._part(self._around, self._operands[0], counter), self._around) or 0

    def _step(self, counter: int) -> int:
        """What one turn adds; 1 where the text hides it."""
        root = next(reversed(self._body), "")
        add = self._part(self._body, root, counter)
        if not add or add.kind != "add":
            return 1
        steps = [_value(self._body.get(name), self._body) for name in add.operands]
        return next((step for step in steps if step), 1)

    @staticmethod
    def _part(where: Computation, name: str, number: int) -> Instruction | None:
        whole = where.get(name)
        if not whole or whole.kind != "tuple" or number >= len(whole.operands):
            return None
        return where.get(whole.operands[number])


def _value(instruction: Instruction | None, where: Computation) -> int | None:
    """The constant that an instruction is, or copies."""
    while instruction and instruction.kind in ("copy", "bitcast"):
        instruction = where.get(instruction.operands[0])
    return _constant(instruction) if instruction else None


def _constant(instruction: Instruction) -> int | None:
    found = re.search(r" constant\((-?\d+)\)", instruction.line)
    return int(found[1]) if found and instruction.kind == "constant" else None


def _computations(text: str) -> tuple[dict[str, Computation], str]:
    found: dict[str, Computation] = {}
    entry, current = "", ""
    for line in text.splitlines():
        head = _COMPUTATION.match(line)
        if head:
            current = head[2]
            found[current] = {}
            entry = current if head[1] else entry
            continue
        match = _INSTRUCTION.match(line)
        if match and current:
            name, shape, kind, _ = match.groups()
            found[current][name] = Instruction(name, kind, shape, line)
    return found, entry


def array_bytes(kind: str, axes: str) -> float:
    """Bytes of an array of a type such as `bf16`, its axes as in `8,160,1024`."""
    bits = re.search(r"\d+", kind)
    width = _BYTES.get(kind, int(bits[0]) / 8 if bits else 0)
    return width * math.prod(int(n) for n in axes.split(",") if n)
