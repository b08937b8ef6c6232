"""FLOPs of custom calls: functions of cuBLAS, cuDNN, oneDNN, LAPACK and the like, by their names.

Sources: the backend_config that XLA's GPU and CPU compilers write (backend_configs.proto in
xla/service/gpu, backend_config.proto in xla/service/cpu); operation counts of dense factorizations
as in Golub and Van Loan, Matrix Computations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from .hlo_module import HloInstr, integer
from .hlo_window import convolution_macs

Dims = tuple[int, ...]

# Called for what they do to memory or placement: nothing is computed.
NO_FLOPS = re.compile(
    r"AllocateBuffer|ConcatBitcast|Sharding|ShardShape|annotate_device_placement|MoveTo|Pin|Unpin"
    r"|LayoutConstraint|X64|SliceToDynamic|PadToStatic|Token|Barrier|InspectSharding|sdy|Reorder"
    r"|AssumeGatherIndices|IndicesBitpacked",
    re.IGNORECASE,
)
PRODUCTS = re.compile(r"gemm|matmul|dot", re.IGNORECASE)

# Factorizations of m x n matrices (n the smaller): name -> FLOPs.
_DENSE: tuple[tuple[str, Any], ...] = (
    ("potrf|cholesky", lambda m, n: n**3 / 3),
    ("getrf|lu_pivots|ludecomposition", lambda m, n: n**2 * (m - n / 3)),
    (
        "geqrf|geqp3|^qr$|qr_decomp|orgqr|ungqr|ormqr|householder",
        lambda m, n: 2 * n**2 * (m - n / 3),
    ),
    ("gesvd|gesdd|svd", lambda m, n: 4 * m**2 * n + 8 * m * n**2 + 9 * n**3),
    ("syev|heev|eigh", lambda m, n: 9 * n**3),
    ("geev|eig$", lambda m, n: 25 * n**3),
    ("gees|schur", lambda m, n: 25 * n**3),
    ("gehrd", lambda m, n: 10 * n**3 / 3),
    ("sytrd|hetrd|tridiag", lambda m, n: 4 * n**3 / 3),
)


def library_flops(instr: HloInstr, operands: Sequence[Dims]) -> float:
    """Return the floating-point operations of a custom call.

    Args:
        instr: the custom call.
        operands: sizes of each operand; () for tuples and scalars.

    Returns:
        The count; 0 for what computes nothing or is not known (see `is_known`).
    """
    target = instr.target
    first = instr.shape if instr.shape.item or not instr.shape.parts else instr.shape.parts[0]
    out = first.dims
    stated = _stated(instr)
    if stated is not None or NO_FLOPS.search(target) or not operands:
        return stated or 0.0
    if "cudnn$conv" in target:
        return _convolution(instr, operands, out)
    if "onednn$conv" in target:
        return _inferred_convolution(operands, out)
    if "fmha" in target or "flash_attention" in target:
        return _attention(instr, operands, out)
    if PRODUCTS.search(target):
        return _product(instr, operands, out)
    if "trsm" in target or "triangularsolve" in target.lower():
        return float(math.prod(operands[1] if len(operands) > 1 else out) * operands[0][-1])
    if re.search("topk", target, re.IGNORECASE):
        return float(math.prod(operands[0]))
    if re.search("sort", target, re.IGNORECASE):
        along = operands[0][-1] if operands[0] else 1
        return float(math.prod(operands[0]) * math.ceil(math.log2(max(2, along))))
    if re.search(r"softmax|layer_?norm|norm\b|rms_?norm", target, re.IGNORECASE):
        return 5.0 * math.prod(operands[0])
    for names, count in _DENSE:
        if re.search(names, target, re.IGNORECASE) and len(operands[0]) >= 2:
            big, small = sorted(operands[0][-2:], reverse=True)
            return float(math.prod(operands[0][:-2]) * count(big, small))
    return 0.0


def is_known(instr: HloInstr) -> bool:
    """Whether `library_flops` knows what a custom call computes.

    Args:
        instr: the custom call.
    """
    target = instr.target
    known = r"\$conv|fmha|flash_attention|trsm|triangularsolve|topk|sort|softmax|norm"
    return bool(
        _stated(instr) is not None
        or NO_FLOPS.search(target)
        or PRODUCTS.search(target)
        or re.search(known, target, re.IGNORECASE)
        or any(re.search(names, target, re.IGNORECASE) for names, _ in _DENSE)
    )


def _stated(instr: HloInstr) -> float | None:
    """Return the FLOPs that a kernel's author stated (Pallas' cost_estimate), None for none."""
    estimate = _find(instr.config, "cost_estimate")
    if not isinstance(estimate, dict) or "flops" not in estimate:
        return None
    counts = [str(estimate.get(key, 0)) for key in ("flops", "transcendentals")]
    return float(sum(integer(count) for count in counts if count.isdecimal()))


def _find(config: Any, key: str) -> Any:
    """Return the first value of a key anywhere in a nested configuration, None if it has none."""
    if not isinstance(config, dict):
        return None
    if key in config:
        return config[key]
    return next((found for v in config.values() if (found := _find(v, key)) is not None), None)


def _extent(dims: Dims, numbers: Any) -> int | None:
    """Return the product of some dimensions; None if the numbers are missing or do not fit."""
    if not isinstance(numbers, dict | list) or not numbers:
        return None
    axes = [integer(text) if text.isdecimal() else -1 for text in map(str, numbers)]
    return math.prod(dims[a] for a in axes) if all(0 <= a < len(dims) for a in axes) else None


def _product(instr: HloInstr, operands: Sequence[Dims], out: Dims) -> float:
    """Return the FLOPs of a matrix product: contracted dimensions from its configuration.

    Where it says none, they follow from the sizes: of b products of m x k by k x n, the operands
    have b m k and b k n elements, and the result b m n.
    """
    numbers = _find(instr.config, "dot_dimension_numbers")
    numbers = numbers if isinstance(numbers, dict) else {}
    for side, dims in (("lhs", operands[0]), ("rhs", operands[1] if len(operands) > 1 else ())):
        contracted = _extent(dims, numbers.get(f"{side}_contracting_dimensions"))
        if contracted is not None:
            return 2.0 * math.prod(out) * contracted
    if len(operands) < 2 or not math.prod(out):
        return 0.0
    batch = max(1, math.prod(out[:-2]))
    if len(operands[1]) < len(out):  # the batch is another dimension of rows
        batch = 1
    square = math.prod(operands[0]) * math.prod(operands[1]) / (batch * math.prod(out))
    return 2.0 * math.prod(out) * round(math.sqrt(square))


def _convolution(instr: HloInstr, operands: Sequence[Dims], out: Dims) -> float:
    """Return the FLOPs of a convolution of cuDNN, whose labels are those of the forward pass."""
    if len(operands) < 2:
        return 0.0
    if "BackwardInput" in instr.target:
        image, kernel = out, operands[1]
    elif "BackwardFilter" in instr.target:
        image, kernel = operands[0], out
    else:
        image, kernel = operands[0], operands[1]
    return 2.0 * convolution_macs(instr, image, kernel)


def _inferred_convolution(operands: Sequence[Dims], out: Dims) -> float:
    """Return the FLOPs of a convolution of oneDNN (channels last): every tap of every output."""
    if len(operands) < 2 or not out or not operands[1]:
        return 0.0
    return 2.0 * math.prod(out) * math.prod(operands[1]) / max(1, out[-1])


def _attention(instr: HloInstr, operands: Sequence[Dims], out: Dims) -> float:
    """Return the FLOPs of fused attention: two products forward, five backward.

    Each is of the size of the scores (batch, heads, queries, keys) times the width of a head.
    """
    config = instr.config
    stated = _find(_find(config, "intermediate_tensor_shape"), "dimensions")
    if len(operands) < 2 or not operands[0]:
        return 0.0
    width = operands[0][-1]
    if isinstance(stated, list) and all(str(size).isdecimal() for size in stated):
        scores = math.prod(float(integer(str(size))) for size in stated)
    else:  # queries and keys each have batch x heads x length x width elements
        heads = operands[0][0] * (operands[0][1] if len(operands[0]) > 3 else 1)
        queries = math.prod(operands[0]) // max(1, width * heads)
        keys = math.prod(operands[1]) // max(1, width * heads)
        scores = heads * queries * keys
    products = 5 if "Backward" in instr.target else 2
    return 2.0 * products * scores * width
