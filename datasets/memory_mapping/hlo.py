"""Read scheduled XLA HLO text into programs.

A fusion is one instruction; calls and the bodies of loops are inlined, a loop's with its trip
count; bitcasts, tuples and copies of an earlier memory-space assignment are not instructions. The
text also says which tensors share storage: donated arguments, loop state, in-place updates of
slices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .builder import Builder, Use
from .hardware import Hardware
from .hlo_cost import flops_of
from .hlo_text import Computation, HloInstr, Module, Shape, parse_module
from .instance import ARG, CONST, OUT, TMP, Program
from .settings import DEFAULT_CAPACITY

SLICES = ("dynamic-slice", "slice", "gather")
NO_WORK = ("after-all", "partition-id", "replica-id", "get-dimension-size", "domain")
SAME = ("bitcast", "opt-barrier", "optimization-barrier", "copy-start", "copy-done")


@dataclass(slots=True)
class _Started:
    """An asynchronous operation between its start and its done instruction.

    Attributes:
        instr: the start instruction.
        reads: its operands.
        flops: its floating-point operations.
    """

    instr: HloInstr
    reads: list[Use]
    flops: float


# A tensor's index, a tuple's parts, or an operation that has started and is not done.
Value: TypeAlias = "int | list[Value] | _Started"


def load_hlo(
    place: str, name: str, text: str, hardware: Hardware, capacity: str = DEFAULT_CAPACITY
) -> Program:
    """Make a program of a module's entry computation.

    FLOPs are counted for products, convolutions, reductions and elementwise operations; other
    instructions take no time to compute. A loop of unknown trip count counts once. Sizes are
    without padding.

    Args:
        place: the file, for error messages.
        name: name of the program.
        text: scheduled HLO text.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.

    Raises:
        InstanceError: malformed, cut off, unscheduled, a dynamic shape, or nothing to decide; names
            the file and the line.
        SettingError: the capacity cannot be read.
    """
    module = parse_module(place, text)
    lowering = _Lowering(module, Builder(hardware))
    arguments: dict[int, Value] = {}
    for instr in module.entry.instrs:
        if instr.opcode == "parameter":
            arguments[_number(instr)] = lowering.fresh(instr.name, instr.shape, ARG)
    ordered = [arguments[k] for k in sorted(arguments)]
    result = lowering.run(module.entry, ordered)
    builder = lowering.builder
    for tensor in _leaves(result):
        if builder.kinds[tensor] == TMP:
            builder.kinds[tensor] = OUT
    for output, argument in _donated(module, result, ordered):
        lowering.alias(output, argument)
    return builder.build(name, capacity)


def _number(instr: HloInstr) -> int:
    if not instr.operands or not instr.operands[0].isdecimal():
        instr.refuse("a parameter needs its number")
    return int(instr.operands[0])


def _leaves(value: Value) -> Iterator[int]:
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, int):
        yield value


def _donated(module: Module, result: Value, arguments: list[Value]) -> Iterator[tuple[int, int]]:
    """Yield outputs and the arguments whose storage they take (the header's input_output_alias)."""
    match = re.search(r"input_output_alias={(.*?)}(?:, [a-z_]+=|$)", module.header)
    for entry in re.finditer(r"{([\d, ]*)}:\s*\((\d+),\s*{([\d, ]*)}", match[1] if match else ""):
        output = _follow(result, entry[1])
        argument = _follow(arguments, f"{entry[2]},{entry[3]}")
        if isinstance(output, int) and isinstance(argument, int):
            yield output, argument


def _follow(value: Value, path: str) -> Value | None:
    for step in (int(n) for n in path.split(",") if n.strip()):
        if not isinstance(value, list) or step >= len(value):
            return None
        value = value[step]
    return value


class _Lowering:
    """Converts computations to one flat list of instructions.

    Attributes:
        module: the HLO module.
        builder: the program under construction.
    """

    def __init__(self, module: Module, builder: Builder) -> None:
        self.module = module
        self.builder = builder

    def fresh(self, name: str, shape: Shape, kind: int) -> Value:
        """Add new tensors of a shape.

        Args:
            name: name of the tensor; parts of a tuple append their index.
            shape: an array's shape, or a tuple's.
            kind: ARG, CONST, TMP or OUT.

        Returns:
            The tensor's index; for a tuple a list with a value for each part.
        """
        if shape.item:
            return self.builder.tensor(name, shape.bytes, kind)
        return [self.fresh(f"{name}.{k}", part, kind) for k, part in enumerate(shape.parts)]

    def alias(self, tensor: int, storage: int) -> None:
        """Let a tensor that the program makes share another's storage, if that is possible.

        Args:
            tensor: the tensor.
            storage: the tensor whose storage it takes.
        """
        builder = self.builder
        own, base = self._root(tensor), self._root(storage)
        made = builder.kinds[own] in (TMP, OUT)
        if own == base or not made or builder.kinds[base] == CONST:
            return
        if builder.sizes[own] <= builder.sizes[base]:
            builder.aliases[own] = base

    def _root(self, tensor: int) -> int:
        while self.builder.aliases[tensor] >= 0:
            tensor = self.builder.aliases[tensor]
        return tensor

    def run(self, computation: Computation, arguments: list[Value]) -> Value:
        """Emit a computation's instructions and return the value of its root.

        Args:
            computation: the computation.
            arguments: a value for each parameter.
        """
        values: dict[str, Value] = {}
        for instr in computation.instrs:
            if instr.opcode == "parameter":
                number = _number(instr)
                if number >= len(arguments):
                    instr.refuse(f"parameter {number} of {len(arguments)} operands")
                values[instr.name] = arguments[number]
            else:
                values[instr.name] = self._lower(computation, instr, values)
        return values[computation.root]

    def _lower(self, computation: Computation, instr: HloInstr, values: dict[str, Value]) -> Value:
        for operand in instr.operands:
            if operand not in values:
                instr.refuse(f"operand {operand!r} is not made before it; the text is no schedule")
        operands = [values[operand] for operand in instr.operands]
        opcode = instr.opcode
        if opcode == "constant":
            return self.fresh(instr.name, instr.shape, CONST)
        if opcode == "tuple":
            return operands
        if opcode == "get-tuple-element":
            return self._element(instr, operands)
        if opcode in SAME and len(operands) == 1:
            return operands[0]
        if opcode in NO_WORK:
            return self.fresh(instr.name, instr.shape, CONST)
        if opcode == "while":
            return self._loop(instr, operands)
        if opcode == "call":
            return self.run(self.module[instr.computation("to_apply")], operands)
        flops = flops_of(self.module, computation, instr)
        if opcode.endswith("-start"):
            reads = [Use(tensor) for value in operands for tensor in _leaves(value)]
            return _Started(instr, reads, flops)
        if opcode.endswith(("-done", "-update")) and isinstance(operands[0], _Started):
            started = operands[0]
            if opcode.endswith("-update"):
                return started
            result = self.fresh(instr.name, instr.shape, TMP)
            writes = list(_leaves(result))
            self.builder.instr(started.instr.name, started.reads, writes, started.flops)
            return result
        return self._emit(computation, instr, operands, flops)

    def _element(self, instr: HloInstr, operands: list[Value]) -> Value:
        match = re.search(r"\bindex=(\d+)", instr.attributes)
        value = operands[0]
        if isinstance(value, _Started):
            return value
        if match is None or not isinstance(value, list) or int(match[1]) >= len(value):
            instr.refuse("its index points to no part of its operand")
        return value[int(match[1])]

    def _loop(self, instr: HloInstr, operands: list[Value]) -> Value:
        """Emit a loop's body once, with the trip count; each part of the state keeps its buffer."""
        match = re.search(r'known_trip_count"?\s*[:=]\s*{"?n"?\s*:\s*"?(\d+)', instr.attributes)
        trips = max(1, int(match[1])) if match else 1
        first_new = len(self.builder.names)
        with self.builder.loop(trips):
            result = self.run(self.module[instr.computation("body")], operands)
        for new, old in zip(_leaves(result), _leaves(operands[0]), strict=False):
            if new >= first_new and self.builder.aliases[new] < 0:
                self.alias(new, old)
        return result

    def _emit(
        self,
        computation: Computation,
        instr: HloInstr,
        operands: list[Value],
        flops: float,
    ) -> Value:
        """Emit one instruction; of sliced operands only the part that is read or written counts."""
        result = self.fresh(instr.name, instr.shape, TMP)
        reads: list[Use] = []
        writes = [Use(tensor) for tensor in _leaves(result)]
        in_place, part = _updated(self.module, computation, instr)
        for k, value in enumerate(operands):
            amount = _read_bytes(self.module, instr, k)
            if k == in_place and isinstance(value, int) and isinstance(result, int):
                self.alias(result, value)
                if self._root(result) == self._root(value):
                    writes, amount = [Use(result, part)], 0
            reads += [Use(tensor, amount) for tensor in _leaves(value)]
        self.builder.instr(instr.name, reads, writes, flops)
        return result


def _body(module: Module, instr: HloInstr) -> Computation | None:
    name = instr.computation("calls") if instr.opcode == "fusion" else ""
    return module[name] if name else None


def _read_bytes(module: Module, instr: HloInstr, operand: int) -> int:
    """Return the bytes an instruction reads of an operand, -1 for all of it."""
    if instr.opcode in SLICES:
        return instr.shape.bytes if operand == 0 else -1
    body = _body(module, instr)
    if body is None:
        return -1
    parameter = next(
        (i for i in body.instrs if i.opcode == "parameter" and _number(i) == operand), None
    )
    if parameter is None:
        return -1
    users = [i for i in body.instrs if parameter.name in i.operands]
    if users and all(i.opcode in SLICES and i.operands[0] == parameter.name for i in users):
        return sum(i.shape.bytes for i in users)
    return -1


def _updated(module: Module, computation: Computation, instr: HloInstr) -> tuple[int, int]:
    """Return the operand that an instruction updates a slice of in place, and the slice's bytes.

    Returns:
        Index of the operand, -1 for none; bytes, 0 for none.
    """
    body = _body(module, instr)
    if body is None:
        if instr.opcode != "dynamic-update-slice":
            return -1, 0
        return 0, computation.by_name[instr.operands[1]].shape.bytes
    root = body.by_name[body.root]
    while root.opcode == "bitcast" and root.operands[0] in body.by_name:
        root = body.by_name[root.operands[0]]
    if root.opcode != "dynamic-update-slice":
        return -1, 0
    target = body.by_name[root.operands[0]]
    while target.opcode == "bitcast":
        target = body.by_name[target.operands[0]]
    if target.opcode != "parameter":
        return -1, 0
    return _number(target), body.by_name[root.operands[1]].shape.bytes
