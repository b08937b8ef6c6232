"""The compiled world: requests arrive and leave, VMs are placed and migrated.

Numbers are whole, so that what is added up does not depend on the order: CPU in the instance's
unit, memory in MB, time in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.hosts import FRAGMENT_CORES, SIZE_LIMITS
from ...datasets.vm_allocation.arrivals import UNTOLD, Trace
from ...datasets.vm_allocation.instance import HOUR_S, DataCenter, life_class
from ..packed import Matrix
from ..rooms import rooms

AHEAD, AWAY = -2, -1  # in place of a place: a request to come; one that was rejected or has left
NO_ONE = -1
NEVER = np.int64(1) << 60
# Whose turn it is: a request is to be placed; a VM is to be chosen, then its destination; none.
PHASES = (PLACE, CHOOSE, SEND, OVER) = range(4)
ILLEGAL, GOES_ON, ENDED = -1, 0, 1
# Indices of State.numbers.
NUMBERS = (
    EVENT, CLOCK_S, PHASE, REQUEST, CHOSEN, MOVES_LEFT, NEXT_CHANCE_S, SLOTS_USED, SLOTS_FREED,
    N_LEFT, N_CHANGED, MOVES, N_REJECTED, ASKED, REJECTED, CHARGED,
) = range(16)  # fmt: skip


class Static(NamedTuple):
    """What no action changes: the data center and the world's requests, which nobody is shown."""

    event_s: np.ndarray  # int64 [E]
    event_request: np.ndarray  # int64 [E]
    arrive_s: np.ndarray  # int64 [R]
    exit_s: np.ndarray  # int64 [R]
    flavor: np.ndarray  # int64 [R]
    group: np.ndarray  # int64 [R]; deployment set, -1 for none
    pinned: np.ndarray  # int64 [R]
    given: np.ndarray  # int64 [R]; place of a VM that is there at the start, -1 for others
    told_s: np.ndarray  # int64 [R]; UNTOLD for nothing
    told_class: np.ndarray  # int64 [R]; UNTOLD for nothing
    set_start: np.ndarray  # int64 [S+1]; set s holds set_members[set_start[s]:set_start[s+1]]
    set_members: np.ndarray  # int64 [M]; requests
    flavor_cpu: np.ndarray  # int64 [K]; on each node
    flavor_mem: np.ndarray  # int64 [K]; on each node
    flavor_nodes: np.ndarray  # int64 [K]
    flavor_size: np.ndarray  # int64 [K]; number of SIZE_LIMITS that its CPU on a node reaches
    pm_nodes: np.ndarray  # int64 [P]
    pm_cpu: np.ndarray  # int64 [P]; capacity on all nodes
    starts: int  # requests that are there at the start and do not count
    horizon_s: int
    warm_up_s: int
    period_s: int
    period_moves: int
    move_cost_s: int
    unit: int  # 16 cores
    cpu_scale: float  # CPU of the largest PM
    mem_scale: float  # memory of the largest PM


class State(NamedTuple):
    """What changes."""

    free_cpu: Matrix  # int64 [P, 2]
    free_mem: Matrix  # int64 [P, 2]
    place: np.ndarray  # int64 [R]; 2 * PM + node, AHEAD or AWAY
    slot: np.ndarray  # int64 [R]; row of a VM that is there
    slots: np.ndarray  # int64 [V]; the request in each row, or NO_ONE
    freed: np.ndarray  # int64 [V]; rows that are free again, the last one to be taken first
    first: np.ndarray  # int64 [P]; a VM of each PM, or NO_ONE
    before: np.ndarray  # int64 [R]; VMs of a PM are a list: the one before, or NO_ONE
    after: np.ndarray  # int64 [R]; the one after
    latest_s: np.ndarray  # int64 [P]; the latest exit that the policy expects of the PM's VMs
    class_cpu: Matrix  # int64 [P, 4]; CPU of VMs of each class that the policy is told
    under_cpu: Matrix  # int64 [P, 2 * 3]; on both nodes, CPU of VMs below each of SIZE_LIMITS
    left: np.ndarray  # int64 [V]; VMs that left since the last action
    changed: np.ndarray  # int64 [P]; PMs that changed since they were last looked at
    is_changed: np.ndarray  # int64 [P]
    numbers: np.ndarray  # int64 [16]; by the indices NUMBERS


