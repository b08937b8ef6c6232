"""The compiled game loop: begin an episode, play a ply, end; with exact masks of both plies.

After a move only what it can change is computed again: the rows of the two PMs and of the VM moved,
and the first mask for the flavors that won or lost their last destinations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..rooms import rooms
from .dynamics import (
    MOVES,
    State,
    Static,
    accepts,
    is_legal,
    may_leave,
    move,
    place_fits,
    releases,
)
from .objective import fragment_rate, goal_reached, reward_scale, value
from .observation import write_pm, write_vm
from .packed import (
    ALLOW_STOP,
    CHOSEN,
    LIVE,
    N_LEGAL,
    OVER,
    REWARD_SCALE,
    Episode,
    Index,
    unpack,
)

ILLEGAL, GOES_ON, ENDED = -1, 0, 1
UNMASKED = -2  # in place of a destination: see play


@njit(cache=True)
def _count_rooms(static: Static, state: State, counts: np.ndarray, pm: int, sign: int) -> None:
    """Add (sign 1) or subtract (sign -1) the PM's destinations with room, by flavor, to
    `counts`, int64 [K].
    """
    if not accepts(static.pm_status[pm], state.pm_moves[pm], static.pm_move_cap):
        return
    if not static.plain:
        for k in range(len(counts)):
            for place in range(static.places[k]):
                counts[k] += sign * int(place_fits(static, state, k, pm, place))
        return
    cpu, mem, spread = static.flavor_cpu, static.flavor_mem, static.flavor_nodes
    free_cpu, free_mem, nodes = state.free_cpu, state.free_mem, static.pm_nodes[pm]
    for k in range(len(counts)):
        first, second = rooms(free_cpu, free_mem, pm, nodes, cpu[k], mem[k], spread[k])
        counts[k] += sign * (int(first) + int(second))


@njit(cache=True)
def _write_rooms(static: Static, state: State, flavor: int, mask: np.ndarray) -> None:
    """Write 1 where a PM accepts VMs and has room for the flavor, 0 elsewhere, int8 [>= S*P]."""
    stride = static.stride
    cpu, mem = static.flavor_cpu[flavor], static.flavor_mem[flavor]
    spread = static.flavor_nodes[flavor]
    status, pm_moves, cap = static.pm_status, state.pm_moves, static.pm_move_cap
    nodes, free_cpu, free_mem = static.pm_nodes, state.free_cpu, state.free_mem
    for pm in range(len(status)):
        enters = accepts(status[pm], pm_moves[pm], cap)
        if static.plain:
            first, second = rooms(free_cpu, free_mem, pm, nodes[pm], cpu, mem, spread)
            mask[2 * pm], mask[2 * pm + 1] = enters & first, enters & second
            continue
        for place in range(stride):
            fits = enters and place_fits(static, state, flavor, pm, place)
            mask[stride * pm + place] = fits


@njit(cache=True)
def destinations(static: Static, state: State, vm: int, dest_legal: np.ndarray) -> int:
    """Write the second ply's mask, exact for the VM.

    Args:
        static: what no move changes.
        state: the present one.
        vm: index of the VM.
        dest_legal: int8 [>= S*P]; 1 is written for legal destinations `S * pm + place`, 0 for
            others.

    Returns:
        The number of legal destinations.
    """
    n_pms, stride = len(static.pm_status), static.stride
    if state.totals[MOVES] >= static.mnl or not may_leave(static, state, vm):
        dest_legal[: stride * n_pms] = 0
        return 0
    _write_rooms(static, state, static.vm_flavor[vm], dest_legal)
    dest_legal[stride * state.vm_pm[vm] + state.vm_numa[vm]] = 0
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        group = static.vm_sets[i]
        for j in range(static.set_start[group], static.set_start[group + 1]):
            if static.set_vms[j] != vm:
                _bar(static, state.vm_pm[static.set_vms[j]], static.set_by_rack[group], dest_legal)
    return int(dest_legal[: stride * n_pms].sum())


@njit(cache=True)
def _bar(static: Static, host: int, by_rack: bool, dest_legal: np.ndarray) -> None:
    """Mask out a host, or its rack, where a member of the VM's deployment set is."""
    stride = static.stride
    dest_legal[stride * host : stride * (host + 1)] = 0
    if by_rack:
        rack = static.pm_rack
        for pm in range(len(rack)):
            if rack[pm] == rack[host]:
                dest_legal[stride * pm : stride * (pm + 1)] = 0


