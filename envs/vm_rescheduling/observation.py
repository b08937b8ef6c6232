"""What an agent sees: VMR2L's features of PMs and VMs, and the space they are in.

The graph form of VMR2L (EuroSys 2025): a VM's row holds its own features, and its host's row is one
gather away, `pms[vm_pm]`. After a move only the rows of the two PMs and of the VM moved are
computed again, from integers; so no row is ever stale and node 0's and node 1's columns are never
mixed up (both happen in the published environment).
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numba import njit

from ...datasets.vm_rescheduling.instance import ACTIVE, LARGE_MEM_MB
from .dynamics import State, Static, accepts, releases
from .packed import CPU_SCALE, MEM_SCALE

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


def observation_space(max_pms: int, max_vms: int, n_actions: int) -> spaces.Dict:
    """Make the space of padded observations; see the environment's docstring."""
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
    """Fill a PM's row, float32 [len(PM_FEATURES)]; `floats` holds the scales (packed.py)."""
    unit = static.unit
    for node in range(2):
        cpu, mem = state.free_cpu[pm, node], state.free_mem[pm, node]
        row[node] = cpu / floats[CPU_SCALE]
        row[2 + node] = mem / floats[MEM_SCALE]
        row[4 + node] = (cpu % unit) / cpu if cpu > 0 else 0.0
        row[6 + node] = (cpu % unit) / unit
        row[8 + node] = (mem % LARGE_MEM_MB) / LARGE_MEM_MB
    status, moves, cap = static.pm_status[pm], state.pm_moves[pm], static.pm_move_cap
    row[10] = 1.0 if accepts(status, moves, cap) else 0.0
    row[11] = 1.0 if releases(status, moves, cap) else 0.0
    row[12] = 1.0 if status == ACTIVE else 0.0
    row[13] = 1.0 if static.pm_drain[pm] else 0.0
    row[14] = 1.0 if static.pm_nodes[pm] == 2 else 0.0


@njit(cache=True)
def write_vm(static: Static, state: State, floats: np.ndarray, row: np.ndarray, vm: int) -> None:
    """Fill a VM's row, float32 [len(VM_FEATURES)]; `floats` holds the scales (packed.py)."""
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
