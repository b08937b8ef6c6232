"""Whole worlds played in compiled code by a potential: for training and for measurements."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...datasets.hosts import FRAGMENT_CORES, SIZE_LIMITS
from ...datasets.vm_allocation.arrivals import requests_of
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.dynamics import (
    CHOOSE,
    MOVES_LEFT,
    NO_ONE,
    PHASE,
    REQUEST,
    SLOTS_USED,
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
from .moving import plan_moves
from .worth import Worth, write_changes


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
    free: np.ndarray, mask: np.ndarray, cpu: int, spread: int, core: int, before: np.ndarray,
    after: np.ndarray,
) -> int:  # fmt: skip
    """Return the place where a host gains most, -1 for none; of equal ones the lowest number.

    Args:
        free: CPU of nodes, int64 [P, 2], in 1/core cores.
        mask: int8 [>= 2P]; 1 for places with room.
        cpu: that the VM needs on each of its nodes.
        spread: nodes that it uses.
        core: units of CPU in a core.
        before: worth of a host by whole free cores of both nodes, as it is, float64 [C+1, C+1].
        after: its worth once the request is on it, float64 [C+1, C+1].
    """
    other = cpu if spread == 2 else 0
    best, at = -np.inf, -1
    for pm in range(len(free)):
        first, second = mask[2 * pm], mask[2 * pm + 1]
        if not (first or second):
            continue
        a, b = free[pm, 0], free[pm, 1]
        now = before[a // core, b // core]
        if first:
            gain = after[(a - cpu) // core, (b - other) // core] - now
            if gain > best:
                best, at = gain, 2 * pm
        if second:
            gain = after[a // core, (b - cpu) // core] - now
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
    return float(record_tables(packed, before, after, np.zeros(0, np.int64))[1])


@njit(cache=True, nogil=True)
def record_tables(
    packed: np.ndarray, before: np.ndarray, after: np.ndarray, plan: np.ndarray
) -> tuple[int, float]:
    """Play a world to its end without migrations, and keep the actions.

    Args:
        packed: see `play_tables`, as the next two.
        before: see there.
        after: see there.
        plan: int64 [m]; gets the first m actions.

    Returns:
        The number of actions, and the rejected % of the core-hours asked for.
    """
    static, state = read_static(packed), read_state(packed)
    walk(static, state)
    mask = np.zeros(2 * len(static.pm_nodes), np.int8)
    n = 0
    while state.numbers[PHASE] <= CHOOSE:
        action = len(state.slots)
        if state.numbers[PHASE] != CHOOSE:
            request = state.numbers[REQUEST]
            write_places(static, state, request, mask)
            k = static.flavor[request]
            action = best_place(
                state.free_cpu, mask, static.flavor_cpu[k], static.flavor_nodes[k],
                static.unit // FRAGMENT_CORES, before, after,
            )  # fmt: skip
        if n < len(plan):
            plan[n] = action
        n += 1
        act(static, state, action)
    return n, float(rejected_so_far(state.numbers))


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


@njit(cache=True, nogil=True)
def play_worth(packed: np.ndarray, worth: Worth, cost: float) -> float:
    """Play a world to its end, with the migrations that it allows, by what hosts are worth.

    Args:
        packed: the world before its first event, int64 [n]; it is played in place.
        worth: of the data center; it decides on places and migrations.
        cost: see `moving.plan_moves`.

    Returns:
        The rejected % of the core-hours asked for.
    """
    static, state = read_static(packed), read_state(packed)
    walk(static, state)
    n, places = state.numbers, 2 * len(static.pm_nodes)
    mask, changes = np.zeros(places, np.int8), np.empty(places)
    while n[PHASE] <= CHOOSE:
        if n[PHASE] == CHOOSE:
            _migrate(static, state, worth, cost)
            continue
        request = n[REQUEST]
        write_places(static, state, request, mask)
        k = static.flavor[request]
        write_changes(
            worth, state.free_cpu, state.under_cpu, mask, static.flavor_cpu[k],
            static.flavor_nodes[k], static.flavor_size[k], changes,
        )  # fmt: skip
        act(static, state, int(np.argmax(changes)))
    return float(rejected_so_far(state.numbers))


@njit(cache=True, nogil=True)
def _migrate(static: Static, state: State, worth: Worth, cost: float) -> None:
    """Make the migrations of one chance."""
    n = state.numbers
    rows = np.flatnonzero(state.slots[: n[SLOTS_USED]] != NO_ONE)
    there = state.slots[rows]
    free = [np.empty((len(static.pm_nodes), 2), np.int64) for _ in range(2)]
    under = np.empty((len(static.pm_nodes), 2 * len(SIZE_LIMITS)), np.int64)
    for pm in range(len(static.pm_nodes)):
        for column in range(under.shape[1]):
            under[pm, column] = state.under_cpu[pm, column]
        for node in range(2):
            free[0][pm, node] = state.free_cpu[pm, node]
            free[1][pm, node] = state.free_mem[pm, node]
    moves = np.empty((n[MOVES_LEFT], 2), np.int64)
    may = (static.pinned[there] == 0) & (static.group[there] < 0)
    count = plan_moves(
        worth, free[0], free[1], under, static.pm_nodes, static.flavor_cpu, static.flavor_mem,
        static.flavor_nodes, static.flavor_size, static.flavor[there], state.place[there], may,
        cost, moves,
    )  # fmt: skip
    for number in range(count):
        act(static, state, rows[moves[number, 0]])
        act(static, state, moves[number, 1])
    if n[PHASE] == CHOOSE:
        act(static, state, len(state.slots))
