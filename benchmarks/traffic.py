"""What a compiled step reads and writes, and what is alive in it at most, and for what; as JSON.

    python -m av_mae.tools.plan --config=... --topology=v5p:1 --text=step.txt
    python -m benchmarks.traffic --text=step.txt [--out=FILE]

Bytes are those of every instruction's operands and result, of layers stacked along the first axis
the one layer that it is about. The compiler's own count, which looks into fusions, is higher where
one reads an operand twice. Alive are the results in the device's large memory from the instruction
that makes them to the last one that takes them; arguments, which the state is updated in, aside.
"""

import collections
import json
import pathlib
import re

from absl import app, flags

from av_mae.config import command_line
from av_mae.planning import hlo

_TEXT = flags.DEFINE_string("text", None, "The compiled program.", required=True)
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")

# (what is found in an instruction's kind and the name of the operation that it is from, what it is
# for); the first one counts.
PURPOSES = (
    (r"^(copy|slice|async)-start", "copies to and from the chip's own memory, ahead of use"),
    (r"attention_backward", "attention kernels, backwards"),
    (r"attention\)", "attention kernels, forwards"),
    (r"jit\(step\)/(add|mul|sub|div|sqrt)$", "optimizer"),
    (r"jit\(step\)/reduce_sum$", "norm of the gradients"),
    (r"jit\(step\)/convert_element_type$", "kernels to the type and shape of products"),
    (r"split$", "layers taken from stacks"),
    (r"transpose.*concatenate$", "gradients joined"),
    (r"transpose.*dot_general$", "products, backwards"),
    (r"dot_general$", "products, forwards"),
    (r"gather|take", "gathers of masks"),
    (r"checkpoint|reduce|div$", "norms, activations and sums"),
    (r"^fusion $", "fusions without a name: layers' gradients put into stacks"),
)
_OTHER = "the rest"

# Instructions that move nothing: names for what exists, and ends of what was counted at its start.
_NAMES = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")
_WHOLE = ("optimizer", "kernels to the type and shape of products", "gradients joined")
_STACK_BYTES = 4e6

Array = tuple[str, int]  # an instruction and which part of its result

_ARRAY = re.compile(r"[a-z]+\d*\[[\d,]*\](?:\{[^}]*\})?")


def main(_: list[str]) -> None:
    program = hlo.entry(pathlib.Path(_TEXT.value).read_text())
    moved, (peak, alive) = traffic(program), most_alive(program)
    result = {
        "command": command_line.given("benchmarks.traffic"),
        "moved_gb": {k: round(v / 1e9, 3) for k, v in moved.most_common()},
        "moved_in_all_gb": round(sum(moved.values()) / 1e9, 3),
        "alive_at_most_gb": round(peak / 1e9, 3),
        "alive_gb": {k: round(v / 1e9, 3) for k, v in alive.most_common(30)},
    }
    text = json.dumps(result, indent=1)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text + "\n")
    print(text)


def traffic(program: hlo.Computation) -> collections.Counter[str]:
    """Bytes by purpose."""
    layers = _layers(program)
    total: collections.Counter[str] = collections.Counter()
    for instruction in program.values():
        if instruction.kind in _NAMES or instruction.kind.endswith("-done"):
            continue
        purpose = purpose_of(instruction)
        stacks = set() if purpose in _WHOLE else layers
        shapes = [instruction.shape]
        if not instruction.kind.endswith("-start"):  # whose result names its operand, too
            shapes += [program[name].shape for name in instruction.operands if name in program]
        arrays = [array for shape in shapes for array in _ARRAY.findall(shape)]
        total[purpose] += int(sum(_bytes(array, stacks) for array in arrays))
    return total