def make_static(center: DataCenter, trace: Trace) -> Static:
    """Collect what no action changes.

    Args:
        center: the data center.
        trace: the world's requests.
    """
    order = np.argsort(trace.group, kind="stable")
    members = order[np.searchsorted(trace.group[order], 0) :]
    sizes = np.bincount(trace.group[members])
    told = trace.told_s
    return Static(
        trace.event_s, trace.event_request,
        trace.arrive_s, trace.exit_s,
        trace.flavor, trace.group, trace.pinned.astype(np.int64), trace.place,
        told, np.where(told == UNTOLD, UNTOLD, life_class(told)),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), members,
        center.flavor_cpu, center.flavor_mem, center.flavor_nodes,
        center.flavor_size,
        1 + (center.numa_cpu[:, 1] > 0).astype(np.int64),
        center.numa_cpu.sum(axis=1),
        trace.starts,
        center.horizon_s,
        round(center.warm_up_h * HOUR_S),
        center.period_min * 60, center.period_moves, round(center.move_cost_h * HOUR_S),
        FRAGMENT_CORES * center.cpu_per_core,
        float(center.numa_cpu.sum(axis=1).max()),
        float(max(1, center.numa_mem.sum(axis=1).max())),
    )  # fmt: skip


def make_state(center: DataCenter, n_requests: int) -> State:
    """Return the state before the first event; `walk` goes on to the first decision.

    Args:
        center: the data center.
        n_requests: number of the world's requests, R.
    """
    n_pms, n_slots = center.n_pms, center.n_slots
    numbers = np.zeros(len(NUMBERS), np.int64)
    numbers[[REQUEST, CHOSEN]] = NO_ONE
    numbers[NEXT_CHANCE_S] = center.period_min * 60
    numbers[N_CHANGED] = n_pms
    return State(
        center.numa_cpu.copy(),
        center.numa_mem.copy(),
        np.full(n_requests, AHEAD),
        np.full(n_requests, NO_ONE),
        np.full(n_slots, NO_ONE),
        np.zeros(n_slots, np.int64),
        np.full(n_pms, NO_ONE),
        np.full(n_requests, NO_ONE),
        np.full(n_requests, NO_ONE),
        np.zeros(n_pms, np.int64),
        np.zeros((n_pms, 4), np.int64),
        np.zeros((n_pms, 2 * len(SIZE_LIMITS)), np.int64),
        np.zeros(n_slots, np.int64),
        np.arange(n_pms),
        np.ones(n_pms, np.int64),
        numbers,
    )


@njit(cache=True, inline="always")
def _note(state: State, pm: int) -> None:
    """Remember that a PM has changed."""
    if not state.is_changed[pm]:
        state.is_changed[pm] = 1
        state.changed[state.numbers[N_CHANGED]] = pm
        state.numbers[N_CHANGED] += 1


@njit(cache=True)
def _occupy(static: Static, state: State, request: int, place: int, sign: int) -> None:
    """Take (sign 1) or give back (sign -1) what a VM needs in a place."""
    pm, node, k = place // 2, place % 2, static.flavor[request]
    cpu, mem = sign * static.flavor_cpu[k], sign * static.flavor_mem[k]
    nodes = static.flavor_nodes[k]
    first, last = (0, 2) if nodes == 2 else (node, node + 1)
    for at in range(first, last):
        state.free_cpu[pm, at] -= cpu
        state.free_mem[pm, at] -= mem
        for limit in range(static.flavor_size[k], len(SIZE_LIMITS)):
            state.under_cpu[pm, 2 * limit + at] += cpu
    told = static.told_class[request]
    if told >= 0:
        state.class_cpu[pm, told] += nodes * cpu
    _note(state, pm)


