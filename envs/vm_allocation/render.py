"""Draw a data center as an image, see envs/host_drawing.py; VMs on two nodes come first."""

from __future__ import annotations

import numpy as np

from ..host_drawing import BACKGROUND, HEADER, bars, draw_bar, grid, vm_color, write_text
from .dynamics import CLOCK_S, MOVES, NO_ONE, State, Static
from .objective import rejected_so_far


def frame(static: Static, state: State, size: tuple[int, int] = (960, 640)) -> np.ndarray:
    """Draw the data center, with the hour, the rejected % so far and the migrations in the header.

    Args:
        static: the world.
        state: the present one.
        size: width and height in pixels.

    Returns:
        The image, uint8 [height, width, 3].
    """
    width, height = size
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    hours, moves = state.numbers[CLOCK_S] / 3600, int(state.numbers[MOVES])
    write_text(image, f"T {hours:.1f}   R {rejected_so_far(state.numbers):.2f}   S {moves}")
    stacks = _stacks(static, state)
    used = np.array([[sum(cpu for cpu, _ in node) for node in host] for host in stacks])
    capacity = state.free_cpu + used
    scale = 1.0 / max(1, int(capacity.max()))
    for pm, cell in enumerate(grid(len(stacks), width, height - HEADER)):
        for node, edges in enumerate(bars(cell, int(static.pm_nodes[pm]))):
            vms, cores = stacks[pm][node], int(capacity[pm, node])
            draw_bar(image, cell, edges, vms, cores, static.unit, scale)
    return image


def _stacks(static: Static, state: State) -> list[list[list[tuple[int, tuple[int, int, int]]]]]:
    """Return CPU and color of the VMs on each node of each PM, those on both nodes first."""
    found: list[list[list[tuple[int, tuple[int, int, int]]]]] = [
        [[], []] for _ in range(len(static.pm_nodes))
    ]
    there = state.slots[state.slots != NO_ONE]
    flavor = static.flavor[there]
    order = np.lexsort((-static.flavor_cpu[flavor], -static.flavor_nodes[flavor]))
    for request in there[order].tolist():
        k, (pm, node) = static.flavor[request], divmod(int(state.place[request]), 2)
        cpu, nodes = int(static.flavor_cpu[k]), int(static.flavor_nodes[k])
        color = vm_color(cpu * nodes * 16 / static.unit)
        for at in (0, 1) if nodes == 2 else (node,):
            found[pm][at].append((cpu, color))
    return found
