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
    State,
    Static,
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
def best_place(
    static: Static,
    state: State,
    request: int,
    mask: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> int:
    """Return the legal place where a host gains most; of equal ones that of the lowest number.

    Args:
        static: the world.
        state: the present one.
        request: index of the request.
        mask: int8 [2P]; legal places.
        before: worth of a host by free cores of both nodes, as it is, float64 [C+1, C+1].
        after: its worth once the request is on it, float64 [C+1, C+1].
    """
    free, k = state.free_cpu, static.flavor[request]
    cpu = static.flavor_cpu[k]
    other = cpu if static.flavor_nodes[k] == 2 else 0
    best, at = -np.inf, 0
    for pm in range(len(static.pm_nodes)):
        first, second = mask[2 * pm], mask[2 * pm + 1]
        if not (first or second):
            continue
        a, b = free[pm, 0], free[pm, 1]
        now = before[a, b]
        if first:
            gain = after[a - cpu, b - other] - now
            if gain > best:
                best, at = gain, 2 * pm
        if second:
            gain = after[a, b - cpu] - now
            if gain > best:
                best, at = gain, 2 * pm + 1
    return at


@njit(cache=True, nogil=True)
def play_tables(packed: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Play a world to its end without migrations; see `best_place`.

    Args:
        packed: the world before its first event, int64 [n]; it is played in place.
        before: worth of hosts as they are, float64 [C+1, C+1].
        after: their worth once a request is on them, float64 [C+1, C+1].

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
        act(static, state, best_place(static, state, request, mask, before, after))
    return float(rejected_so_far(state))


@njit(cache=True, nogil=True)
def play_table(packed: np.ndarray, table: np.ndarray) -> float:
    """Play a world to its end without migrations by a potential of hosts.

    Args:
        packed: the world before its first event, int64 [n]; it is played in place.
        table: potential of hosts by free cores of both nodes, float64 [C+1, C+1].

    Returns:
        The rejected % of the core-hours asked for.
    """
    return float(play_tables(packed, table, table))