@njit(cache=True)
def _mark(
    ints: np.ndarray,
    static: Static,
    state: State,
    index: Index,
    vm_legal: np.ndarray,
    vms: np.ndarray,
) -> None:
    """Bring the first ply's mask up to date for the VMs listed in `vms`, int64 [n]: 1 for those
    with a legal destination.
    """
    status, pm_moves, cap = static.pm_status, state.pm_moves, static.pm_move_cap
    nodes, free_cpu, free_mem = static.pm_nodes, state.free_cpu, state.free_mem
    cpu, mem, spread = static.flavor_cpu, static.flavor_mem, static.flavor_nodes
    vm_pm, vm_numa, flavors, pinned = state.vm_pm, state.vm_numa, static.vm_flavor, static.vm_pinned
    counts, barred = index.rooms, index.barred
    scratch = np.zeros(static.stride * len(status), np.int8)
    for i in range(len(vms)):
        vm = vms[i]
        pm, k = vm_pm[vm], flavors[vm]
        legal = not pinned[vm] and releases(status[pm], pm_moves[pm], cap)
        if legal:
            # Room left on its own node is no destination.
            if static.plain:
                first, second = rooms(free_cpu, free_mem, pm, nodes[pm], cpu[k], mem[k], spread[k])
                own = first if vm_numa[vm] == 0 else second
            else:
                own = place_fits(static, state, k, pm, vm_numa[vm])
            elsewhere = counts[k] - int(own & accepts(status[pm], pm_moves[pm], cap))
            if elsewhere <= barred[vm]:
                legal = elsewhere > 0 and destinations(static, state, vm, scratch) > 0
        ints[N_LEGAL] += int(legal) - vm_legal[vm]
        vm_legal[vm] = legal


@njit(cache=True)
def _close(ints: np.ndarray, static: Static, state: State, vm_legal: np.ndarray) -> None:
    """End the episode if it is over; mask the stop action in then, or where stopping is allowed."""
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
def destination_mask(ints: np.ndarray, vm: int, dest_legal: np.ndarray) -> int:
    """Write the second ply's mask; see `destinations`.

    Args:
        ints: int64 buffer; see packed.py.
        floats: float64 buffer; see packed.py.
        vm: index of the VM.
        dest_legal: int8 [>= S*P], written to.

    Returns:
        The number of legal destinations.
    """
    static, state, _ = unpack(ints)
    return int(destinations(static, state, vm, dest_legal))


