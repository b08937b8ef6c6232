"""Where values of HLO come from and when they are last used; bodies of fusions without nesting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .effort import COPIED, PART
from .hlo_module import Computation, HloInstr, Module

FORWARDS = ("bitcast", "opt-barrier", "optimization-barrier", "domain", "add-dependency")
DEVICE = (0, 1)  # memory spaces that an assignment to fast memory chooses between
HOST = 5

# A tensor's index, or a tuple's parts; tokens are tuples without parts.
Value: TypeAlias = "int | list[Value]"
# A value, or a part of it: the instruction that makes it, and the path into its tuple.
Origin: TypeAlias = tuple[str, tuple[int, ...]]


def leaves(value: Value) -> Iterator[int]:
    """Yield the tensors of a value.

    Args:
        value: a tensor, or a tuple's parts.
    """
    if isinstance(value, list):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def parts(value: Value) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the path and the tensor of each part of a value.

    Args:
        value: a tensor, or a tuple's parts.
    """
    if isinstance(value, list):
        for number, part in enumerate(value):
            for path, tensor in parts(part):
                yield (number, *path), tensor
    else:
        yield (), value


def part_of(value: Value, path: tuple[int, ...]) -> Value | None:
    """Return a part of a value, None if there is none.

    Args:
        value: a tensor, or a tuple's parts.
        path: path into the tuple.
    """
    for step in path:
        if not isinstance(value, list) or not 0 <= step < len(value):
            return None
        value = value[step]
    return value


def forwards(computation: Computation, instr: HloInstr) -> bool:
    """Whether an instruction's result is its first operand under another name.

    Args:
        computation: the computation that the instruction is in.
        instr: the instruction.
    """
    if instr.opcode in FORWARDS:
        return bool(instr.operands)
    if instr.opcode != "copy-start" or instr.operands[0] not in computation.by_name:
        return False
    spaces = (computation.by_name[instr.operands[0]].shape.space, instr.shape.space)
    return spaces in ((0, 1), (1, 0))


def origin(computation: Computation, name: str, path: tuple[int, ...] = ()) -> Origin:
    """Return where a value comes from, through tuples, their elements and other names.

    Args:
        computation: the computation.
        name: name of the instruction whose result the value is.
        path: path into its tuple.
    """
    steps = 1
    while name in computation.by_name:
        instr = computation.by_name[name]
        steps += 1
        if forwards(computation, instr):
            name = instr.operands[0]
        elif instr.opcode == "get-tuple-element" and instr.operands:
            name, path = instr.operands[0], (instr.number("index", 0), *path)
        elif instr.opcode == "tuple" and path and path[0] < len(instr.operands):
            name, path = instr.operands[path[0]], path[1:]
        elif instr.opcode == "recv-done" and path == (0,):
            name = instr.operands[0]
        else:
            break
    computation.effort.spend(steps)
    return name, path


def origins(computation: Computation, name: str) -> Iterator[Origin]:
    """Yield where the parts of a value come from.

    Args:
        computation: the computation.
        name: name of the instruction whose result the value is.
    """
    found, path = origin(computation, name)
    instr = computation.by_name.get(found)
    if instr is not None and instr.opcode == "tuple" and not path:
        for operand in instr.operands:
            yield from origins(computation, operand)
    else:
        computation.effort.spend(PART)
        yield found, path


@dataclass(slots=True)
class Uses:
    """When the values of a computation are used.

    Attributes:
        computation: the computation.
        position: place of each instruction in the schedule, by name.
        last: uses by the instruction whose result is used: path into the result, position.
    """

    computation: Computation
    position: dict[str, int] = field(default_factory=dict)
    last: dict[str, list[tuple[tuple[int, ...], int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        computation = self.computation
        for at, instr in enumerate(computation.instrs):
            self.position[instr.name] = at
            if instr.opcode not in ("tuple", "get-tuple-element", "parameter") and not forwards(
                computation, instr
            ):
                for operand in instr.operands:
                    self._note(operand, at)
        self._note(computation.root, len(computation.instrs))

    def _note(self, operand: str, at: int) -> None:
        for name, path in origins(self.computation, operand):
            self.last.setdefault(name, []).append((path, at))

    def after(self, at: int, name: str, path: tuple[int, ...] = ()) -> bool:
        """Whether a value, or a part of it, is used after a place in the schedule.

        Args:
            at: position of an instruction; its own use does not count.
            name: name of the instruction whose result the value is.
            path: path into its tuple.
        """
        made, path = origin(self.computation, name, path)
        uses = self.last.get(made, ())
        self.computation.effort.spend(len(uses))
        return any(
            when > at and (other[: len(path)] == path or path[: len(other)] == other)
            for other, when in uses
        )


def flat_body(module: Module, name: str) -> Computation:
    """Return a computation with the bodies of its fusions and calls laid out in place.

    Args:
        module: the module.
        name: name of the computation.

    Raises:
        InstanceError: a computation is missing, or contains itself.
    """
    return _flat(module, module[name], ())


def _flat(module: Module, computation: Computation, around: tuple[str, ...]) -> Computation:
    if not any(instr.opcode in ("fusion", "call") for instr in computation.instrs):
        return computation
    if computation.name in around:
        computation.instrs[0].refuse(f"computation {computation.name!r} contains itself")
    flat = Computation(computation.name, module.effort, root=computation.root)
    for instr in computation.instrs:
        called = instr.computation("calls") or instr.computation("to_apply")
        if instr.opcode in ("fusion", "call") and called:
            inner = _flat(module, module[called], (*around, computation.name))
            module.effort.spend(COPIED * len(inner.instrs))
            flat.instrs += _placed(inner, instr)
            root = f"{instr.name}/{inner.root}"
            flat.instrs.append(replace(instr, opcode="bitcast", operands=(root,)))
        else:
            flat.instrs.append(instr)
    flat.by_name = {instr.name: instr for instr in flat.instrs}
    return flat


def _placed(inner: Computation, caller: HloInstr) -> Iterator[HloInstr]:
    """Yield a body's instructions under names of their own, with operands for parameters."""
    for instr in inner.instrs:
        name = f"{caller.name}/{instr.name}"
        if instr.opcode == "parameter":
            number = instr.parameter
            if number >= len(caller.operands):
                caller.refuse(f"has {len(caller.operands)} operands, its body more parameters")
            yield replace(instr, name=name, opcode="bitcast", operands=(caller.operands[number],))
        else:
            operands = tuple(f"{caller.name}/{operand}" for operand in instr.operands)
            yield replace(instr, name=name, operands=operands)