@njit(cache=True)
def _enter(static: Static, state: State, request: int, place: int) -> None:
    """Put a VM on a PM."""
    pm = place // 2
    _occupy(static, state, request, place, 1)
    state.place[request] = place
    head = state.first[pm]
    state.before[request], state.after[request] = NO_ONE, head
    if head != NO_ONE:
        state.before[head] = request
    state.first[pm] = request
    if static.told_s[request] != UNTOLD:
        expected = static.arrive_s[request] + static.told_s[request]
        state.latest_s[pm] = max(state.latest_s[pm], expected)


@njit(cache=True)
def _exit(static: Static, state: State, request: int) -> None:
    """Take a VM off its PM."""
    place = state.place[request]
    pm = place // 2
    _occupy(static, state, request, place, -1)
    before, after = state.before[request], state.after[request]
    if before == NO_ONE:
        state.first[pm] = after
    else:
        state.after[before] = after
    if after != NO_ONE:
        state.before[after] = before
    told = static.told_s[request]
    if told != UNTOLD and static.arrive_s[request] + told == state.latest_s[pm]:
        latest, other = np.int64(0), state.first[pm]
        while other != NO_ONE:
            latest = max(latest, static.arrive_s[other] + static.told_s[other])
            other = state.after[other]
        state.latest_s[pm] = latest
    state.place[request] = AWAY


@njit(cache=True)
def _take_slot(state: State, request: int) -> None:
    """Give a VM a row: the one freed last, else the next that was never taken."""
    n = state.numbers
    if n[SLOTS_FREED] > 0:
        n[SLOTS_FREED] -= 1
        row = state.freed[n[SLOTS_FREED]]
    else:
        row = n[SLOTS_USED]
        n[SLOTS_USED] += 1
    state.slot[request], state.slots[row] = row, request


@njit(cache=True)
def _leave(static: Static, state: State, request: int) -> None:
    """Let a VM leave the data center."""
    n = state.numbers
    _exit(static, state, request)
    row = state.slot[request]
    state.slots[row] = NO_ONE
    state.freed[n[SLOTS_FREED]] = row
    n[SLOTS_FREED] += 1
    state.left[n[N_LEFT]] = request
    n[N_LEFT] += 1


@njit(cache=True, inline="always")
def counted(static: Static, request: int) -> int:
    """Return CPU times seconds within the horizon that a request counts for.

    Args:
        static: the world.
        request: index of the request.
    """
    arrives = static.arrive_s[request]
    if request < static.starts or arrives < static.warm_up_s:
        return 0
    k = static.flavor[request]
    seconds = min(static.exit_s[request], static.horizon_s) - arrives
    return int(static.flavor_cpu[k] * static.flavor_nodes[k] * seconds)


@njit(cache=True)
def meets_set(static: Static, state: State, request: int, pm: int) -> bool:
    """Whether no other VM of a request's deployment set is on a PM.

    Args:
        static: the world.
        state: the present one.
        request: index of the request.
        pm: index of the PM.
    """
    group = static.group[request]
    if group < 0:
        return True
    for i in range(static.set_start[group], static.set_start[group + 1]):
        other = static.set_members[i]
        if other != request and state.place[other] >= 0 and state.place[other] // 2 == pm:
            return False
    return True


@njit(cache=True)
def has_room(static: Static, state: State, request: int, place: int) -> bool:
    """Whether a request's VM fits in a place `2 * PM + node` now.

    Args:
        static: the world.
        state: the present one.
        request: index of the request.
        place: a VM on both nodes has node 0.
    """
    k, pm = static.flavor[request], place // 2
    first, second = rooms(
        state.free_cpu, state.free_mem, pm, static.pm_nodes[pm],
        static.flavor_cpu[k], static.flavor_mem[k], static.flavor_nodes[k],
    )  # fmt: skip
    enough = second if place % 2 else first
    return bool(enough) and meets_set(static, state, request, pm)


