"""Draw hosts as bars: their NUMA nodes, VMs, whole free 16-core slots and fragments.

Each host is a cell with a bar per NUMA node, as high as the node has cores. From the bottom up a
bar shows VMs (darker is larger), then whole free 16-core slots, then the free cores that make no
slot: the fragment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

Color = tuple[int, int, int]

BACKGROUND: Color = (255, 255, 255)
INK: Color = (60, 60, 60)
FRAGMENT_COLOR: Color = (230, 120, 0)
SLOT_COLOR: Color = (200, 232, 196)
# By size: VMs of up to 2, 4, 8, 16, 32 cores, and larger.
VM_COLORS: tuple[Color, ...] = (
    (178, 208, 236),
    (140, 186, 224),
    (96, 156, 206),
    (54, 122, 186),
    (24, 86, 152),
    (8, 44, 98),
)
HOST_LEGEND: tuple[tuple[str, Color], ...] = (
    ("fragment (free cores that make no 16-core slot)", FRAGMENT_COLOR),
    ("free 16-core slot", SLOT_COLOR),
    ("VM of up to 2 cores", VM_COLORS[0]),
    ("4", VM_COLORS[1]),
    ("8", VM_COLORS[2]),
    ("16", VM_COLORS[3]),
    ("32", VM_COLORS[4]),
    ("more", VM_COLORS[5]),
)
HEADER = 18  # pixels above the hosts, for the figures
CELL_ASPECT = 2.4  # height of a host's cell over its width

# Rows of a 3 x 5 bitmap, each an octal digit.
GLYPHS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717",
    "6": "74757", "7": "71122", "8": "75757", "9": "75717", ".": "00002", "/": "11244",
    "F": "74744", "R": "75765", "S": "74717", "T": "72222", "E": "74747", "P": "75744",
    " ": "00000",
}  # fmt: skip


def grid(count: int, width: int, height: int) -> np.ndarray:
    """Return left, top, width and height of each host's cell, int64 [count, 4], row by row.

    Args:
        count: number of hosts.
        width: of the image, in pixels.
        height: of the image without the header, in pixels.
    """
    columns = max(1, min(count, round(math.sqrt(count * CELL_ASPECT * width / height))))
    rows = math.ceil(count / columns)
    x = np.linspace(0, width, columns + 1).astype(np.int64)
    y = HEADER + np.linspace(0, height, rows + 1).astype(np.int64)
    row, column = np.divmod(np.arange(count), columns)
    return np.stack([x[column], y[row], np.diff(x)[column], np.diff(y)[row]], axis=1)


def bars(cell: np.ndarray, nodes: int) -> list[tuple[int, int]]:
    """Return the left and right edges of a host's NUMA nodes inside its cell, in pixels.

    Args:
        cell: left, top, width and height of the host's cell.
        nodes: number of NUMA nodes.
    """
    left, _, width, _ = (int(value) for value in cell)
    margin = max(1, width // 10)
    inner = max(nodes, width - 2 * margin)
    edges = np.linspace(0, inner, nodes + 1).astype(int) + left + margin
    gap = 1 if inner >= 6 else 0
    return [(int(edges[k]), int(edges[k + 1]) - gap * (k + 1 < nodes)) for k in range(nodes)]


def draw_bar(
    image: np.ndarray,
    cell: np.ndarray,
    edges: tuple[int, int],
    vms: Iterable[tuple[int, Color]],
    capacity: int,
    unit: int,
    scale: float,
    free_colors: tuple[Color, Color] = (SLOT_COLOR, FRAGMENT_COLOR),
) -> None:
    """Draw a NUMA node.

    Args:
        image: uint8 [H, W, 3], written to.
        cell: left, top, width and height of the host's cell.
        edges: left and right edge of the bar.
        vms: CPU and color of each VM on the node, from the bottom up.
        capacity: CPU of the node.
        unit: CPU of 16 cores.
        scale: 1 / CPU of the largest node.
        free_colors: of free slots, and of the fragment.
    """
    _, top, _, height = (int(value) for value in cell)
    x0, x1 = edges
    room = height - 2 * max(1, height // 14)
    bottom = top + height - max(1, height // 14)

    def level(cpu: int) -> int:
        return bottom - round(room * cpu * scale)

    used = 0
    for cpu, color in vms:
        _block(image, x0, x1, level(used + cpu), level(used), color)
        used += cpu
    for _ in range((capacity - used) // unit):
        _block(image, x0, x1, level(used + unit), level(used), free_colors[0])
        used += unit
    _block(image, x0, x1, level(capacity), level(used), free_colors[1])


def vm_color(cores: float) -> Color:
    """Return the color of a VM.

    Args:
        cores: on all its nodes.
    """
    return VM_COLORS[min(max(math.ceil(math.log2(max(cores, 1))) - 1, 0), len(VM_COLORS) - 1)]


def _block(image: np.ndarray, x0: int, x1: int, y0: int, y1: int, color: Color) -> None:
    """Fill a rectangle, with a thin line along its top where it is 4 pixels high or more."""
    image[y0:y1, x0:x1] = color
    if y1 - y0 >= 4:
        image[y0, x0:x1] = BACKGROUND


def write_text(image: np.ndarray, text: str) -> None:
    """Write figures into the header.

    Args:
        image: uint8 [H, W, 3], written to.
        text: of the letters in GLYPHS.
    """
    for place, letter in enumerate(text):
        rows = [int(octal) for octal in GLYPHS[letter]]
        bits = np.array([[row >> shift & 1 for shift in (2, 1, 0)] for row in rows], bool)
        glyph = np.kron(bits, np.ones((2, 2), bool))
        x = 6 + 8 * place
        target = image[4 : 4 + glyph.shape[0], x : x + glyph.shape[1]]
        target[glyph[: target.shape[0], : target.shape[1]]] = INK
