"""What an agent sees: VMR2L's features of PMs and VMs, and the exact masks of both plies.

The graph form of VMR2L (EuroSys 2025): a VM's row holds its own features, and its host's row is one
gather away, `pms[vm_pm]`. After a move only the rows of the two PMs and of the VM moved are
computed again, from integers; so no row is ever stale and node 0's and node 1's columns are never
mixed up (both happen in the published environment).
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numba import njit

from ...datasets.vm_rescheduling.instance import ACTIVE, LARGE_MEM_MB, OUTAGE
from .dynamics import (
    MOVES,
    State,
    Static,
    is_legal,
    may_leave,
    move,
)
from .objective import fragment_rate, goal_reached, reward_scale, value
from .packed import (
    ALLOW_STOP,
    CHOSEN,
    CPU_SCALE,
    LIVE,
    MEM_SCALE,
    N_LEGAL,
    OVER,
    REWARD_SCALE,
    Index,
    unpack,
)

PM_FEATURES = (
    "free_cpu_0", "free_cpu_1", "free_mem_0", "free_mem_1",  # of the largest PM's total
    "fragment_of_free_0", "fragment_of_free_1",  # (free mod 16) / free
    "residue_0", "residue_1",  # (free mod 16) / 16
    "mem_residue_0", "mem_residue_1",  # (free memory mod 64 GiB) / 64 GiB
    "accepts", "releases",  # status and move cap let VMs enter, leave
    "active", "drain", "two_nodes",
)  # fmt: skip
VM_FEATURES = (
    "cpu_0", "cpu_1", "mem_0", "mem_1",  # on each node, of the largest PM's total
    "residue_0", "residue_1",  # (CPU mod 16) / 16 on each node
    "movable", "apart_by_host", "apart_by_rack",
)  # fmt: skip
ILLEGAL, GOES_ON, ENDED = -1, 0, 1


def observation_space(max_pms: int, max_vms: int, n_actions: int) -> spaces.Dict:
    """The space of padded observations; see the environment's docstring."""
    return spaces.Dict(
        {
            "pms": spaces.Box(0.0, 1.0, (max_pms, len(PM_FEATURES)), np.float32),
            "vms": spaces.Box(0.0, 1.0, (max_vms, len(VM_FEATURES)), np.float32),
            "vm_pm": spaces.Box(0, max_pms - 1, (max_vms,), np.int32),
            "pm_mask": spaces.MultiBinary(max_pms),
            "vm_mask": spaces.MultiBinary(max_vms),
            "chosen_vm": spaces.Box(-1, max_vms - 1, (1,), np.int32),
            "phase": spaces.MultiBinary(1),
            "progress": spaces.Box(0.0, 1.0, (1,), np.float32),
            "action_mask": spaces.Box(0, 1, (n_actions,), np.int8),
        }
    )


@njit(cache=True)
def write_pm(static: Static, state: State, floats: np.ndarray, row: np.ndarray, pm: int) -> None:
    """Fills a PM's row."""
    unit = static.unit
    for node in range(2):
        cpu, mem = state.free_cpu[pm, node], state.free_mem[pm, node]
        row[node] = cpu / floats[CPU_SCALE]
        row[2 + node] = mem / floats[MEM_SCALE]
        row[4 + node] = (cpu % unit) / cpu if cpu > 0 else 0.0
        row[6 + node] = (cpu % unit) / unit
        row[8 + node] = (mem % LARGE_MEM_MB) / LARGE_MEM_MB
    under_cap = state.pm_moves[pm] < static.pm_move_cap
    status = static.pm_status[pm]
    row[10] = 1.0 if status == ACTIVE and under_cap else 0.0
    row[11] = 1.0 if status != OUTAGE and under_cap else 0.0
    row[12] = 1.0 if status == ACTIVE else 0.0
    row[13] = 1.0 if static.pm_drain[pm] else 0.0
    row[14] = 1.0 if static.pm_nodes[pm] == 2 else 0.0


