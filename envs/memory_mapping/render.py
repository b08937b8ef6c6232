"""Draws the address-time picture of a plan as an image.

Columns are instructions in program order, each as wide as any other (logical time); the upper part
is fast memory, addresses upwards, one color a buffer; the strip below it shows the part of slow
memory's time that each instruction's own operands (dark) and copies (orange) take; a red line marks
the decision to come.
"""

from __future__ import annotations

import numpy as np

from .dynamics import (
    GOES_ON,
    OUTCOME,
    POSITION,
    State,
    Static,
)
from .ranges import all_ranges

Color = tuple[int, int, int]

BACKGROUND: Color = (255, 255, 255)
FREE_COLOR: Color = (238, 238, 238)
EDGE: Color = (255, 255, 255)
OWN_COLOR: Color = (70, 70, 70)
COPY_COLOR: Color = (230, 120, 0)
IDLE_COLOR: Color = (214, 228, 214)
CURSOR: Color = (214, 0, 0)
# Told apart by color-blind readers where they meet; buffers take them in turn.
BUFFER_COLORS: tuple[Color, ...] = (
    (0, 114, 178),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (140, 150, 60),
    (120, 94, 240),
    (60, 160, 160),
    (160, 120, 90),
)
STRIP = 0.18  # of the height


def frame(static: Static, state: State, width: int = 960, height: int = 480) -> np.ndarray:
    """The picture: uint8 [height, width, 3]."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    instrs = len(static.instr_slow)
    strip = int(height * STRIP)
    top = height - strip - 4
    image[:top] = FREE_COLOR
    edges = np.linspace(0, width, instrs + 1).astype(int)
    for offset, above, start, end, buffer in all_ranges(state.rects, state.counts).T.tolist():
        low = top - round(top * offset / static.capacity)
        high = top - round(top * above / static.capacity)
        left = edges[start]
        right = max(left + 1, edges[min(instrs, end + 1)])
        color = BUFFER_COLORS[buffer % len(BUFFER_COLORS)]
        image[high : max(high + 1, low), left:right] = color
        image[high, left:right] = EDGE
        if right - left > 2:
            image[high : max(high + 1, low), left] = EDGE
    _draw_strip(static, state, image[top + 4 :], edges)
    if state.scalars[OUTCOME] == GOES_ON:
        at = edges[static.dec_instr[state.scalars[POSITION]]]
        image[:, at : at + 2] = CURSOR
    return image


def _draw_strip(static: Static, state: State, image: np.ndarray, edges: np.ndarray) -> None:
    """Slow memory's time of each instruction: its own operands, copies, idle."""
    times = np.maximum(static.instr_compute, state.slow + state.fast)
    height = len(image)
    for instr in range(len(times)):
        left, right = edges[instr], max(edges[instr] + 1, edges[instr + 1])
        image[:, left:right] = IDLE_COLOR
        if times[instr] > 0:
            own = round(height * int(state.slow[instr]) / int(times[instr]))
            copies = round(height * int(state.booked[instr]) / int(times[instr]))
            image[height - own :, left:right] = OWN_COLOR
            image[max(0, height - own - copies) : height - own, left:right] = COPY_COLOR
