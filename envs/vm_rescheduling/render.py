"""Draw a cluster as an image: hosts, their NUMA nodes, VMs and free cores.

Each host is a cell with a bar per NUMA node, as high as the node has cores. From the bottom up a
bar shows VMs (darker is larger; those on two nodes first, level across both), then whole free
16-core slots, then the free cores that make no slot: the fragment.
"""

from __future__ import annotations

import math

import numpy as np

from ...datasets.vm_rescheduling.instance import ACTIVE, DISABLED
from .dynamics import FRAGMENT, FREE, MOVES, State, Static

Color = tuple[int, int, int]

BACKGROUND: Color = (255, 255, 255)
INK: Color = (60, 60, 60)
FRAGMENT_COLOR: Color = (230, 120, 0)
SLOT_COLOR: Color = (200, 232, 196)
MOVED_COLOR: Color = (214, 0, 140)
UNUSED_COLOR: Color = (235, 235, 235)  # free cores of hosts that are not ACTIVE
DISABLED_COLOR: Color = (205, 205, 205)
OUTAGE_COLOR: Color = (150, 150, 150)
DRAIN_COLOR: Color = (255, 226, 120)
# By size: VMs of up to 2, 4, 8, 16, 32 cores, and larger.
VM_COLORS: tuple[Color, ...] = (
    (178, 208, 236),
    (140, 186, 224),
    (96, 156, 206),
    (54, 122, 186),
    (24, 86, 152),
    (8, 44, 98),
)
LEGEND: tuple[tuple[str, Color], ...] = (
    ("fragment (free cores that make no 16-core slot)", FRAGMENT_COLOR),
    ("free 16-core slot", SLOT_COLOR),
    ("VM of up to 2 cores", VM_COLORS[0]),
    ("4", VM_COLORS[1]),
    ("8", VM_COLORS[2]),
    ("16", VM_COLORS[3]),
    ("32", VM_COLORS[4]),
    ("more", VM_COLORS[5]),
    ("the move just made", MOVED_COLOR),
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


def frame(
    static: Static,
    state: State,
    capacity: np.ndarray,
    last_move: tuple[int, int, int] | None,
    size: tuple[int, int] = (960, 640),
) -> np.ndarray:
    """Draw the cluster.

    Args:
        static: the cluster, as arrays.
        state: the present state.
        capacity: int64 [P, N]; CPU of each NUMA node (Cluster.numa_cpu).
        last_move: the VM moved last and its destinations before and after; it gets
            its own color, and an arrow from the place it left. None for no mark.
        size: width and height in pixels.

    Returns:
        The image, uint8 [height, width, 3].
    """
    width, height = size
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    _write_figures(image, static, state)
    cells = _grid(len(static.pm_status), width, height - HEADER)
    scale = 1.0 / max(int(capacity.max()), 1)
    of_pm = np.split(
        np.lexsort(
            (
                -static.flavor_cpu[static.vm_flavor],
                -static.flavor_nodes[static.vm_flavor],
                state.vm_pm,
            )
        ),
        np.cumsum(np.bincount(state.vm_pm, minlength=len(cells)))[:-1],
    )
    moved = -1 if last_move is None else last_move[0]
    for pm, cell in enumerate(cells):
        _draw_host(image, static, state, capacity[pm], pm, of_pm[pm], cell, scale, moved)
    if last_move is not None:
        _draw_move(image, static, cells, last_move)
    return image


def _grid(count: int, width: int, height: int) -> np.ndarray:
    """Return left, top, width and height of each host's cell, int64 [count, 4], row by row."""
    columns = max(1, min(count, round(math.sqrt(count * CELL_ASPECT * width / height))))
    rows = math.ceil(count / columns)
    x = np.linspace(0, width, columns + 1).astype(np.int64)
    y = HEADER + np.linspace(0, height, rows + 1).astype(np.int64)
    row, column = np.divmod(np.arange(count), columns)
    return np.stack([x[column], y[row], np.diff(x)[column], np.diff(y)[row]], axis=1)


def _bars(cell: np.ndarray, nodes: int) -> list[tuple[int, int]]:
    """Return the left and right edges of a host's NUMA nodes inside its cell, in pixels."""
    left, _, width, _ = (int(value) for value in cell)
    margin = max(1, width // 10)
    inner = max(nodes, width - 2 * margin)
    edges = np.linspace(0, inner, nodes + 1).astype(int) + left + margin
    gap = 1 if inner >= 6 else 0
    return [(int(edges[k]), int(edges[k + 1]) - gap * (k + 1 < nodes)) for k in range(nodes)]


def _draw_host(
    image: np.ndarray,
    static: Static,
    state: State,
    capacity: np.ndarray,
    pm: int,
    vms: np.ndarray,
    cell: np.ndarray,
    scale: float,
    moved: int,
) -> None:
    left, top, width, height = (int(value) for value in cell)
    status = int(static.pm_status[pm])
    if status != ACTIVE or static.pm_drain[pm]:
        if status == ACTIVE:
            shade = DRAIN_COLOR
        else:
            shade = DISABLED_COLOR if status == DISABLED else OUTAGE_COLOR
        image[top : top + height, left : left + width] = shade
    nodes = int(static.pm_nodes[pm])
    room = height - 2 * max(1, height // 14)
    bottom = top + height - max(1, height // 14)
    for node, (x0, x1) in enumerate(_bars(cell, nodes)):

        def level(cpu: int) -> int:
            return bottom - round(room * cpu * scale)

        used = 0
        for vm in vms:
            flavor = static.vm_flavor[vm]
            cpu = int(static.place_cpu[flavor * static.stride + state.vm_numa[vm], node])
            if cpu == 0:
                continue
            color = MOVED_COLOR if vm == moved else _vm_color(static, flavor)
            _block(image, x0, x1, level(used + cpu), level(used), color)
            used += cpu
        free, unit = int(capacity[node]) - used, static.unit
        for _ in range(free // unit):
            color = SLOT_COLOR if status == ACTIVE else UNUSED_COLOR
            _block(image, x0, x1, level(used + unit), level(used), color)
            used += unit
        color = FRAGMENT_COLOR if status == ACTIVE else UNUSED_COLOR
        _block(image, x0, x1, level(int(capacity[node])), level(used), color)


def _vm_color(static: Static, flavor: int) -> Color:
    cores = static.place_cpu[flavor * static.stride].sum() * 16 / static.unit
    return VM_COLORS[min(max(math.ceil(math.log2(max(cores, 1))) - 1, 0), len(VM_COLORS) - 1)]


def _block(image: np.ndarray, x0: int, x1: int, y0: int, y1: int, color: Color) -> None:
    """Fill a rectangle, with a thin line along its top where it is 4 pixels high or more."""
    image[y0:y1, x0:x1] = color
    if y1 - y0 >= 4:
        image[y0, x0:x1] = BACKGROUND


def _draw_move(
    image: np.ndarray, static: Static, cells: np.ndarray, last_move: tuple[int, int, int]
) -> None:
    """Frame the nodes that the VM left (dashed) and entered, and join them with an arrow."""
    vm, *ends = last_move
    flavor, stride = static.vm_flavor[vm], static.stride
    centers: list[tuple[float, float]] = []
    for destination in ends:
        pm, place = divmod(destination, stride)
        bars = _bars(cells[pm], int(static.pm_nodes[pm]))
        used = np.flatnonzero(static.place_cpu[flavor * stride + place][: len(bars)])
        first, last = (used[0], used[-1]) if used.size else (0, -1)
        x0, x1 = bars[first][0], bars[last][1]
        y0, y1 = int(cells[pm][1]), int(cells[pm][1] + cells[pm][3]) - 1
        _outline(image, x0 - 2, x1 + 1, y0, y1, dashed=not centers)
        centers.append(((x0 + x1) / 2, (y0 + y1) / 2))
    (x, y), (to_x, to_y) = centers
    length = math.hypot(to_x - x, to_y - y)
    if length < 1:
        return
    _line(image, x, y, to_x, to_y)
    angle = math.atan2(to_y - y, to_x - x)
    barb = min(10.0, length / 2)
    for side in (-0.45, 0.45):
        back = angle + math.pi + side
        _line(image, to_x, to_y, to_x + barb * math.cos(back), to_y + barb * math.sin(back))


def _outline(image: np.ndarray, x0: int, x1: int, y0: int, y1: int, dashed: bool) -> None:
    height, width, _ = image.shape
    x0, x1 = max(x0, 0), min(x1, width - 2)
    y0, y1 = max(y0, 0), min(y1, height - 2)
    xs = np.arange(x0, x1 + 1)
    ys = np.arange(y0, y1 + 1)
    if dashed:
        xs, ys = xs[xs % 6 < 3], ys[ys % 6 < 3]
    for y in (y0, y0 + 1, y1 - 1, y1):
        image[y, xs] = MOVED_COLOR
    for x in (x0, x0 + 1, x1 - 1, x1):
        image[ys, x] = MOVED_COLOR


def _line(image: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> None:
    """Draw a line two pixels wide."""
    height, width, _ = image.shape
    steps = int(2 * math.hypot(x1 - x0, y1 - y0)) + 2
    xs = np.clip(np.rint(np.linspace(x0, x1, steps)).astype(int), 0, width - 2)
    ys = np.clip(np.rint(np.linspace(y0, y1, steps)).astype(int), 0, height - 2)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        image[ys + down, xs + right] = MOVED_COLOR


def _write_figures(image: np.ndarray, static: Static, state: State) -> None:
    free = int(state.totals[FREE])
    rate = state.totals[FRAGMENT] / free if free else 0.0
    text = f"FR {rate:.4f}   STEP {int(state.totals[MOVES])}/{static.mnl}"
    for place, letter in enumerate(text):
        rows = [int(octal) for octal in GLYPHS[letter]]
        bits = np.array([[row >> shift & 1 for shift in (2, 1, 0)] for row in rows], bool)
        glyph = np.kron(bits, np.ones((2, 2), bool))
        x = 6 + 8 * place
        target = image[4 : 4 + glyph.shape[0], x : x + glyph.shape[1]]
        target[glyph[: target.shape[0], : target.shape[1]]] = INK