@njit(cache=True)
def write_vm(static: Static, state: State, floats: np.ndarray, row: np.ndarray, vm: int) -> None:
    """Fills a VM's row."""
    flavor = static.vm_flavor[vm]
    cpu, mem = static.flavor_cpu[flavor], static.flavor_mem[flavor]
    for node in range(2):
        here = 1.0 if static.flavor_nodes[flavor] == 2 or state.vm_numa[vm] == node else 0.0
        row[node] = here * cpu / floats[CPU_SCALE]
        row[2 + node] = min(1.0, here * mem / floats[MEM_SCALE])
        row[4 + node] = here * (cpu % static.unit) / static.unit
    row[6] = 0.0 if static.vm_pinned[vm] else 1.0
    row[7], row[8] = 0.0, 0.0
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        row[8 if static.set_by_rack[static.vm_sets[i]] else 7] = 1.0


# In loops over PMs or VMs legality is written out over local arrays, several times faster than
# dynamics.is_legal; tests hold the two equal.


@njit(cache=True)
def _count_rooms(static: Static, state: State, rooms: np.ndarray, pm: int, sign: int) -> None:
    """Adds (or subtracts) the PM's places with room, by flavor."""
    if static.pm_status[pm] != ACTIVE or state.pm_moves[pm] >= static.pm_move_cap:
        return
    need_cpu, need_mem, nodes = static.flavor_cpu, static.flavor_mem, static.flavor_nodes
    two = static.pm_nodes[pm] == 2
    cpu_0, cpu_1 = state.free_cpu[pm, 0], state.free_cpu[pm, 1]
    mem_0, mem_1 = state.free_mem[pm, 0], state.free_mem[pm, 1]
    for flavor in range(len(rooms)):
        cpu, mem = need_cpu[flavor], need_mem[flavor]
        first = int(cpu_0 >= cpu and mem_0 >= mem)
        second = int(two and cpu_1 >= cpu and mem_1 >= mem)
        rooms[flavor] += sign * (first * second if nodes[flavor] == 2 else first + second)


@njit(cache=True)
def destinations(static: Static, state: State, vm: int, dest_legal: np.ndarray) -> int:
    """Writes the second ply's mask, exact for the VM; returns how many destinations are legal."""
    n_pms = len(static.pm_status)
    if state.totals[MOVES] >= static.mnl or not may_leave(static, state, vm):
        dest_legal[: 2 * n_pms] = 0
        return 0
    flavor = static.vm_flavor[vm]
    cpu, mem = static.flavor_cpu[flavor], static.flavor_mem[flavor]
    both, cap = static.flavor_nodes[flavor] == 2, static.pm_move_cap
    status, pm_nodes, pm_moves = static.pm_status, static.pm_nodes, state.pm_moves
    free_cpu, free_mem = state.free_cpu, state.free_mem
    for pm in range(n_pms):  # without branches: they would be mispredicted half the time
        opens = (status[pm] == ACTIVE) & (pm_moves[pm] < cap)
        first = opens & (free_cpu[pm, 0] >= cpu) & (free_mem[pm, 0] >= mem)
        second = opens & (pm_nodes[pm] == 2)
        second &= (free_cpu[pm, 1] >= cpu) & (free_mem[pm, 1] >= mem)
        dest_legal[2 * pm] = first & (second | (not both))
        dest_legal[2 * pm + 1] = second & (not both)
    dest_legal[2 * state.vm_pm[vm] + (0 if both else state.vm_numa[vm])] = 0
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        group = static.vm_sets[i]
        for j in range(static.set_start[group], static.set_start[group + 1]):
            if static.set_vms[j] != vm:
                _bar(static, state.vm_pm[static.set_vms[j]], static.set_by_rack[group], dest_legal)
    return int(dest_legal[: 2 * n_pms].sum())


@njit(cache=True)
def _bar(static: Static, host: int, by_rack: bool, dest_legal: np.ndarray) -> None:
    """Masks out a host, or its rack, where a member of the VM's deployment set is."""
    dest_legal[2 * host : 2 * host + 2] = 0
    if by_rack:
        rack = static.pm_rack
        for pm in range(len(rack)):
            if rack[pm] == rack[host]:
                dest_legal[2 * pm : 2 * pm + 2] = 0


