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

_NAME = r"%?([\w.\-]+)"
_INSTRUCTION = re.compile(rf"^\s+(?:ROOT )?{_NAME} = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_COMPUTATION = re.compile(rf"^(ENTRY )?{_NAME} \(.*\{{$")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of HLO text; `kind` is its operation, `shape` that of its result."""

    name: str
    kind: str
    shape: str
    line: str

    @property
    def operands(self) -> list[str]:
        """Names of the instructions whose results it takes."""
        given = self.line.split(f" {self.kind}(", 1)[1].split(")", 1)[0]
        return re.findall(r"%([\w.\-]+)", given)

    @property
    def index(self) -> int:
        """Which part of a tuple a get-tuple-element takes; else -1."""
        found = re.search(r" get-tuple-element\(.*?\), index=(\d+)", self.line)
        return int(found[1]) if found else -1

    @property
    def constant(self) -> int | None:
        """The value of a whole constant; None for other instructions."""
        found = re.search(r" constant\((-?\d+)\)", self.line)
        return int(found[1]) if found and self.kind == "constant" else None

    def named(self, role: str) -> str:
        """The computation that it uses as its `role`, such as `body`; "" for none."""
        found = re.search(rf"\b{role}={_NAME}", self.line)
        return found[1] if found else ""


Computation = dict[str, Instruction]  # by name, in order; the last one is its result


def collective_bytes(text: str) -> dict[str, float]:
    """Bytes that one device sends in a run of the program, by kind of collective.

    Counted for rings of n devices, as XLA's own cost models do: all-reduce 2 (n - 1) / n of its
    operand, all-gather and reduce-scatter (n - 1) / n of the larger side, permutations all of it.
    A loop's body counts as often as it runs. What leaves a TPU slice counts once, to however many
    others it goes.
    """
    computations, first = _computations(text)
    total: dict[str, float] = {}
    todo = [(1, first)]
    while todo:
        times, name = todo.pop()
        here = computations.get(name, {})
        for kind, instruction in _collectives(here, computations):
            total[kind] = total.get(kind, 0.0) + times * _sent(kind, instruction)
        for instruction in here.values():
            if instruction.kind == "while":
                trips = _trips(instruction, here, computations)
                todo.append((times * trips, instruction.named("body")))
            elif instruction.kind in ("call", "conditional", "async-start"):
                called = rf"(?:to_apply|calls|\w+_computation)={_NAME}"
                todo += [(times, name) for name in re.findall(called, instruction.line)]
    return total


def entry(text: str) -> Computation:
    """The instructions that a program consists of, in the order in which they run."""
    computations, name = _computations(text)
    return computations[name]


def array_bytes(kind: str, axes: str) -> float:
    """Bytes of an array of a type such as `bf16`, its axes as in `8,160,1024`."""
    bits = re.search(r"\d+", kind)
    width = _BYTES.get(kind, int(bits[0]) / 8 if bits else 0)
    return width * math.prod(int(n) for n in axes.split(",") if n)


def _collectives(
    here: Computation, computations: dict[str, Computation]
) -> Iterator[tuple[str, Instruction]]:
    """(kind, instruction) of one computation's collectives, on their own or inside its fusions.

    libtpu lets one that runs beside other work appear in several fusions, all with its channel, and
    makes a reduce-scatter of an all-reduce whose fusion keeps one slice.
    """
    seen: set[str] = set()
    for instruction in here.values():
        name = instruction.named("calls") if instruction.kind == "fusion" else ""
        for part in (instruction, *computations.get(name, {}).values()):
            kind = part.kind.removesuffix("-start")
            if kind == "send" and _RUNTIME in part.line:
                kind = BETWEEN_SLICES
            elif part.kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                kind = "reduce-scatter"
            channel = re.search(r"\bchannel_id=(\d+)", part.line)
            if kind not in (*COLLECTIVES, BETWEEN_SLICES) or (channel and channel[1] in seen):
                continue
            seen |= {channel[1]} if channel else set()
            yield kind, part


def _sent(kind: str, instruction: Instruction) -> float:
    """Bytes that one device sends in a collective."""
    sizes = [array_bytes(kind, axes) for kind, axes in _ARRAY.findall(instruction.shape)]
    n = _group(instruction.line)
    share = (n - 1) / n
    if kind == BETWEEN_SLICES:
        return sizes[0]
    if instruction.kind.endswith("-start") and kind in ("all-gather", "collective-permute"):
        # The tuple holds the operand beside the result (and counters of a few bytes).
        size = max(sizes)
    else:
        size = sum(sizes)
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


def _trips(loop: Instruction, around: Computation, computations: dict[str, Computation]) -> int:
    """How often a `while` runs its body: said by the compiler (CPU, GPU), or counted (TPU).

    Counted is the part of the loop's tuple that its condition compares with a constant. Where the
    text hides it, it begins with 0, as in every loop of JAX's, and one turn adds 1.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.line)
    if known:
        return int(known[1])
    body, condition = (computations.get(loop.named(role), {}) for role in ("body", "condition"))
    counter = last = None
    for compare in condition.values():
        if compare.kind in ("compare", "fusion") and (counter is None or last is None):
            given = [condition[name] for name in compare.operands if name in condition]
            counter = next((i.index for i in given if i.index >= 0), None)
            last = next((i.constant for i in given if i.constant is not None), None)
    if counter is None or last is None:
        logging.warning("a loop of unknown length is counted once: %s", loop.named("body"))
        return 1

    def counted(where: Computation, name: str) -> Instruction | None:
        """What stands at the counter's place of a tuple."""
        whole = where.get(name)
        if not whole or whole.kind != "tuple" or counter >= len(whole.operands):
            return None
        return where.get(whole.operands[counter])

    first = _value(counted(around, loop.operands[0]), around) or 0
    add = counted(body, next(reversed(body), ""))
    steps = [_value(body.get(n), body) for n in add.operands] if add and add.kind == "add" else []
    step = next(filter(None, steps), 1)
    return max(math.ceil((last - first) / step), 0)


def _value(instruction: Instruction | None, where: Computation) -> int | None:
    """The constant that an instruction is, or copies."""
    while instruction and instruction.kind in ("copy", "bitcast"):
        instruction = where.get(instruction.operands[0])
    return instruction.constant if instruction else None


def _computations(text: str) -> tuple[dict[str, Computation], str]:
    """(the computations of a program by name, the name of the one that it begins with)."""
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