def most_alive(program: hlo.Computation) -> tuple[float, collections.Counter[str]]:
    """(bytes of the results that are alive at the peak, what they are, by shape and operation)."""
    made, last = _lifetimes(program)
    ends = collections.defaultdict(list)
    for array, index in last.items():
        ends[index].append(array)
    alive: dict[Array, str] = {}
    now = peak = 0.0
    at_peak: dict[Array, str] = {}
    for index, name in enumerate(program):
        for array, shape in made.get(name, {}).items():
            alive[array] = shape
            now += _bytes(shape, set())
        if now > peak:
            peak, at_peak = now, dict(alive)
        for array in ends[index]:
            now -= _bytes(alive.pop(array), set()) if array in alive else 0.0
    found: collections.Counter[str] = collections.Counter()
    for (name, _), shape in at_peak.items():
        label = f"{shape.partition('{')[0]} {purpose_of(program[name])}"
        found[label] += int(_bytes(shape, set()))
    return peak, found


def purpose_of(instruction: hlo.Instruction) -> str:
    """What an instruction is for, by the operation that the compiler made it from."""
    found = re.search(r'op_name="([^"]*)"', instruction.line)
    text = f"{instruction.kind} {found[1] if found else ''}"
    return next((purpose for pattern, purpose in PURPOSES if re.search(pattern, text)), _OTHER)


def _lifetimes(
    program: hlo.Computation,
) -> tuple[dict[str, dict[Array, str]], dict[Array, int]]:
    """Arrays in large memory by the instruction that makes them, and each one's last use.

    What leaves the program is written over its arguments, and so left out.
    """
    holds: dict[str, list[Array | None]] = {}
    made: dict[str, dict[Array, str]] = {}
    last: dict[Array, int] = {}
    for index, (name, instruction) in enumerate(program.items()):
        given = [holds.get(operand, []) for operand in instruction.operands]
        holds[name], made[name] = _result(instruction, given)
        last |= {array: index for arrays in (*given, list(made[name])) for array in arrays if array}
    leaving = set(holds[next(reversed(program))])
    kept = {n: {a: s for a, s in arrays.items() if a not in leaving} for n, arrays in made.items()}
    return kept, last


def _result(
    instruction: hlo.Instruction, given: list[list[Array | None]]
) -> tuple[list[Array | None], dict[Array, str]]:
    """(the arrays that a result consists of, those of them that are new and in large memory)."""
    first = given[0] if given else []
    if instruction.kind == "parameter":
        return [None], {}
    if instruction.kind == "tuple":
        return [arrays[0] if arrays else None for arrays in given], {}
    if instruction.kind == "get-tuple-element":
        return first[instruction.index : instruction.index + 1], {}
    if instruction.kind == "bitcast" or instruction.kind.endswith("-done"):
        return first[:1], {}
    new = {
        (instruction.name, part): shape
        for part, shape in enumerate(_ARRAY.findall(instruction.shape))
        if not re.search(r"S\([12]\)", shape)
        and not (instruction.kind == "copy-start" and part)  # its operand, and a counter
    }
    parts = range(len(_ARRAY.findall(instruction.shape)))
    return [(instruction.name, p) if (instruction.name, p) in new else None for p in parts], new


def _layers(program: hlo.Computation) -> set[str]:
    """First axes of the program's large arguments of three axes and more: numbers of layers."""
    found = set()
    for instruction in program.values():
        for array in _ARRAY.findall(instruction.shape) if instruction.kind == "parameter" else ():
            axes = _axes(array)
            if len(axes) >= 3 and array.startswith("f32") and _bytes(array, set()) > _STACK_BYTES:
                found.add(axes[0])
    return found


def _bytes(array: str, stacks: set[str]) -> float:
    """Size of an array, of a large one with the first axis of a stack that of a layer."""
    axes = _axes(array)
    size = hlo.array_bytes(array.partition("[")[0], ",".join(axes))
    stacked = size > _STACK_BYTES and len(axes) >= 3 and axes[0] in stacks
    return size / int(axes[0]) if stacked and array.startswith(("bf16", "f32")) else size


def _axes(array: str) -> list[str]:
    inside = array.partition("[")[2].partition("]")[0]
    return inside.split(",") if inside else []


if __name__ == "__main__":
    app.run(main)
