"""Rewrite asynchronous HLO so that each operation stands once, where it is done.

A start, its updates and its done instruction become one instruction of the operation itself, with
the done instruction's name and place in the schedule. `copy-start` and `all-reduce-start` stay the
opcodes of what is special about them: a copy that only moves data between memories, and a sum that
takes the place of its operand.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .hlo_module import Computation, HloInstr, Module

TWO_SIDED = ("send", "recv")  # their own instruction has the buffer; its done is no start's done
KEPT = ("copy-start", "all-reduce-start")


def without_starts(module: Module) -> None:
    """Rewrite a module's computations in place.

    Args:
        module: the module as parsed.

    Raises:
        InstanceError: a start without a done instruction in its computation, or the reverse.
    """
    for computation in module.computations.values():
        if any(instr.opcode.endswith(("-start", "-done")) for instr in computation.instrs):
            _join(module, computation)


def _join(module: Module, computation: Computation) -> None:
    starts = {i.name for i in computation.instrs if i.opcode.endswith("-start")}
    started: dict[str, HloInstr] = {}  # a start, update or element of one -> the start
    instrs: list[HloInstr] = []
    sliced: set[str] = set()  # slices that are taken asynchronously
    for instr in computation.instrs:
        if instr.name in starts:
            started[instr.name] = instr
            continue
        source = started.get(instr.operands[0]) if instr.operands else None
        if source is None:
            kind = instr.opcode.removesuffix("-done")
            if kind != instr.opcode and kind not in TWO_SIDED:
                instr.refuse("its start is not in its computation; the dump is incomplete")
            instrs.append(instr)
        elif instr.opcode.endswith("-done"):
            starts.discard(source.name)
            joined = _operation(module, source, instr)
            if joined.opcode == "slice":
                sliced.add(joined.name)
            instrs.append(joined)
        elif instr.opcode.endswith("-update") or instr.opcode == "get-tuple-element":
            started[instr.name] = source
        else:
            instr.refuse(f"takes %{source.name} before it is done")
    for name in starts:
        started[name].refuse("no instruction of its computation says that it is done")
    computation.instrs = instrs
    computation.by_name = {instr.name: instr for instr in instrs}
    if sliced:
        _join_slices(computation, sliced)


def _operation(module: Module, start: HloInstr, done: HloInstr) -> HloInstr:
    """Return the operation of a start as an instruction with the name and shape of its done."""
    opcode = start.opcode if start.opcode in KEPT else start.opcode.removesuffix("-start")
    joined = replace(start, name=done.name, shape=done.shape, opcode=opcode)
    if opcode != "async":
        return joined
    body = module[start.computation("calls")]
    numbers = {i.name: i.parameter for i in body.instrs if i.opcode == "parameter"}
    root = body.by_name[body.root]
    if len(body.instrs) != len(numbers) + 1 or not all(o in numbers for o in root.operands):
        return replace(joined, opcode="call")
    at = [numbers[operand] for operand in root.operands]
    if any(number >= len(start.operands) for number in at):
        start.refuse(f"{len(start.operands)} operands for a computation of more parameters")
    operands = tuple(start.operands[number] for number in at)
    return replace(joined, opcode=root.opcode, operands=operands, attributes=root.attributes)


def _join_slices(computation: Computation, sliced: set[str]) -> None:
    """Turn a prefetch in slices (all slices of an array, joined again) into the array itself."""
    by_name = computation.by_name

    def source(name: str) -> HloInstr:
        instr = by_name[name]
        return source(instr.operands[0]) if instr.opcode == "bitcast" else instr

    dropped: set[str] = set()
    for at, instr in enumerate(computation.instrs):
        if instr.target != "ConcatBitcast" or not all(o in by_name for o in instr.operands):
            continue
        parts = [source(operand) for operand in instr.operands]
        whole = {part.operands[0] for part in parts if part.name in sliced}
        elements = sum(part.shape.elements for part in parts)
        if len(whole) != 1 or not all(part.name in sliced for part in parts):
            continue
        if elements == math.prod(by_name[min(whole)].shape.dims):
            computation.instrs[at] = replace(instr, opcode="bitcast", operands=(min(whole),))
            dropped |= {part.name for part in parts} | set(instr.operands)
    used = {operand for instr in computation.instrs for operand in instr.operands}
    computation.instrs = [i for i in computation.instrs if i.name not in dropped or i.name in used]
    computation.by_name = {instr.name: instr for instr in computation.instrs}
