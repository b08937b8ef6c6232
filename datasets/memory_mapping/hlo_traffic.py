"""What an HLO instruction reads and writes, and what it updates in place.

A fusion computes only what its results need, so a slice of a parameter, at any depth and behind
elementwise work, reads the part that it takes; `dynamic-update-slice` and `scatter` write the part
that they change, if the result takes the operand's storage.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from .hlo_cost import ELEMENTWISE
from .hlo_module import Computation, HloInstr, Module, integer
from .hlo_text import closing
from .hlo_values import Origin, flat_body, forwards, origin, origins

SPARSE = ("slice", "dynamic-slice", "gather", "dynamic-update-slice", "scatter")
UPDATES = ("dynamic-update-slice", "scatter")
PROPORTIONAL = {
    "bitcast", "bitcast-convert", "concatenate", "broadcast", "copy", "pad", "reduce", "reshape",
    "reverse", "transpose", *ELEMENTWISE,
}  # fmt: skip
LIBRARIES = re.compile(r"__(cublas|cudnn|onednn)\$|\$cublas|__cub\$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InPlace:
    """A result, or a part of it, that takes the storage of an operand, or of a part of that.

    Attributes:
        output: path into the result's tuple.
        operand: number of the operand.
        path: path into the operand's tuple.
        nodes: names of the updates in the body, from the last to the first; () if unknown.
    """

    output: tuple[int, ...]
    operand: int
    path: tuple[int, ...]
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that one execution of an instruction moves.

    Attributes:
        reads: by operand; -1 for the whole operand.
        writes: by path of each array in the result.
        scratch: arrays in the result that are only workspace: no traffic.
    """

    reads: tuple[int, ...]
    writes: dict[tuple[int, ...], int]
    scratch: tuple[tuple[int, ...], ...] = ()


def body_of(module: Module, computation: Computation, instr: HloInstr) -> Computation | None:
    """Return what an instruction computes as a computation without nesting.

    Args:
        module: the module.
        computation: the computation that the instruction is in.
        instr: the instruction.

    Returns:
        The body of a fusion; a body of one instruction for one that reads or writes parts of
        operands; None for others.
    """
    if instr.opcode == "fusion":
        called = instr.computation("calls")
        return flat_body(module, called) if called else None
    if instr.opcode not in SPARSE:
        return None
    body = Computation(instr.name, module.effort, root=instr.name)
    names = tuple(f"{number} of {instr.name}" for number in range(len(instr.operands)))
    for number, (name, operand) in enumerate(zip(names, instr.operands, strict=True)):
        shape = computation.by_name[operand].shape
        body.instrs.append(HloInstr(instr.place, name, shape, "parameter", (str(number),), ""))
    body.instrs.append(replace(instr, operands=names))
    body.by_name = {inner.name: inner for inner in body.instrs}
    return body


def in_place(module: Module, computation: Computation, instr: HloInstr) -> list[InPlace]:
    """Return an instruction's results that take an operand's storage, if nothing needs it later.

    Args:
        module: the module.
        computation: the computation that the instruction is in.
        instr: the instruction.
    """
    found = {pair.output: pair for pair in _stated(instr)}
    if instr.opcode == "all-reduce-start":
        single = len(instr.operands) == 1
        pairs = [InPlace(() if single else (k,), k, ()) for k in range(len(instr.operands))]
        found |= {pair.output: pair for pair in pairs}
    body = body_of(module, computation, instr)
    if body is not None:
        for path, _ in instr.shape.leaves():
            pair = _updated(body, path)
            if pair is not None:
                found[path] = pair
    return list(found.values())


def _stated(instr: HloInstr) -> list[InPlace]:
    """Return the pairs of an attribute such as output_to_operand_aliasing={{0}: (1, {})}."""
    _, found, text = instr.attributes.partition("output_to_operand_aliasing={")
    text = text[: closing(text)] if found else ""
    pairs = re.findall(r"{([\d, ]*)}:\s*\((\d+),\s*{([\d, ]*)}", text)
    return [InPlace(_path(output), integer(at), _path(path)) for output, at, path in pairs]


def _path(text: str) -> tuple[int, ...]:
    return tuple(integer(number.strip()) for number in text.split(",") if number.strip())


def _updated(body: Computation, output: tuple[int, ...]) -> InPlace | None:
    """Follow a result of a body through its updates to the parameter that they change."""
    name, path = origin(body, body.root, output)
    nodes: list[str] = []
    while name in body.by_name:
        instr = body.by_name[name]
        if instr.opcode == "parameter" and nodes:
            return InPlace(output, instr.parameter, path, tuple(nodes))
        if instr.opcode == "scatter" and len(instr.operands) >= 3:
            nodes.append(name)
            name, path = origin(body, instr.operands[path[0] if path else 0])
        elif instr.opcode == "dynamic-update-slice" and len(instr.operands) >= 2:
            nodes.append(name)
            name, path = origin(body, instr.operands[0])
        elif instr.opcode == "reshape":
            name, path = origin(body, instr.operands[0])
        else:
            return None
    return None


