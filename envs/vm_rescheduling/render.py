"""Draw a cluster, see envs/host_drawing.py; VMs on two nodes come first, level across both."""

from __future__ import annotations

import math

import numpy as np

from ...datasets.vm_rescheduling.instance import ACTIVE, DISABLED
from ..host_drawing import (
    BACKGROUND,
    FRAGMENT_COLOR,
    HEADER,
    HOST_LEGEND,
    SLOT_COLOR,
    Color,
    bars,
    draw_bar,
    grid,
    vm_color,
    write_text,
)
from .dynamics import FRAGMENT, FREE, MOVES, State, Static

MOVED_COLOR: Color = (214, 0, 140)
UNUSED_COLOR: Color = (235, 235, 235)  # free cores of hosts that are not ACTIVE
DISABLED_COLOR: Color = (205, 205, 205)
OUTAGE_COLOR: Color = (150, 150, 150)
DRAIN_COLOR: Color = (255, 226, 120)
LEGEND = (*HOST_LEGEND, ("the move just made", MOVED_COLOR))


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
    cells = grid(len(static.pm_status), width, height - HEADER)
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
    colors = (SLOT_COLOR, FRAGMENT_COLOR) if status == ACTIVE else (UNUSED_COLOR, UNUSED_COLOR)
    rows = static.vm_flavor[vms] * static.stride + state.vm_numa[vms]
    shades = [MOVED_COLOR if vm == moved else _vm_color(static, static.vm_flavor[vm]) for vm in vms]
    for node, edges in enumerate(bars(cell, int(static.pm_nodes[pm]))):
        sizes = static.place_cpu[rows, node].tolist()
        there = [(cpu, shade) for cpu, shade in zip(sizes, shades, strict=True) if cpu]
        draw_bar(image, cell, edges, there, int(capacity[node]), static.unit, scale, colors)


def _vm_color(static: Static, flavor: int) -> Color:
    cores: float = static.place_cpu[flavor * static.stride].sum() * 16 / static.unit
    return vm_color(cores)


def _draw_move(
    image: np.ndarray, static: Static, cells: np.ndarray, last_move: tuple[int, int, int]
) -> None:
    """Frame the nodes that the VM left (dashed) and entered, and join them with an arrow."""
    vm, *ends = last_move
    flavor, stride = static.vm_flavor[vm], static.stride
    centers: list[tuple[float, float]] = []
    for destination in ends:
        pm, place = divmod(destination, stride)
        nodes = bars(cells[pm], int(static.pm_nodes[pm]))
        used = np.flatnonzero(static.place_cpu[flavor * stride + place][: len(nodes)])
        first, last = (used[0], used[-1]) if used.size else (0, -1)
        x0, x1 = nodes[first][0], nodes[last][1]
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
    write_text(image, f"FR {rate:.4f}   STEP {int(state.totals[MOVES])}/{static.mnl}")
