"""Windows of HLO: convolutions and reductions over windows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .convolution import valid_taps
from .hlo_module import HloInstr, integer

_SIGNED = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True)
class Window:
    """A window over some dimensions.

    Attributes:
        size: its positions by dimension.
        stride: positions from one to the next.
        low, high: positions of padding before and after the input.
        lhs_dilate, rhs_dilate: positions from one element of the input, or the window, to the next.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    lhs_dilate: tuple[int, ...]
    rhs_dilate: tuple[int, ...]


def window_of(instr: HloInstr, dimensions: int) -> Window:
    """Read an attribute such as window={size=3x3 stride=2x2 pad=0_1x0_1 lhs_dilate=2x2}.

    Args:
        instr: a convolution or a reduction over windows.
        dimensions: how many the window must have.

    Raises:
        InstanceError: the attribute has another number of dimensions.
    """
    match = re.search(r"\bwindow={([^}]*)}", instr.attributes)
    fields = dict(part.partition("=")[::2] for part in (match[1].split() if match else ()))

    def read(key: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        texts = fields[key].split("x") if key in fields else []
        found = [[integer(n) for n in _SIGNED.findall(text)] for text in texts]
        if key not in fields:
            default = int(key != "pad")
            found = [[default, default]] * dimensions
        if len(found) != dimensions or not all(found):
            instr.refuse(f"its window needs {dimensions} dimensions in {key}")
        return tuple(pair[0] for pair in found), tuple(pair[-1] for pair in found)

    low, high = read("pad")
    return Window(
        read("size")[0], read("stride")[0], low, high, read("lhs_dilate")[0], read("rhs_dilate")[0]
    )


def convolution_macs(instr: HloInstr, image: tuple[int, ...], kernel: tuple[int, ...]) -> float:
    """Return the multiply-adds of a convolution: those whose tap meets an element of the image.

    Args:
        instr: instruction with window, dim_labels and groups.
        image: sizes of the convolution's input.
        kernel: sizes of its kernel.

    Raises:
        InstanceError: dim_labels or window do not fit the sizes.
    """
    match = re.search(r"dim_labels=([\w?]+)_([\w?]+)->", instr.attributes)
    # cuDNN's layouts of vectors have one more dimension than labels: a vector of features.
    vectors = len(image) - len(match[1]) if match else 0
    if (
        match is None
        or vectors not in (0, 1)
        or (vectors and instr.opcode != "custom-call")
        or len(kernel) - len(match[2]) != vectors
    ):
        instr.refuse("a convolution needs dim_labels that fit its input and its kernel")
    extents = dict(zip(match[1], image, strict=False))
    taps = dict(zip(match[2], kernel, strict=False))
    spatial = sorted(label for label in extents if label.isdecimal())
    if "b" not in extents or not all(label in taps for label in spatial):
        instr.refuse("a convolution needs dim_labels that fit its input and its kernel")
    window = window_of(instr, len(spatial))
    meetings = 1
    for at, label in enumerate(spatial):
        try:
            meetings *= valid_taps(
                extents[label], taps[label], window.stride[at], window.low[at], window.high[at],
                window.lhs_dilate[at], window.rhs_dilate[at],
            )  # fmt: skip
        except ValueError as error:
            instr.refuse(f"its window is impossible ({error})")
    features = math.prod(kernel) // max(1, math.prod(taps[label] for label in spatial))
    batch = extents["b"] // max(1, instr.number("batch_group_count", 1))
    return float(meetings * features * batch)
