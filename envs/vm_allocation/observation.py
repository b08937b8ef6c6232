"""What an agent sees: the hosts, the request, the time, and what it is told of lifetimes."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from gymnasium import spaces
from numba import njit

from ...datasets.hosts import LARGE_MEM_MB, SIZE_LIMITS
from ...datasets.vm_allocation.arrivals import UNTOLD
from ...datasets.vm_allocation.instance import HOUR_S, N_CLASSES
from .dynamics import (
    CHOOSE,
    CHOSEN,
    CLOCK_S,
    MOVES_LEFT,
    N_CHANGED,
    NO_ONE,
    OVER,
    PHASE,
    PLACE,
    REQUEST,
    SLOTS_USED,
    State,
    Static,
    write_movable,
    write_places,
)

Pm = IntEnum(
    "Pm",
    (
        "FREE_CPU_0", "FREE_CPU_1", "FREE_MEM_0", "FREE_MEM_1",  # of the largest PM's total
        "FRAGMENT_OF_FREE_0", "FRAGMENT_OF_FREE_1",  # (free CPU mod 16 cores) / free CPU
        "RESIDUE_0", "RESIDUE_1",  # (free CPU mod 16 cores) / 16 cores
        "MEM_RESIDUE_0", "MEM_RESIDUE_1",  # (free memory mod 64 GiB) / 64 GiB
        "EMPTY", "TWO_NODES",
        "CLASS_0", "CLASS_1", "CLASS_2", "CLASS_3",  # CPU of VMs told to be of the class / all CPU
        "STAY",  # until the latest exit expected of its VMs, `stay`
        # CPU of VMs that need less than 8, 16, 32 cores on a node / CPU of the largest PM
        "UNDER_8_0", "UNDER_8_1", "UNDER_16_0", "UNDER_16_1", "UNDER_32_0", "UNDER_32_1",
    ),
    start=0,
)  # fmt: skip
Asked = IntEnum(
    "Asked",
    (
        "CPU_0", "CPU_1", "MEM_0", "MEM_1",  # of the largest PM's total; on node 1 if it needs both
        "RESIDUE",  # (CPU of a node mod 16 cores) / 16 cores
        "TWO_NODES", "IN_SET", "PINNED",
        "CLASS_0", "CLASS_1", "CLASS_2", "CLASS_3", "STAY",
    ),
    start=0,
)  # fmt: skip
Vm = IntEnum(
    "Vm",
    (
        "CPU_0", "CPU_1", "MEM_0", "MEM_1",  # where it is, of the largest PM's total
        "MOVABLE", "IN_SET", "CLASS_0", "CLASS_1", "CLASS_2", "CLASS_3", "STAY",
    ),
    start=0,
)  # fmt: skip
Clock = IntEnum(
    "Clock",
    ("PLAYED", "DAY_SIN", "DAY_COS", "MOVES_LEFT", "PLACE", "CHOOSE", "SEND", "OVER"),
    start=0,
)
DAY_S = 24 * HOUR_S
LONGEST_STAY_H = 1000.0


def observation_space(max_pms: int, max_vms: int, n_actions: int) -> spaces.Dict:
    """Make the space of padded observations; see the environment's docstring.

    Args:
        max_pms: rows for PMs.
        max_vms: rows for VMs; 0 where none can be migrated.
        n_actions: length of the mask.
    """
    vms: dict[str, spaces.Space[np.ndarray]] = {}
    if max_vms:
        vms = {
            "vms": spaces.Box(0.0, 1.0, (max_vms, len(Vm)), np.float32),
            "vm_pm": spaces.Box(0, max_pms - 1, (max_vms,), np.int32),
            "vm_flavor": spaces.Box(-1, np.iinfo(np.int32).max, (max_vms,), np.int32),
            "chosen_vm": spaces.Box(-1, max_vms - 1, (1,), np.int32),
        }
    return spaces.Dict(
        {
            "pms": spaces.Box(0.0, 1.0, (max_pms, len(Pm)), np.float32),
            "pm_mask": spaces.MultiBinary(max_pms),
            "request": spaces.Box(0.0, 1.0, (len(Asked),), np.float32),
            "flavor": spaces.Box(-1, np.iinfo(np.int32).max, (1,), np.int32),
            "clock": spaces.Box(-1.0, 1.0, (len(Clock),), np.float32),
            "action_mask": spaces.Box(0, 1, (n_actions,), np.int8),
        }
        | vms
    )


@njit(cache=True, inline="always")
def stay(seconds: int) -> float:
    """Return a time as a feature: log(1 + hours), 1.0 for 1,000 hours and more, 0 if it is past.

    Args:
        seconds: the time, in seconds.
    """
    hours = max(0, seconds) / HOUR_S
    return min(1.0, math.log1p(hours) / math.log1p(LONGEST_STAY_H))


@njit(cache=True)
def _write_pm(static: Static, state: State, row: np.ndarray, pm: int) -> None:
    used = np.int64(0)
    for node in range(static.pm_nodes[pm]):
        cpu, mem = state.free_cpu[pm, node], state.free_mem[pm, node]
        used += cpu
        row[Pm.FREE_CPU_0 + node] = cpu / static.cpu_scale
        row[Pm.FREE_MEM_0 + node] = mem / static.mem_scale
        row[Pm.FRAGMENT_OF_FREE_0 + node] = (cpu % static.unit) / cpu if cpu > 0 else 0.0
        row[Pm.RESIDUE_0 + node] = (cpu % static.unit) / static.unit
        row[Pm.MEM_RESIDUE_0 + node] = (mem % LARGE_MEM_MB) / LARGE_MEM_MB
        for column in range(node, 2 * len(SIZE_LIMITS), 2):
            row[Pm.UNDER_8_0 + column] = state.under_cpu[pm, column] / static.cpu_scale
    row[Pm.EMPTY] = state.first[pm] == NO_ONE
    row[Pm.TWO_NODES] = static.pm_nodes[pm] == 2
    for told in range(N_CLASSES):
        row[Pm.CLASS_0 + told] = state.class_cpu[pm, told] / static.pm_cpu[pm]


@njit(cache=True)
def _write_request(static: Static, state: State, row: np.ndarray, request: int) -> None:
    k = static.flavor[request]
    cpu, mem = static.flavor_cpu[k], static.flavor_mem[k]
    for node in range(static.flavor_nodes[k]):
        row[Asked.CPU_0 + node] = cpu / static.cpu_scale
        row[Asked.MEM_0 + node] = mem / static.mem_scale
    row[Asked.RESIDUE] = (cpu % static.unit) / static.unit
    row[Asked.TWO_NODES] = static.flavor_nodes[k] == 2
    row[Asked.IN_SET] = static.group[request] >= 0
    row[Asked.PINNED] = static.pinned[request] > 0
    if static.told_class[request] >= 0:
        row[Asked.CLASS_0 + static.told_class[request]] = 1.0
        row[Asked.STAY] = stay(
            static.arrive_s[request] + static.told_s[request] - state.numbers[CLOCK_S]
        )


@njit(cache=True)
def observe(
    static: Static,
    state: State,
    pms: np.ndarray,
    request: np.ndarray,
    clock: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Bring what is seen of hosts, request and time up to date.

    Args:
        static: the world.
        state: the present one; what it notes as changed is looked at.
        pms: float32 [P_max, 23]; rows of PMs, written to.
        request: float32 [13], written to.
        clock: float32 [8], written to.
        mask: int8 [N]; legal actions, written to.
    """
    n = state.numbers
    now, phase = n[CLOCK_S], n[PHASE]
    for i in range(n[N_CHANGED]):
        pm = state.changed[i]
        _write_pm(static, state, pms[pm], pm)
        state.is_changed[pm] = 0
    n[N_CHANGED] = 0
    # Where nothing is told of lifetimes, nothing is expected.
    is_told = len(static.told_s) > 0 and static.told_s[0] != UNTOLD
    for pm in range(len(static.pm_nodes) if is_told else 0):
        latest = state.latest_s[pm]
        pms[pm, Pm.STAY] = stay(latest - now) if latest > now else 0.0
    request[:] = 0.0
    mask[:] = 0
    if phase == OVER:
        mask[0] = 1
    elif phase == CHOOSE:
        write_movable(static, state, mask, len(state.slots))
        mask[len(state.slots)] = 1
    else:
        subject = n[REQUEST] if phase == PLACE else state.slots[n[CHOSEN]]
        write_places(static, state, subject, mask)
        _write_request(static, state, request, subject)
    day = 2.0 * math.pi * (now % DAY_S) / DAY_S
    clock[Clock.PLAYED] = now / static.horizon_s
    clock[Clock.DAY_SIN], clock[Clock.DAY_COS] = math.sin(day), math.cos(day)
    clock[Clock.MOVES_LEFT] = n[MOVES_LEFT] / max(1, static.period_moves)
    for each in range(OVER + 1):
        clock[Clock.PLACE + each] = phase == each