@njit(cache=True)
def _mark(
    ints: np.ndarray,
    static: Static,
    state: State,
    index: Index,
    vm_legal: np.ndarray,
    vms: np.ndarray,
) -> None:
    """Brings the first mask up to date for these VMs: 1 for those with a legal destination."""
    status, pm_moves, cap = static.pm_status, state.pm_moves, static.pm_move_cap
    vm_pm, vm_numa, pinned = state.vm_pm, state.vm_numa, static.vm_pinned
    vm_flavor, nodes = static.vm_flavor, static.flavor_nodes
    need_cpu, need_mem = static.flavor_cpu, static.flavor_mem
    free_cpu, free_mem = state.free_cpu, state.free_mem
    rooms, barred = index.rooms, index.barred
    scratch = np.zeros(2 * len(status), np.int8)
    for i in range(len(vms)):
        vm = vms[i]
        source = vm_pm[vm]
        legal = not pinned[vm] and status[source] != OUTAGE and pm_moves[source] < cap
        if legal:
            flavor = vm_flavor[vm]
            cpu, mem = need_cpu[flavor], need_mem[flavor]
            first, last = (0, 1) if nodes[flavor] == 2 else (vm_numa[vm], vm_numa[vm])
            # Room left on its own node is no destination.
            own = (
                status[source] == ACTIVE
                and min(free_cpu[source, first], free_cpu[source, last]) >= cpu
                and min(free_mem[source, first], free_mem[source, last]) >= mem
            )
            elsewhere = rooms[flavor] - int(own)
            if elsewhere <= barred[vm]:
                legal = elsewhere > 0 and destinations(static, state, vm, scratch) > 0
        ints[N_LEGAL] += int(legal) - vm_legal[vm]
        vm_legal[vm] = legal


@njit(cache=True)
def _close(ints: np.ndarray, static: Static, state: State, vm_legal: np.ndarray) -> None:
    """Ends the episode if it is over; then, and only then unless stopping is allowed, stop is
    masked in.
    """
    stop = len(state.vm_pm)
    if (
        ints[OVER]
        or state.totals[MOVES] >= static.mnl
        or ints[N_LEGAL] == 0
        or goal_reached(static, state.totals)
    ):
        ints[OVER] = 1
        vm_legal[:stop] = 0
        ints[N_LEGAL] = 0
    vm_legal[stop] = 1 if ints[OVER] or ints[ALLOW_STOP] else 0


@njit(cache=True)
def destination_mask(ints: np.ndarray, floats: np.ndarray, vm: int, dest_legal: np.ndarray) -> int:
    """`destinations` of an episode's buffers."""
    static, state, _ = unpack(ints, floats)
    return int(destinations(static, state, vm, dest_legal))


@njit(cache=True)
def begin(
    ints: np.ndarray,
    floats: np.ndarray,
    pms: np.ndarray,
    vms: np.ndarray,
    vm_pm: np.ndarray,
    vm_mask: np.ndarray,
    vm_legal: np.ndarray,
) -> tuple[float, float]:
    """Fills every row and the first mask; returns the objective and the fragment rate."""
    static, state, index = unpack(ints, floats)
    index.rooms[:] = 0
    for pm in range(len(static.pm_status)):
        write_pm(static, state, floats, pms[pm], pm)
        _count_rooms(static, state, index.rooms, pm, 1)
    for vm in range(len(state.vm_pm)):
        if index.present[vm]:
            write_vm(static, state, floats, vms[vm], vm)
            vm_pm[vm] = state.vm_pm[vm]
            vm_mask[vm] = 1
    _mark(ints, static, state, index, vm_legal, index.flavor_vms)
    _close(ints, static, state, vm_legal)
    # Kept for the episode: free cores that count may change where hosts are not ACTIVE, and a
    # return should still be the objective's change.
    floats[REWARD_SCALE] = reward_scale(static, state.totals)
    return value(static, state.totals), fragment_rate(state.totals)


