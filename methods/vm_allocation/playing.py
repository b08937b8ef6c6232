"""Whole worlds played in compiled code by a potential: for training and for measurements."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...datasets.vm_allocation.arrivals import requests_of
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.dynamics import (
    CHOOSE,
    PHASE,
    REQUEST,
    act,
    make_state,
    make_static,
    walk,
    write_places,
)
from ...envs.vm_allocation.objective import rejected_so_far
from ...envs.vm_allocation.packed import LAYOUT, read_state, read_static


def packed_world(center: DataCenter, world: int) -> np.ndarray:
    """Return a world before its first event, packed, int64 [n].

    Args:
        center: the data center; its hosts have two equal nodes of whole cores.
        world: the world's seed.
    """
    trace = requests_of(center, world)
    return LAYOUT.pack(make_static(center, trace), make_state(center, len(trace.flavor)))


@njit(cache=True, nogil=True)
def play_table(packed: np.ndarray, table: np.ndarray) -> float:
    """Play a world to its end without migrations.

    Args:
        packed: the world before its first event, int64 [n]; it is played in place.
        table: potential of hosts by free cores of both nodes, float64 [C+1, C+1].

    Returns:
        The rejected % of the core-hours asked for.
    """
    static, state = read_static(packed), read_state(packed)
    walk(static, state)
    mask = np.zeros(2 * len(static.pm_nodes), np.int8)
    while state.numbers[PHASE] <= CHOOSE:
        if state.numbers[PHASE] == CHOOSE:
            act(static, state, len(state.slots))
            continue
        request = state.numbers[REQUEST]
        write_places(static, state, request, mask)
        k = static.flavor[request]
        cpu = static.flavor_cpu[k]
        best, at = -np.inf, 0
        for pm in range(len(static.pm_nodes)):
            a, b = state.free_cpu[pm, 0], state.free_cpu[pm, 1]
            now = table[a, b]
            if mask[2 * pm]:
                left = table[a - cpu, b - cpu if static.flavor_nodes[k] == 2 else b] - now
                if left > best:
                    best, at = left, 2 * pm
            if mask[2 * pm + 1]:
                left = table[a, b - cpu] - now
                if left > best:
                    best, at = left, 2 * pm + 1
        act(static, state, at)
    return float(rejected_so_far(state))
