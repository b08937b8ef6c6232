"""Count floating-point operations of HLO instructions from their shapes, as XLA does.

A multiply-add counts as two, an element of elementwise work (also of integers, and transcendental
functions) as one. What a library computes for XLA is in hlo_library.py.
"""

from __future__ import annotations

import math

from .effort import COPIED
from .hlo_library import library_flops
from .hlo_module import Computation, HloInstr, Module
from .hlo_window import convolution_macs, window_of

ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan2", "atanh", "bitcast-convert",
    "cbrt", "ceil", "clamp", "compare", "complex", "convert", "cosh", "cosine",
    "count-leading-zeros", "divide", "erf", "exponential", "exponential-minus-one", "floor",
    "imag", "is-finite", "log", "log-plus-one", "logistic", "maximum", "minimum", "multiply",
    "negate", "not", "or", "popcnt", "power", "real", "reduce-precision", "remainder",
    "round-nearest-afz", "round-nearest-even", "rsqrt", "select", "shift-left",
    "shift-right-arithmetic", "shift-right-logical", "sign", "sine", "sinh", "sqrt",
    "stochastic-convert", "subtract", "tan", "tanh", "xor",
}  # fmt: skip
SUMS = ("all-reduce", "all-reduce-start", "reduce-scatter")
NORMALIZATIONS = ("batch-norm-training", "batch-norm-inference", "batch-norm-grad")

MOVES = (
    "all-gather", "all-to-all", "broadcast", "collective-broadcast", "collective-permute",
    "concatenate", "copy", "copy-start", "dynamic-slice", "dynamic-update-slice", "gather",
    "infeed", "iota", "outfeed", "pad", "ragged-all-to-all", "recv", "reshape", "reverse",
    "rng-get-and-update-state", "send", "slice", "transpose",
)  # fmt: skip
COUNTED = (
    "call", "cholesky", "convolution", "custom-call", "dot", "fft", "fusion", "map", "ragged-dot",
    "reduce", "reduce-window", "rng", "rng-bit-generator", "scaled-dot", "scatter",
    "select-and-scatter", "sort", "topk", "triangular-solve",
)  # fmt: skip
KNOWN = {*ELEMENTWISE, *MOVES, *COUNTED, *SUMS, *NORMALIZATIONS}


def computation_flops(module: Module, computation: Computation) -> float:
    """Return the floating-point operations of one execution of a computation.

    Args:
        module: the module, for computations that are called.
        computation: the computation.
    """
    module.effort.spend(COPIED * len(computation.instrs))
    return sum(flops_of(module, computation, instr) for instr in computation.instrs)


def flops_of(module: Module, computation: Computation, instr: HloInstr) -> float:
    """Return the floating-point operations of one execution of an instruction.

    Data movement counts as 0, and so do loops and branches, whose bodies are counted where they
    run.

    Args:
        module: the module, for computations that are called.
        computation: the computation that the instruction is in.
        instr: the instruction.

    Raises:
        InstanceError: an operand is missing, or numbers do not fit the operands' shapes.
    """
    opcode = instr.opcode
    first = instr.shape if instr.shape.item or not instr.shape.parts else instr.shape.parts[0]
    elements = float(first.elements)
    if opcode in ELEMENTWISE:
        return elements
    if opcode in ("dot", "scaled-dot", "ragged-dot"):
        return 2.0 * elements * _contracted(computation, instr)
    if opcode == "convolution":
        operands = (_dims(computation, instr, 0), _dims(computation, instr, 1))
        return 2.0 * convolution_macs(instr, operands[0], operands[1])
    if opcode == "reduce":
        reduced = _elements(computation, instr, 0) - elements
        return reduced * _applied(module, instr)
    if opcode in ("reduce-window", "select-and-scatter"):
        return _windows(module, computation, instr, elements)
    if opcode == "scatter":
        updates = _elements(computation, instr, len(instr.operands) - 1)
        return updates * _applied(module, instr)
    if opcode == "map":
        return elements * _applied(module, instr)
    if opcode in SUMS:
        return float(instr.shape.elements)
    if opcode in NORMALIZATIONS:
        return 8.0 * elements
    if opcode == "sort":
        along = _axis_extent(computation, instr)
        return elements * math.ceil(math.log2(max(2, along)))
    if opcode in ("topk", "rng", "rng-bit-generator"):
        biggest = max((shape.elements for _, shape in instr.shape.leaves()), default=0)
        return float(_elements(computation, instr, 0) if opcode == "topk" else biggest)
    if opcode == "cholesky":
        return elements * _dims(computation, instr, 0)[-1] / 3
    if opcode == "triangular-solve":
        return elements * _dims(computation, instr, 0)[-1]
    if opcode == "fft":
        points = math.prod(instr.numbers("fft_length"))
        largest = max(elements, float(_elements(computation, instr, 0)))
        real = 0.5 if "RFFT" in instr.attributes else 1.0
        return 5.0 * real * largest * math.log2(max(2, points))
    if opcode == "custom-call":
        return library_flops(instr, [shape_dims(computation, o) for o in instr.operands])
    if opcode in ("fusion", "call"):
        name = instr.computation("calls") or instr.computation("to_apply")
        return computation_flops(module, module[name]) if name else 0.0
    return 0.0


def shape_dims(computation: Computation, name: str) -> tuple[int, ...]:
    """Return the sizes of an instruction's result; () for a tuple.

    Args:
        computation: the computation.
        name: name of the instruction.
    """
    made = computation.by_name.get(name)
    return made.shape.dims if made else ()


def _dims(computation: Computation, instr: HloInstr, operand: int) -> tuple[int, ...]:
    if operand >= len(instr.operands) or instr.operands[operand] not in computation.by_name:
        instr.refuse(f"operand {operand} is missing or not made before it")
    return computation.by_name[instr.operands[operand]].shape.dims


def _elements(computation: Computation, instr: HloInstr, operand: int) -> int:
    return math.prod(_dims(computation, instr, operand))


def _applied(module: Module, instr: HloInstr) -> float:
    """Return the FLOPs of one application of an instruction's function, 1 if it names none."""
    name = instr.computation("to_apply")
    return computation_flops(module, module[name]) if name else 1.0


def _contracted(computation: Computation, instr: HloInstr) -> float:
    """Return the multiply-adds per element of a product."""
    dims = _dims(computation, instr, 0)
    axes = instr.numbers("lhs_contracting_dims")
    if any(axis >= len(dims) for axis in axes):
        instr.refuse(f"contracts dimension {max(axes)} of an operand with {len(dims)}")
    count = math.prod(dims[axis] for axis in axes)
    if set(instr.numbers("lhs_ragged_dims")) & set(axes):  # each group contracts its part
        return count / max(1, instr.shape.dims[0])
    return float(count)


def _axis_extent(computation: Computation, instr: HloInstr) -> int:
    dims, axes = _dims(computation, instr, 0), instr.numbers("dimensions")
    axis = axes[0] if axes else len(dims) - 1
    return dims[axis] if 0 <= axis < len(dims) else 1


def _windows(module: Module, computation: Computation, instr: HloInstr, elements: float) -> float:
    """Return the FLOPs of a reduction over windows: one less than the window's size at each."""
    dims = _dims(computation, instr, 0)
    size = math.prod(window_of(instr, len(dims)).size)
    if instr.opcode == "select-and-scatter":
        windows = float(_elements(computation, instr, 1))
        select = computation_flops(module, module[instr.computation("select")])
        scatter = computation_flops(module, module[instr.computation("scatter")])
        return windows * ((size - 1) * select + scatter)
    return elements * (size - 1) * _applied(module, instr)