@njit(cache=True)
def _advance(
    ints: np.ndarray,
    floats: np.ndarray,
    static: Static,
    state: State,
    index: Index,
    pms: np.ndarray,
    vms: np.ndarray,
    vm_pm: np.ndarray,
    vm_legal: np.ndarray,
    vm: int,
    dest: int,
) -> None:
    """Makes a legal move and brings rows and masks up to date."""
    source, target, numa = state.vm_pm[vm], dest // 2, dest % 2
    before = index.rooms.copy()
    _count_rooms(static, state, index.rooms, source, -1)
    if target != source:
        _count_rooms(static, state, index.rooms, target, -1)
    move(static, state, vm, target, numa)
    write_pm(static, state, floats, pms[source], source)
    write_pm(static, state, floats, pms[target], target)
    write_vm(static, state, floats, vms[vm], vm)
    vm_pm[vm] = target
    _count_rooms(static, state, index.rooms, source, 1)
    if target != source:
        _count_rooms(static, state, index.rooms, target, 1)
    for flavor in range(len(before)):
        # With two places or more, every VM of the flavor has one besides its own.
        if before[flavor] < 2 or index.rooms[flavor] < 2:
            first, last = index.flavor_start[flavor], index.flavor_start[flavor + 1]
            _mark(ints, static, state, index, vm_legal, index.flavor_vms[first:last])
    if len(index.in_sets):
        _mark(ints, static, state, index, vm_legal, index.in_sets)
    cap = static.pm_move_cap
    if state.pm_moves[source] >= cap or state.pm_moves[target] >= cap:
        there = np.flatnonzero((state.vm_pm == source) | (state.vm_pm == target))
        _mark(ints, static, state, index, vm_legal, there)
    _close(ints, static, state, vm_legal)


@njit(cache=True)
def play(
    ints: np.ndarray,
    floats: np.ndarray,
    pms: np.ndarray,
    vms: np.ndarray,
    vm_pm: np.ndarray,
    vm_legal: np.ndarray,
    dest_legal: np.ndarray,
    vm: int,
    dest: int,
) -> tuple[int, float, float, float, int]:
    """Plays a ply, or both: `vm` >= 0 chooses a VM (or stops), `dest` >= 0 sends the chosen one.

    Returns:
        ILLEGAL (nothing has changed), GOES_ON or ENDED; the reward; the objective; the fragment
        rate; moves made.
    """
    static, state, index = unpack(ints, floats)
    totals = state.totals
    was, outcome, reward = value(static, totals), GOES_ON, 0.0
    stop = len(state.vm_pm)
    if vm >= 0:
        if ints[OVER] and (ints[LIVE] or vm == stop):
            outcome = ENDED
        elif ints[OVER] or vm > stop or (vm_legal[vm] == 0 and (vm == stop or not ints[LIVE])):
            outcome = ILLEGAL
        elif vm == stop:
            ints[OVER] = 1
            _close(ints, static, state, vm_legal)
            outcome = ENDED
        elif dest < 0:
            ints[CHOSEN] = vm
            destinations(static, state, vm, dest_legal)
    chosen = ints[CHOSEN] if vm < 0 else vm
    if outcome == GOES_ON and dest >= 0:
        in_range = 0 <= chosen < stop and dest < 2 * len(static.pm_status)
        legal = in_range and is_legal(static, state, chosen, dest // 2, dest % 2)
        if legal:
            _advance(ints, floats, static, state, index, pms, vms, vm_pm, vm_legal, chosen, dest)
            reward = (was - value(static, totals)) * floats[REWARD_SCALE]
            outcome = ENDED if ints[OVER] else GOES_ON
        elif not (in_range and ints[LIVE]):
            outcome = ILLEGAL
        if outcome != ILLEGAL:
            ints[CHOSEN] = -1
    return outcome, reward, value(static, totals), fragment_rate(totals), totals[MOVES]