@njit(cache=True)
def observe_vms(
    static: Static, state: State, mask: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray,
    vm_flavor: np.ndarray,
) -> None:  # fmt: skip
    """Write the rows of VMs, of which one is to be chosen or has been.

    Args:
        static: the world.
        state: the present one.
        mask: int8 [N]; legal actions.
        vms: float32 [V_max, 11], of zeros; written to.
        vm_pm: int32 [V_max], of zeros; written to.
        vm_flavor: int32 [V_max], of -1; written to.
    """
    n = state.numbers
    for row in range(n[SLOTS_USED]):
        request = state.slots[row]
        if request == NO_ONE:
            continue
        k, place = static.flavor[request], state.place[request]
        nodes = static.flavor_nodes[k]
        first, last = (0, 2) if nodes == 2 else (place % 2, place % 2 + 1)
        for node in range(first, last):
            vms[row, Vm.CPU_0 + node] = static.flavor_cpu[k] / static.cpu_scale
            vms[row, Vm.MEM_0 + node] = static.flavor_mem[k] / static.mem_scale
        vms[row, Vm.MOVABLE] = n[PHASE] == CHOOSE and mask[row] > 0
        vms[row, Vm.IN_SET] = static.group[request] >= 0
        if static.told_class[request] >= 0:
            vms[row, Vm.CLASS_0 + static.told_class[request]] = 1.0
            vms[row, Vm.STAY] = stay(static.arrive_s[request] + static.told_s[request] - n[CLOCK_S])
        vm_pm[row], vm_flavor[row] = place // 2, k
