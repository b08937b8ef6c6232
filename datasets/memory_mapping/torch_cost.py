"""Count floating-point operations of an exported graph's nodes, and name its operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .convolution import valid_taps

KNOWN = ("aten", "prims", "prim", "quantized_decomposed", "_operator")
MOVES = frozenset((
    "clone", "copy", "cat", "stack", "embedding", "index", "index_select", "gather", "take",
    "index_put", "_unsafe_index", "_unsafe_index_put", "_unsafe_masked_index", "slice_scatter",
    "select_scatter", "diagonal_scatter", "as_strided_scatter", "index_copy", "index_fill",
    "scatter", "masked_scatter", "full", "full_like", "empty", "empty_like", "zeros", "ones",
    "zeros_like", "ones_like", "scalar_tensor", "arange", "_to_copy", "constant_pad_nd", "flip",
    "roll", "repeat", "repeat_interleave", "pixel_shuffle", "pixel_unshuffle",
))  # fmt: skip
ATTENTION = "attention"  # in the names of fused attentions
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "_int_mm", "_weight_int8pack_mm", "addmv", "mv", "dot",
            "vdot", "addbmm", "linear", "matmul", "_scaled_mm", "_scaled_grouped_mm",
            "_grouped_mm")  # fmt: skip


def operator_name(node: Any) -> str:
    """Return the name of a node's operator: aten's alone, others with their namespace.

    Args:
        node: a call_function node, or an operator.
    """
    target = getattr(node, "target", node)
    packet = getattr(target, "overloadpacket", target)
    full = getattr(packet, "_qualified_op_name", "") or getattr(packet, "__name__", str(packet))
    return str(full).removeprefix("aten::")


def is_known(node: Any) -> bool:
    """Whether it is known what a node computes.

    Args:
        node: a call_function node.
    """
    space, separator, _ = operator_name(node).partition("::")
    if not separator:
        target = node.target
        return hasattr(target, "overloadpacket") or getattr(target, "__module__", "") in KNOWN
    return space in KNOWN


def flops_of(name: str, args: Any, kwargs: Mapping[str, Any], result: Any) -> float:
    """Return the floating-point operations of an operator: two for each multiply-add.

    Data movement is none. What is no product is one an element of the result or, of reductions,
    of the operand.

    Args:
        name: the operator, as `operator_name` returns it.
        args: its arguments, tensors as they were traced.
        kwargs: those given by name.
        result: its result, likewise.
    """
    if name in MOVES:
        return 0.0
    tensors = [part for part in _flat((args, kwargs)) if hasattr(part, "shape")]
    shapes: list[Any] = [tuple(part.shape) for part in tensors]
    made = [math.prod(part.shape) for part in _flat(result) if hasattr(part, "shape")]
    elements = float(made[0]) if made else 0.0
    if name in PRODUCTS:
        first = 1 if name in ("addmm", "baddbmm", "addbmm", "addmv") else 0
        inner = float(shapes[first][-1])
        if name == "addbmm":
            inner *= shapes[first][0]
        return 2.0 * elements * inner
    if name in ("convolution", "_convolution"):
        return _convolution(*args[:2], *args[3:9])
    if name == "convolution_backward":
        return _convolution_backward(args)
    if ATTENTION in name and len(shapes) >= 3 and not name.endswith("backward"):
        queries, keys, values = (math.prod(shape) for shape in shapes[:3])
        rows = queries // shapes[0][-1]
        return (
            2.0 * rows * shapes[1][-2] * (shapes[0][-1] + shapes[2][-1]) if keys * values else 0.0
        )
    if ATTENTION in name and len(shapes) >= 4:  # five products in place of two
        rows = math.prod(shapes[1][:-1])
        return float(2 * rows * shapes[2][-2] * (3 * shapes[1][-1] + 2 * shapes[3][-1]))
    if name.startswith("_embedding_bag"):
        return float(math.prod(shapes[1]) * shapes[0][-1])
    if name in ("_cdist_forward", "_euclidean_dist"):
        return float(3 * elements * shapes[0][-1])
    if name.startswith("_fft"):
        return 5.0 * elements * math.log2(max(shapes[0][-1], 2))
    if name in DENSE and shapes and len(shapes[0]) >= 2:
        return float(math.prod(shapes[0][:-2])) * DENSE[name](*shapes[0][-2:])
    if name.startswith(("avg_pool", "max_pool")) and not name.endswith("backward"):
        window = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
        dims = int("3d" in name) + int("2d" in name) + 1
        return float(elements * math.prod(window) ** (dims if len(window) == 1 else 1))
    if name in ("sort", "topk"):
        return float(math.prod(shapes[0])) * math.log2(max(shapes[0][-1] if shapes[0] else 1, 2))
    if name in ("index_add", "scatter_add", "scatter_reduce", "index_reduce"):
        return float(math.prod(shapes[2]))
    # A reduction makes fewer elements than it reads.
    read = float(math.prod(shapes[0])) if shapes and name in REDUCTIONS else 0.0
    return max(elements, read)


REDUCTIONS = frozenset((
    "sum", "mean", "prod", "amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "any",
    "all", "var", "std", "var_mean", "std_mean", "logsumexp", "norm", "linalg_vector_norm",
    "median", "mode", "nansum", "count_nonzero", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
))  # fmt: skip
# Textbook counts for one matrix of m rows and n columns.
DENSE: Mapping[str, Callable[[int, int], float]] = {
    "linalg_inv_ex": lambda _, n: 2.0 * n**3,
    "linalg_cholesky_ex": lambda _, n: n**3 / 3,
    "cholesky": lambda _, n: n**3 / 3,
    "linalg_lu_factor_ex": lambda m, n: m * n * min(m, n) - min(m, n) ** 3 / 3,
    "_linalg_solve_ex": lambda _, n: 2 * n**3 / 3,
    "_linalg_det": lambda _, n: 2 * n**3 / 3,
    "_linalg_slogdet": lambda _, n: 2 * n**3 / 3,
    "linalg_qr": lambda m, n: 4.0 * m * n * min(m, n),
    "_linalg_eigh": lambda _, n: 9.0 * n**3,
    "linalg_eig": lambda _, n: 25.0 * n**3,
    "_linalg_svd": lambda m, n: 4.0 * m * n * min(m, n) + 22 * min(m, n) ** 3,
}


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [part for inner in value for part in _flat(inner)]
    if isinstance(value, Mapping):
        return [part for inner in value.values() for part in _flat(inner)]
    return [value]


def _convolution(
    data: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> float:
    """Return the FLOPs of a convolution; only taps that meet an element count."""
    taps = 1
    for k, (size, kernel) in enumerate(zip(data.shape[2:], weight.shape[2:], strict=True)):
        step, pad, spread, more = (
            int(values[k if len(values) > 1 else 0]) if len(values) else default
            for values, default in ((stride, 1), (padding, 0), (dilation, 1), (output_padding, 0))
        )
        if transposed:
            reach = spread * (int(kernel) - 1) - pad
            taps *= valid_taps(int(size), int(kernel), 1, reach, reach + more, step, spread)
        else:
            taps *= valid_taps(int(size), int(kernel), step, pad, pad, 1, spread)
    # The weight is [out, in / groups, ...]; of a transposed one [in, out / groups, ...].
    return 2.0 * taps * int(data.shape[0]) * int(weight.shape[0]) * int(weight.shape[1])


def _convolution_backward(args: Any) -> float:
    """Return the FLOPs of a convolution's gradients: as often as the convolution as are asked."""
    _, data, weight, _, stride, padding, dilation, transposed, output_padding, groups = args[:10]
    wanted = args[10] if len(args) > 10 else (True, True, False)
    one = _convolution(data, weight, stride, padding, dilation, transposed, output_padding, groups)
    return one * sum(map(bool, wanted[:2]))
