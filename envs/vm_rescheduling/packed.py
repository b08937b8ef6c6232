"""One episode in a few flat buffers, so that a step is one compiled call of few arguments.

Handing a compiled function the 26 arrays of Static and State costs 6 us a call; handing it two flat
buffers costs less than 1 us, and slicing them up again inside compiled code costs next to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.vm_rescheduling.instance import Cluster
from ..borrowed import borrow
from .dynamics import State, Static

# Header of `ints`: sizes, the scalars of Static, and where the episode stands.
N_PMS, N_VMS, N_FLAVORS, N_SETS, N_MEMBERS, N_IN_SETS = range(6)
UNIT, MNL, MOVE_CAP, OBJECTIVE = range(6, 10)
CHOSEN, OVER, ALLOW_STOP, LIVE, N_LEGAL = range(10, 15)
HEADER = 16
# `floats`: the scalars of Static that are no integers, and the scales of features and reward.
GOAL_RATE, WEIGHTS, CPU_SCALE, MEM_SCALE, REWARD_SCALE = 0, 1, 4, 5, 6
N_FLOATS = 7


class Index(NamedTuple):
    """What keeps the first ply's mask exact at small cost."""

    rooms: np.ndarray  # int64 [K]; destinations with room for a VM of the flavor
    flavor_start: np.ndarray  # int64 [K+1]; VMs of flavor k: flavor_vms[start[k]:start[k+1]]
    flavor_vms: np.ndarray  # int64 [V]
    in_sets: np.ndarray  # int64 [...]; VMs that belong to deployment sets
    barred: np.ndarray  # int64 [V]; at most so many destinations are barred by the VM's sets
    present: np.ndarray  # int64 [V]; 0 for VMs that left while the contender computed (live)


class Episode(NamedTuple):
    """The buffers of one episode.

    Attributes:
        ints, floats: see the constants above.
        pms: float32 [P_max, F]; observation rows, see observation.py.
        vms: float32 [V_max, G].
        vm_pm: int32 [V_max].
        vm_mask: int8 [V_max], pm_mask: int8 [P_max]; 1 where a row is a VM or PM, 0 where it is
            padding. vm_legal: int8 [N]; the first ply's mask. dest_legal: int8 [N]; the second
            ply's mask.
    """

    ints: np.ndarray
    floats: np.ndarray
    pms: np.ndarray
    vms: np.ndarray
    vm_pm: np.ndarray
    vm_mask: np.ndarray
    pm_mask: np.ndarray
    vm_legal: np.ndarray
    dest_legal: np.ndarray


def pack(
    cluster: Cluster, static: Static, state: State, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The two flat buffers of an episode: int64 and float64. `present` is bool [V]."""
    n_pms, n_vms, n_flavors = cluster.n_pms, cluster.n_vms, len(cluster.flavor_names)
    sizes = np.diff(static.set_start)
    in_sets = np.flatnonzero(np.diff(static.vm_set_start))
    rack_size = int(np.bincount(static.pm_rack).max())
    reach = np.where(static.set_by_rack, rack_size, 1) * np.maximum(sizes - 1, 0) * 2
    barred = np.zeros(n_vms, np.int64)
    np.add.at(
        barred, np.repeat(np.arange(n_vms), np.diff(static.vm_set_start)), reach[static.vm_sets]
    )
    header = np.zeros(HEADER, np.int64)
    header[: OBJECTIVE + 1] = (
        n_pms, n_vms, n_flavors, len(sizes), len(static.set_vms), len(in_sets),
        static.unit, static.mnl, static.pm_move_cap, static.objective,
    )  # fmt: skip
    header[CHOSEN] = -1
    by_flavor = np.bincount(static.vm_flavor, minlength=n_flavors)
    parts = (
        header,
        *static[:14],
        *state,
        np.zeros(n_flavors, np.int64),
        np.concatenate([[0], np.cumsum(by_flavor)]),
        np.argsort(static.vm_flavor, kind="stable"),
        in_sets,
        barred,
        present,
    )
    ints = np.concatenate([np.asarray(part, np.int64).ravel() for part in parts])
    floats = np.zeros(N_FLOATS)
    floats[GOAL_RATE] = static.goal_rate
    floats[WEIGHTS : WEIGHTS + 3] = static.weights
    floats[CPU_SCALE] = max(1, cluster.numa_cpu.sum(axis=1).max())
    floats[MEM_SCALE] = max(1, cluster.numa_mem.sum(axis=1).max())
    return ints, floats


@njit(cache=True)
def _take(ints: np.ndarray, at: int, size: int) -> tuple[np.ndarray, int]:
    return ints[at : at + size], at + size


@njit(cache=True)
def unpack(ints: np.ndarray, floats: np.ndarray) -> tuple[Static, State, Index]:
    """Views into the buffers, for compiled code that leaves the buffers with its caller."""
    ints, floats = borrow(ints), borrow(floats)
    p, v, k = ints[N_PMS], ints[N_VMS], ints[N_FLAVORS]
    s, m = ints[N_SETS], ints[N_MEMBERS]
    pm_status, at = _take(ints, HEADER, p)
    pm_rack, at = _take(ints, at, p)
    pm_nodes, at = _take(ints, at, p)
    pm_drain, at = _take(ints, at, p)
    flavor_cpu, at = _take(ints, at, k)
    flavor_mem, at = _take(ints, at, k)
    flavor_nodes, at = _take(ints, at, k)
    vm_flavor, at = _take(ints, at, v)
    vm_pinned, at = _take(ints, at, v)
    vm_set_start, at = _take(ints, at, v + 1)
    vm_sets, at = _take(ints, at, m)
    set_start, at = _take(ints, at, s + 1)
    set_vms, at = _take(ints, at, m)
    set_by_rack, at = _take(ints, at, s)
    free_cpu, at = _take(ints, at, 2 * p)
    free_mem, at = _take(ints, at, 2 * p)
    vm_pm, at = _take(ints, at, v)
    vm_numa, at = _take(ints, at, v)
    pm_moves, at = _take(ints, at, p)
    totals, at = _take(ints, at, 7)
    rooms, at = _take(ints, at, k)
    flavor_start, at = _take(ints, at, k + 1)
    flavor_vms, at = _take(ints, at, v)
    in_sets, at = _take(ints, at, ints[N_IN_SETS])
    barred, at = _take(ints, at, v)
    present, at = _take(ints, at, v)
    static = Static(
        pm_status, pm_rack, pm_nodes, pm_drain, flavor_cpu, flavor_mem, flavor_nodes, vm_flavor,
        vm_pinned, vm_set_start, vm_sets, set_start, set_vms, set_by_rack,
        ints[UNIT], ints[MNL], ints[MOVE_CAP], ints[OBJECTIVE], floats[GOAL_RATE],
        floats[WEIGHTS : WEIGHTS + 3],
    )  # fmt: skip
    state = State(
        free_cpu.reshape((p, 2)), free_mem.reshape((p, 2)), vm_pm, vm_numa, pm_moves, totals
    )
    return static, state, Index(rooms, flavor_start, flavor_vms, in_sets, barred, present)


def state_of(episode: Episode) -> State:
    """The current State, as copies."""
    return State(*_copies(episode.ints, episode.floats))


@njit(cache=True)
def _copies(ints: np.ndarray, floats: np.ndarray) -> State:
    _, state, _ = unpack(ints, floats)
    return State(
        state.free_cpu.copy(),
        state.free_mem.copy(),
        state.vm_pm.copy(),
        state.vm_numa.copy(),
        state.pm_moves.copy(),
        state.totals.copy(),
    )
