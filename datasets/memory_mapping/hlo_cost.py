"""Count floating-point operations of HLO instructions from their shapes."""

from __future__ import annotations

import math
import re

from .hlo_text import Computation, HloInstr, Module

ELEMENTWISE = {
    "abs", "add", "and", "atan2", "cbrt", "ceil", "clamp", "compare", "cosine", "divide", "erf",
    "exponential", "exponential-minus-one", "floor", "is-finite", "log", "log-plus-one",
    "logistic", "maximum", "minimum", "multiply", "negate", "not", "or", "power", "remainder",
    "round-nearest-afz", "round-nearest-even", "rsqrt", "select", "shift-left",
    "shift-right-arithmetic", "shift-right-logical", "sign", "sine", "sqrt", "subtract", "tan",
    "tanh", "xor",
}  # fmt: skip


def computation_flops(module: Module, computation: Computation) -> float:
    """Return the floating-point operations of one execution of a computation.

    Args:
        module: the module, for computations that are called.
        computation: the computation.
    """
    return sum(flops_of(module, computation, instr) for instr in computation.instrs)


def flops_of(module: Module, computation: Computation, instr: HloInstr) -> float:
    """Return the floating-point operations of one execution of an instruction.

    A multiply-add counts as two, an element of elementwise work as one, a reduced element as one;
    data movement and unknown opcodes as 0.

    Args:
        module: the module, for computations that are called.
        computation: the computation that the instruction is in.
        instr: the instruction.

    Raises:
        InstanceError: an operand is missing, or dimension numbers do not fit the operands' shapes.
    """
    opcode = instr.opcode
    elements = float(instr.shape.elements)
    if opcode in ELEMENTWISE:
        return elements
    if opcode == "dot":
        return (
            2.0 * elements * _extent(computation, instr, 0, instr.numbers("lhs_contracting_dims"))
        )
    if opcode == "convolution":
        return 2.0 * elements * _taps(computation, instr)
    if opcode == "reduce":
        return float(_elements(computation, instr, 0))
    if opcode in ("reduce-window", "select-and-scatter"):
        match = re.search(r"window={size=([\dx]+)", instr.attributes)
        return elements * math.prod(int(n) for n in match[1].split("x")) if match else elements
    if opcode == "scatter":
        return float(_elements(computation, instr, len(instr.operands) - 1))
    if opcode == "custom-call":
        return _custom(computation, instr)
    if opcode in ("fusion", "async-start"):
        name = instr.computation("calls")
        return computation_flops(module, module[name]) if name else 0.0
    if opcode == "conditional":
        match = re.search(r"branch_computations={([^}]*)}", instr.attributes)
        names = [name.strip().lstrip("%") for name in match[1].split(",")] if match else []
        names += [instr.computation(key) for key in ("true_computation", "false_computation")]
        return max((computation_flops(module, module[n]) for n in names if n), default=0.0)
    return 0.0


def _dims(computation: Computation, instr: HloInstr, operand: int) -> tuple[int, ...]:
    if operand >= len(instr.operands) or instr.operands[operand] not in computation.by_name:
        instr.refuse(f"operand {operand} is missing or not made before it")
    return computation.by_name[instr.operands[operand]].shape.dims


def _elements(computation: Computation, instr: HloInstr, operand: int) -> int:
    return math.prod(_dims(computation, instr, operand))


def _extent(computation: Computation, instr: HloInstr, operand: int, axes: tuple[int, ...]) -> int:
    dims = _dims(computation, instr, operand)
    if any(axis >= len(dims) for axis in axes):
        instr.refuse(f"contracts dimension {max(axes)} of an operand with {len(dims)}")
    return math.prod(dims[axis] for axis in axes)


def _taps(computation: Computation, instr: HloInstr) -> int:
    """Return the multiply-adds per output element: kernel elements over output features."""
    dims = _dims(computation, instr, 1)
    match = re.search(r"dim_labels=\w+_(\w+)->", instr.attributes)
    if match is None or "o" not in match[1] or len(match[1]) != len(dims):
        instr.refuse("a convolution needs dim_labels that fit its kernel")
    return math.prod(dims) // max(1, dims[match[1].index("o")])


def _custom(computation: Computation, instr: HloInstr) -> float:
    """Return the FLOPs of a library's matrix product over the first operand's last axis."""
    match = re.search(r'custom_call_target="([^"]*)"', instr.attributes)
    target = match[1].lower() if match else ""
    if not re.search("matmul|gemm", target) or not instr.operands:
        return 0.0
    dims = _dims(computation, instr, 0)
    first = instr.shape if instr.shape.item else instr.shape.parts[0]
    return 2.0 * first.elements * (dims[-1] if dims else 1)