@njit(cache=True)
def _fits_somewhere(static: Static, state: State, request: int) -> bool:
    k = static.flavor[request]
    cpu, mem, spread = static.flavor_cpu[k], static.flavor_mem[k], static.flavor_nodes[k]
    free_cpu, free_mem, nodes = state.free_cpu, state.free_mem, static.pm_nodes
    for pm in range(len(nodes)):
        first, second = rooms(free_cpu, free_mem, pm, nodes[pm], cpu, mem, spread)
        if (first or second) and meets_set(static, state, request, pm):
            return True
    return False


@njit(cache=True)
def write_places(static: Static, state: State, request: int, mask: np.ndarray) -> int:
    """Write where a VM may go: the mask of a request, or of a VM that was chosen to migrate.

    Args:
        static: the world.
        state: the present one.
        request: index of the request.
        mask: int8 [>= 2P], written to: 1 for places `2 * PM + node` with room, but for the one
            where the VM is.

    Returns:
        The number of such places.
    """
    k = static.flavor[request]
    cpu, mem, spread = static.flavor_cpu[k], static.flavor_mem[k], static.flavor_nodes[k]
    free_cpu, free_mem, nodes = state.free_cpu, state.free_mem, static.pm_nodes
    count = 0
    for pm in range(len(nodes)):
        first, second = rooms(free_cpu, free_mem, pm, nodes[pm], cpu, mem, spread)
        mask[2 * pm], mask[2 * pm + 1] = first, second
        count += int(first) + int(second)
    own = state.place[request]
    if own >= 0:
        count -= mask[own]
        mask[own] = 0
    group = static.group[request]
    if group >= 0:
        for i in range(static.set_start[group], static.set_start[group + 1]):
            other = static.set_members[i]
            if other != request and state.place[other] >= 0:
                host = 2 * (state.place[other] // 2)
                count -= mask[host] + mask[host + 1]
                mask[host] = mask[host + 1] = 0
    return count


@njit(cache=True)
def write_movable(static: Static, state: State, mask: np.ndarray, most: int) -> int:
    """Write which VMs may be migrated somewhere.

    Args:
        static: the world.
        state: the present one.
        mask: int8 [>= V], of zeros; 1 is written for VMs that may go and have a destination.
        most: number of such VMs after which no other is looked for.

    Returns:
        The number of such VMs.
    """
    free_cpu, free_mem, nodes = state.free_cpu, state.free_mem, static.pm_nodes
    open_places = np.full(len(static.flavor_cpu), -1)  # of flavors that have been met
    scratch, count = np.zeros(2 * len(nodes), np.int8), 0
    for row in range(state.numbers[SLOTS_USED]):
        request = state.slots[row]
        if request == NO_ONE or static.pinned[request]:
            continue
        k, place = static.flavor[request], state.place[request]
        cpu, mem, spread = static.flavor_cpu[k], static.flavor_mem[k], static.flavor_nodes[k]
        if open_places[k] < 0:
            found = 0  # a local number: the loop is then free of memory that others might change
            for pm in range(len(nodes)):
                first, second = rooms(free_cpu, free_mem, pm, nodes[pm], cpu, mem, spread)
                found += int(first) + int(second)
            open_places[k] = found
        first, second = rooms(free_cpu, free_mem, place // 2, nodes[place // 2], cpu, mem, spread)
        movable = open_places[k] > int(second if place % 2 else first)
        if movable and static.group[request] >= 0:
            movable = write_places(static, state, request, scratch) > 0
        mask[row] = movable
        count += int(movable)
        if count == most:
            break
    return count


@njit(cache=True)
def _any_movable(static: Static, state: State) -> bool:
    return bool(write_movable(static, state, np.zeros(len(state.slots), np.int8), 1) > 0)


@njit(cache=True)
def walk(static: Static, state: State) -> None:
    """Let time go by until there is something to decide, or the horizon.

    Args:
        static: the world.
        state: written to; its PHASE says what is to be decided.
    """
    n = state.numbers
    while True:
        event = n[EVENT]
        time = static.event_s[event] if event < len(static.event_s) else NEVER
        chance = n[NEXT_CHANCE_S]
        if static.period_moves > 0 and chance <= time and chance < static.horizon_s:
            n[CLOCK_S], n[MOVES_LEFT] = chance, static.period_moves
            n[NEXT_CHANCE_S] += static.period_s
            if _any_movable(static, state):
                n[PHASE] = CHOOSE
                return
            continue
        if time >= static.horizon_s:
            n[CLOCK_S], n[PHASE] = static.horizon_s, OVER
            return
        n[CLOCK_S] = time
        request = static.event_request[event]
        if state.place[request] >= 0:
            _leave(static, state, request)
        elif state.place[request] == AHEAD:
            n[ASKED] += counted(static, request)
            if static.given[request] >= 0 and has_room(
                static, state, request, static.given[request]
            ):
                _take_slot(state, request)
                _enter(static, state, request, static.given[request])
            elif _fits_somewhere(static, state, request):
                n[REQUEST], n[PHASE] = request, PLACE
                return
            else:
                state.place[request] = AWAY
                n[N_REJECTED] += int(request >= static.starts)
                n[REJECTED] += counted(static, request)
        n[EVENT] += 1


@njit(cache=True)
def _migrate(static: Static, state: State, place: int) -> None:
    """Move the chosen VM."""
    n = state.numbers
    request = state.slots[n[CHOSEN]]
    _exit(static, state, request)
    _enter(static, state, request, place)
    n[MOVES] += 1
    n[MOVES_LEFT] -= 1
    if n[CLOCK_S] >= static.warm_up_s:
        k = static.flavor[request]
        n[REJECTED] += static.move_cost_s * static.flavor_cpu[k] * static.flavor_nodes[k]
    n[CHOSEN] = NO_ONE


@njit(cache=True)
def act(static: Static, state: State, action: int) -> int:
    """Take an action and go on to the next decision.

    Args:
        static: the world.
        state: written to.
        action: a place `2 * PM + node`; where a VM is to be chosen its row, or V to stop.

    Returns:
        ILLEGAL (nothing has changed), GOES_ON or ENDED.
    """
    n = state.numbers
    phase, n_slots = n[PHASE], len(state.slots)
    if phase == OVER:
        return ENDED if action == 0 else ILLEGAL
    if phase == CHOOSE:
        if action == n_slots:
            n[MOVES_LEFT] = 0
            n[N_LEFT] = 0
            walk(static, state)
            return ENDED if n[PHASE] == OVER else GOES_ON
        if action < 0 or action > n_slots or state.slots[action] == NO_ONE:
            return ILLEGAL
        request = state.slots[action]
        mask = np.zeros(2 * len(static.pm_nodes), np.int8)
        if static.pinned[request] or write_places(static, state, request, mask) == 0:
            return ILLEGAL
        n[CHOSEN], n[PHASE], n[N_LEFT] = action, SEND, 0
        return GOES_ON
    request = n[REQUEST] if phase == PLACE else state.slots[n[CHOSEN]]
    if action < 0 or action >= 2 * len(static.pm_nodes) or action == state.place[request]:
        return ILLEGAL
    if not has_room(static, state, request, action):
        return ILLEGAL
    n[N_LEFT] = 0
    if phase == SEND:
        _migrate(static, state, action)
        n[PHASE] = CHOOSE
        if n[MOVES_LEFT] > 0:
            return GOES_ON  # what has just been moved could go back
    else:
        _take_slot(state, request)
        _enter(static, state, request, action)
        n[REQUEST] = NO_ONE
        n[EVENT] += 1
    walk(static, state)
    return ENDED if n[PHASE] == OVER else GOES_ON