@njit(cache=True)
def pack_destinations(ints: np.ndarray, vm_legal: np.ndarray, packed: np.ndarray) -> None:
    """Write the second ply's masks of all VMs, eight destinations a byte, the first the lowest bit.

    Args:
        ints: int64 buffer; see packed.py.
        vm_legal: int8 [N]; the first ply's mask. A VM masked out has no destinations.
        packed: uint8 [V_max, >= S*P / 8], zeros; written to.
    """
    static, state, index = unpack(ints)
    stride = static.stride
    mask = np.zeros(stride * len(static.pm_status), np.int8)
    bits = np.zeros(packed.shape[1], np.uint8)
    for flavor in range(len(index.rooms)):
        # Without deployment sets, VMs of a flavor differ only in the place that each has now.
        _write_rooms(static, state, flavor, mask)
        _pack_bits(mask, bits)
        for i in range(index.flavor_start[flavor], index.flavor_start[flavor + 1]):
            vm = index.flavor_vms[i]
            if not vm_legal[vm]:
                continue
            if index.barred[vm]:
                destinations(static, state, vm, mask)
                _pack_bits(mask, packed[vm])
                continue
            packed[vm] = bits
            own = stride * state.vm_pm[vm] + state.vm_numa[vm]
            packed[vm, own // 8] &= ~(np.uint8(1) << np.uint8(own % 8))


@njit(cache=True)
def _pack_bits(mask: np.ndarray, bits: np.ndarray) -> None:
    """Write a mask, int8 [n], as bits, uint8 [>= n / 8], the first the lowest of its byte."""
    bits[:] = 0
    for place in range(len(mask)):
        bits[place // 8] |= np.uint8(mask[place]) << np.uint8(place % 8)


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
    """Fill every observation row and the first ply's mask.

    Args:
        ints: int64 buffer; see packed.py.
        floats: float64 buffer; see packed.py.
        pms: float32 [P_max, len(PM_FEATURES)]; rows of PMs, written to.
        vms: float32 [V_max, len(VM_FEATURES)]; rows of VMs, written to.
        vm_pm: int32 [V_max]; each VM's host, written to.
        vm_mask: int8 [V_max]; 1 where a row is a VM, written to.
        vm_legal: int8 [N]; the first ply's mask, written to.

    Returns:
        The objective and the fragment rate.
    """
    static, state, index = unpack(ints)
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
    """Make a legal move and bring rows and masks up to date."""
    source = state.vm_pm[vm]
    target, place = dest // static.stride, dest % static.stride
    before = index.rooms.copy()
    _count_rooms(static, state, index.rooms, source, -1)
    if target != source:
        _count_rooms(static, state, index.rooms, target, -1)
    move(static, state, vm, target, place)
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
    """Play a ply, or both plies of a move.

    Args:
        ints: int64 buffer; see packed.py.
        floats: float64 buffer; see packed.py.
        pms: float32 [P_max, len(PM_FEATURES)]; rows of PMs, written to.
        vms: float32 [V_max, len(VM_FEATURES)]; rows of VMs, written to.
        vm_pm: int32 [V_max]; each VM's host, written to.
        vm_legal: int8 [N]; the first ply's mask, written to.
        dest_legal: int8 [N]; the second ply's mask, written to.
        vm: VM to choose, V to stop, or -1 where it has been chosen already.
        dest: destination `S * pm + place` of the chosen VM, or -1 to play the first ply alone;
            UNMASKED to play it without the second ply's mask, which takes longer than the ply.

    Returns:
        ILLEGAL (nothing has changed), GOES_ON or ENDED; the reward; the objective; the fragment
        rate; the number of moves made.
    """
    static, state, index = unpack(ints)
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
            if dest != UNMASKED:
                destinations(static, state, vm, dest_legal)
    chosen = ints[CHOSEN] if vm < 0 else vm
    if outcome == GOES_ON and dest >= 0:
        stride = static.stride
        in_range = 0 <= chosen < stop and dest < stride * len(static.pm_status)
        legal = in_range and is_legal(static, state, chosen, dest // stride, dest % stride)
        if legal:
            _advance(ints, floats, static, state, index, pms, vms, vm_pm, vm_legal, chosen, dest)
            reward = (was - value(static, totals)) * floats[REWARD_SCALE]
            outcome = ENDED if ints[OVER] else GOES_ON
        elif not (in_range and ints[LIVE]):
            outcome = ILLEGAL
        if outcome != ILLEGAL:
            ints[CHOSEN] = -1
    return outcome, reward, value(static, totals), fragment_rate(totals), totals[MOVES]


@njit(cache=True)
def play_lanes(
    episodes: Episode,
    lanes: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    ended: np.ndarray,
    figures: np.ndarray,
    moves: np.ndarray,
) -> int:
    """Play a ply in each of the lanes, if all are legal; not for the live mode.

    Args:
        episodes: each buffer with the lane first, [B, ...].
        lanes: the lanes that go on, int64 [m].
        actions: int64 [B]; VMs, V to stop, or destinations.
        rewards: float64 [m], written to.
        ended: bool [m], written to.
        figures: float64 [B, 2]; objective and fragment rate, written to.
        moves: int64 [B]; moves made, written to.

    Returns:
        -1, or the first lane whose action is not legal; then nothing has changed.
    """
    ints = episodes.ints
    for lane in lanes:
        action = actions[lane]
        legal = episodes.vm_legal[lane] if ints[lane, CHOSEN] < 0 else episodes.dest_legal[lane]
        if action < 0 or action >= len(legal) or not legal[action]:
            return int(lane)
    for row in range(len(lanes)):
        lane = lanes[row]
        first = ints[lane, CHOSEN] < 0
        outcome, rewards[row], figures[lane, 0], figures[lane, 1], moves[lane] = play(
            ints[lane],
            episodes.floats[lane],
            episodes.pms[lane],
            episodes.vms[lane],
            episodes.vm_pm[lane],
            episodes.vm_legal[lane],
            episodes.dest_legal[lane],
            actions[lane] if first else -1,
            -1 if first else actions[lane],
        )
        ended[row] = outcome == ENDED
    return -1