def traffic_of(
    module: Module, computation: Computation, instr: HloInstr, shared: Collection[InPlace]
) -> Traffic:
    """Return what one execution of an instruction reads and writes.

    Args:
        module: the module.
        computation: the computation that the instruction is in.
        instr: the instruction.
        shared: the results of `in_place` that do take their operand's storage.
    """
    writes = {path: shape.bytes for path, shape in instr.shape.leaves()}
    body = body_of(module, computation, instr)
    if body is None:
        return Traffic((-1,) * len(instr.operands), writes, tuple(_workspace(instr)))
    needs = _Needs(module, body)
    updated = {pair.output: pair for pair in shared if pair.nodes}
    scratch = []
    for output in writes:
        name, path = origin(body, body.root, output)
        if output in updated:
            writes[output] = min(writes[output], needs.update(updated[output]))
        elif name in body.by_name and path in _workspace(body.by_name[name]):
            scratch.append(output)
        else:
            needs.add(name, path)
    needs.propagate()
    reads = [-1] * len(instr.operands)
    for inner in body.instrs:
        if inner.opcode == "parameter" and inner.shape.item and inner.parameter < len(reads):
            wanted = needs.wanted.get((inner.name, ()), 0)
            reads[inner.parameter] = inner.shape.bytes_of(wanted)
    return Traffic(tuple(reads), writes, tuple(scratch))


def _workspace(instr: HloInstr) -> list[tuple[int, ...]]:
    """Return which results of a library are workspace: vectors of bytes after the first."""
    if not LIBRARIES.search(instr.target):
        return []
    leaves = list(instr.shape.leaves())[1:]
    return [path for path, shape in leaves if shape.item in ("s8", "u8") and len(shape.dims) == 1]


class _Needs:
    """How many elements of each value of a body are needed; at most all, where uses may overlap.

    Attributes:
        module: the module.
        body: the body, without nesting.
        wanted: elements by value.
    """

    def __init__(self, module: Module, body: Computation) -> None:
        self.module = module
        self.body = body
        self.wanted: dict[Origin, int] = {}

    def add(self, name: str, path: tuple[int, ...] = (), elements: int | None = None) -> None:
        """Need some elements of a value more.

        Args:
            name: name of the instruction that makes it.
            path: path into its result.
            elements: how many; None for all.
        """
        instr = self.body.by_name.get(name)
        if instr is None:
            return
        self.module.effort.spend(instr.shape.width)
        size = dict(instr.shape.leaves()).get(path, instr.shape).elements
        more = size if elements is None else elements
        self.wanted[name, path] = min(size, self.wanted.get((name, path), 0) + more)

    def operand(self, instr: HloInstr, number: int, elements: int | None = None) -> None:
        """Need some elements of an operand more.

        Args:
            instr: an instruction of the body.
            number: which of its operands.
            elements: how many; None for all.
        """
        size = self.size(instr, number)
        for name, path in origins(self.body, instr.operands[number]):
            made = self.body.by_name.get(name)
            if elements is None or made is None:
                self.add(name, path)
            else:  # another name may have elements of another type, so of another number
                leaf = dict(made.shape.leaves()).get(path, made.shape)
                self.add(name, path, -(-elements * leaf.elements // max(1, size)))

    def size(self, instr: HloInstr, number: int) -> int:
        """Return the number of elements of an operand.

        Args:
            instr: an instruction of the body.
            number: which of its operands.
        """
        made = self.body.by_name.get(instr.operands[number])
        return made.shape.elements if made else 0

    def update(self, pair: InPlace) -> int:
        """Need what updates in place need.

        Args:
            pair: the updates.

        Returns:
            Bytes that they write.
        """
        written = 0
        for name in pair.nodes:
            instr = self.body.by_name[name]
            for number in range(1, len(instr.operands)):
                self.operand(instr, number)
            if instr.opcode == "dynamic-update-slice":
                changed = self.size(instr, 1)
            else:
                arrays = (len(instr.operands) - 1) // 2
                place = pair.output[-1] if arrays > 1 and pair.output else 0
                changed = self.size(instr, arrays + 1 + min(place, arrays - 1))
                if self._combines(instr):
                    self.operand(instr, min(place, arrays - 1), changed)
            shape = instr.shape if instr.shape.item else instr.shape.parts[0]
            written += shape.bytes_of(changed)
        return written

    def _combines(self, scatter: HloInstr) -> bool:
        """Whether a scatter needs the old values: it does not only put new ones in their place."""
        combiner = self.module[scatter.computation("to_apply")]
        root = combiner.by_name[combiner.root]
        arrays = (len(scatter.operands) - 1) // 2
        return not (root.opcode == "parameter" and root.parameter >= arrays)

    def propagate(self) -> None:
        """From what results need, find what all values of the body are needed for them."""
        for instr in reversed(self.body.instrs):
            needed = [
                (path, self.wanted[instr.name, path])
                for path in [(), *(p for p, _ in instr.shape.leaves())]
                if (instr.name, path) in self.wanted
            ]
            if needed and instr.opcode != "parameter" and not forwards(self.body, instr):
                self._pass_on(instr, max(elements for _, elements in needed))

    def _pass_on(self, instr: HloInstr, elements: int) -> None:
        opcode, operands = instr.opcode, range(len(instr.operands))
        whole = instr.shape.elements if instr.shape.item else instr.shape.parts[0].elements
        if opcode in PROPORTIONAL and opcode not in ("concatenate", "broadcast", "pad"):
            for number in operands:
                share = -(-elements * self.size(instr, number) // max(1, whole))
                self.operand(instr, number, share)
        elif opcode in PROPORTIONAL:
            for number in operands:
                self.operand(instr, number, elements)
        elif opcode in ("slice", "dynamic-slice", "gather"):
            self.operand(instr, 0, elements)
            for number in operands[1:]:
                self.operand(instr, number)
        elif opcode == "dynamic-update-slice":
            changed = self.size(instr, 1)
            self.operand(instr, 0, elements - changed if elements == whole else elements)
            self.operand(instr, 1, min(changed, elements))
            for number in operands[2:]:
                self.operand(instr, number)
        elif opcode == "scatter":
            arrays = (len(instr.operands) - 1) // 2
            for number in operands:
                self.operand(instr, number, elements if number < arrays else None)
        else:
            for number in operands:
                self.operand(instr, number)
