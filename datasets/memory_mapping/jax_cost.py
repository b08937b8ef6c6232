"""Count floating-point operations and trips of a jaxpr's equations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .convolution import valid_taps
from .layout import counted_trips

MOVES = ("broadcast_in_dim", "transpose", "concatenate", "slice", "dynamic_slice", "gather", "pad",
         "rev", "iota", "copy", "convert_element_type", "split", "dynamic_update_slice", "scatter",
         "real", "imag", "complex")  # fmt: skip
# Kernels and functions outside of jax.
UNKNOWN = ("pallas_call", "tpu_custom_call", "triton_kernel_call", "ffi_call", "custom_call",
           "pure_callback", "io_callback", "custom_linear_solve", "run_state",
           "run_scoped")  # fmt: skip


def flops_of(equation: Any, primitive: str) -> float:
    """Return an equation's floating-point operations: two for each multiply-add.

    An element of elementwise work is one, a reduced element one; data movement and unknown
    kernels are none.

    Args:
        equation: the equation.
        primitive: name of its primitive.
    """
    if primitive in MOVES:
        return 0.0
    if primitive in UNKNOWN:
        estimate = equation.params.get("cost_estimate")
        return float(getattr(estimate, "flops", 0.0) or 0.0)
    shapes: list[Any] = [getattr(var.aval, "shape", ()) for var in equation.invars]
    made = [float(math.prod(getattr(var.aval, "shape", ()))) for var in equation.outvars]
    elements = max(made, default=0.0)
    if primitive == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2.0 * elements * float(math.prod(shapes[0][axis] for axis in contracted))
    if primitive.startswith("ragged_dot"):
        return 2.0 * elements * float(shapes[0][-1])
    if primitive == "conv_general_dilated":
        return _convolution(equation.params, shapes)
    if primitive.startswith("scatter"):
        return float(math.prod(shapes[2]))
    if primitive.startswith(("reduce_window", "select_and_scatter")):
        window = equation.params.get("window_dimensions", ())
        return elements * float(math.prod(window))
    if primitive in ("sort", "top_k"):
        count = float(math.prod(shapes[0]))
        return count * math.log2(max(shapes[0][-1] if shapes[0] else 1, 2))
    if primitive.startswith(("reduce", "arg", "cum")):
        return float(math.prod(shapes[0])) if primitive != "reduce_precision" else elements
    if primitive in _DENSE and shapes and len(shapes[0]) >= 2:
        return float(math.prod(shapes[0][:-2])) * _DENSE[primitive](*shapes[0][-2:])
    if primitive == "triangular_solve":
        rows = float(shapes[0][-1])  # of the triangle
        return float(math.prod(shapes[1])) * rows
    if primitive == "fft":
        lengths = equation.params["fft_lengths"]
        return 5.0 * elements * math.log2(max(math.prod(lengths), 2))
    return elements


# Textbook counts for one matrix of m rows and n columns.
_DENSE: Mapping[str, Callable[[int, int], float]] = {
    "cholesky": lambda _, n: n**3 / 3,
    "lu": lambda m, n: m * n * min(m, n) - min(m, n) ** 3 / 3,
    "geqrf": lambda m, n: 2 * m * n * min(m, n) - 2 * min(m, n) ** 3 / 3,
    "qr": lambda m, n: 4 * m * n * min(m, n),
    "householder_product": lambda m, n: 2 * m * n * min(m, n),
    "eigh": lambda _, n: 9.0 * n**3,
    "eig": lambda _, n: 25.0 * n**3,
    "svd": lambda m, n: 4 * m * n * min(m, n) + 22 * min(m, n) ** 3,
}


def _convolution(parameters: Any, shapes: list[Any]) -> float:
    """Return the FLOPs of a convolution; only taps that meet an element count."""
    numbers = parameters["dimension_numbers"]
    data, kernel = shapes[0], shapes[1]
    taps = 1
    for k, (low, high) in enumerate(parameters["padding"]):
        taps *= valid_taps(
            data[numbers.lhs_spec[2 + k]],
            kernel[numbers.rhs_spec[2 + k]],
            parameters["window_strides"][k],
            low,
            high,
            parameters["lhs_dilation"][k],
            parameters["rhs_dilation"][k],
        )
    batch = data[numbers.lhs_spec[0]] // parameters["batch_group_count"]
    features, inputs = kernel[numbers.rhs_spec[0]], kernel[numbers.rhs_spec[1]]
    return float(2 * taps * batch * features * inputs)


def while_trips(equation: Any) -> int | None:
    """Return how often a while loop runs that counts in equal steps to a constant; else None.

    Args:
        equation: a `while` equation.
    """
    parameters = equation.params
    condition, body = parameters["cond_jaxpr"].jaxpr, parameters["body_jaxpr"].jaxpr
    if len(condition.eqns) != 1 or condition.eqns[0].outvars != condition.outvars:
        return None
    test = condition.eqns[0]
    if str(test.primitive) not in ("lt", "le", "gt", "ge"):
        return None
    state = condition.invars[parameters["cond_nconsts"] :]
    at = [k for k, var in enumerate(state) if any(var is atom for atom in test.invars)]
    if len(at) != 1:
        return None
    counter = body.invars[parameters["body_nconsts"] :][at[0]]
    made = body.outvars[at[0]]
    step = next((eqn for eqn in body.eqns if any(var is made for var in eqn.outvars)), None)
    start = equation.invars[parameters["cond_nconsts"] + parameters["body_nconsts"] + at[0]]
    if step is None or str(step.primitive) not in ("add", "sub"):
        return None
    if not any(atom is counter for atom in step.invars):
        return None
    literals = [atom.val for atom in (*step.invars, *test.invars, start) if hasattr(atom, "val")]
    if len(literals) != 3:
        return None
    by, limit, first = (int(value) if value == int(value) else None for value in literals)
    if by is None or limit is None or first is None:
        return None
    by = -by if str(step.primitive) == "sub" else by
    if str(step.primitive) == "sub" and hasattr(step.invars[0], "val"):
        return None
    compare = str(test.primitive)
    if hasattr(test.invars[0], "val"):  # limit > counter
        compare = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}[compare]
    return counted_trips(first, limit, by, compare)
