"""What an agent sees: VMR2L's features of PMs and VMs, and the space they are in.

The graph form of VMR2L (EuroSys 2025): a VM's row holds its own features, and its host's row is one
gather away, `pms[vm_pm]`. After a move only the rows of the two PMs and of the VM moved are
computed again, from integers; so no row is ever stale and node 0's and node 1's columns are never
mixed up (both happen in the published environment).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from gymnasium import spaces
from numba import njit

from ...datasets.vm_rescheduling.instance import ACTIVE, LARGE_MEM_MB
from .dynamics import State, Static, accepts, releases
from .packed import CPU_SCALE, MEM_SCALE

# Columns of a PM's row.
Pm = IntEnum(
    "Pm",
    (
        "FREE_CPU_0", "FREE_CPU_1", "FREE_MEM_0", "FREE_MEM_1",  # of the largest PM's total
        "FRAGMENT_OF_FREE_0", "FRAGMENT_OF_FREE_1",  # (free mod 16) / free
        "RESIDUE_0", "RESIDUE_1",  # (free mod 16) / 16
        "MEM_RESIDUE_0", "MEM_RESIDUE_1",  # (free memory mod 64 GiB) / 64 GiB
        "ACCEPTS", "RELEASES",  # status and move cap let VMs enter, leave
        "ACTIVE", "DRAIN", "TWO_NODES",
    ),
    start=0,
)  # fmt: skip
# Columns of a VM's row.
Vm = IntEnum(
    "Vm",
    (
        "CPU_0", "CPU_1", "MEM_0", "MEM_1",  # on each node, of the largest PM's total
        "RESIDUE_0", "RESIDUE_1",  # (CPU mod 16) / 16 on each node
        "MOVABLE", "APART_BY_HOST", "APART_BY_RACK",
    ),
    start=0,
)  # fmt: skip
PM_FEATURES, VM_FEATURES = (tuple(column.name.lower() for column in kind) for kind in (Pm, Vm))
# Columns that each NUMA node has one of.
PM_FREE_CPU = (Pm.FREE_CPU_0, Pm.FREE_CPU_1)
PM_FREE_MEM = (Pm.FREE_MEM_0, Pm.FREE_MEM_1)
PM_FRAGMENT = (Pm.FRAGMENT_OF_FREE_0, Pm.FRAGMENT_OF_FREE_1)
PM_RESIDUE = (Pm.RESIDUE_0, Pm.RESIDUE_1)
PM_MEM_RESIDUE = (Pm.MEM_RESIDUE_0, Pm.MEM_RESIDUE_1)
VM_CPU = (Vm.CPU_0, Vm.CPU_1)
VM_MEM = (Vm.MEM_0, Vm.MEM_1)
VM_RESIDUE = (Vm.RESIDUE_0, Vm.RESIDUE_1)


def observation_space(max_pms: int, max_vms: int, n_actions: int) -> spaces.Dict:
    """Make the space of padded observations; see the environment's docstring.

    Args:
        max_pms: rows for PMs.
        max_vms: rows for VMs.
        n_actions: length of the mask.
    """
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
    """Fill a PM's row.

    Args:
        static: the cluster.
        state: where the VMs are.
        floats: scales of the features, see packed.py.
        row: float32 [F], by `Pm`.
        pm: the PM.
    """
    unit = static.unit
    for node in range(2):
        cpu, mem = state.free_cpu[pm, node], state.free_mem[pm, node]
        row[PM_FREE_CPU[node]] = cpu / floats[CPU_SCALE]
        row[PM_FREE_MEM[node]] = mem / floats[MEM_SCALE]
        row[PM_FRAGMENT[node]] = (cpu % unit) / cpu if cpu > 0 else 0.0
        row[PM_RESIDUE[node]] = (cpu % unit) / unit
        row[PM_MEM_RESIDUE[node]] = (mem % LARGE_MEM_MB) / LARGE_MEM_MB
    status, moves, cap = static.pm_status[pm], state.pm_moves[pm], static.pm_move_cap
    row[Pm.ACCEPTS] = 1.0 if accepts(status, moves, cap) else 0.0
    row[Pm.RELEASES] = 1.0 if releases(status, moves, cap) else 0.0
    row[Pm.ACTIVE] = 1.0 if status == ACTIVE else 0.0
    row[Pm.DRAIN] = 1.0 if static.pm_drain[pm] else 0.0
    row[Pm.TWO_NODES] = 1.0 if static.pm_nodes[pm] == 2 else 0.0


@njit(cache=True)
def write_vm(static: Static, state: State, floats: np.ndarray, row: np.ndarray, vm: int) -> None:
    """Fill a VM's row.

    Args:
        static: the cluster.
        state: where the VMs are.
        floats: scales of the features, see packed.py.
        row: float32 [G], by `Vm`.
        vm: the VM.
    """
    flavor = static.vm_flavor[vm]
    cpu, mem = static.flavor_cpu[flavor], static.flavor_mem[flavor]
    for node in range(2):
        here = 1.0 if static.flavor_nodes[flavor] == 2 or state.vm_numa[vm] == node else 0.0
        row[VM_CPU[node]] = here * cpu / floats[CPU_SCALE]
        row[VM_MEM[node]] = min(1.0, here * mem / floats[MEM_SCALE])
        row[VM_RESIDUE[node]] = here * (cpu % static.unit) / static.unit
    row[Vm.MOVABLE] = 0.0 if static.vm_pinned[vm] else 1.0
    row[Vm.APART_BY_HOST], row[Vm.APART_BY_RACK] = 0.0, 0.0
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        by_rack = static.set_by_rack[static.vm_sets[i]]
        row[Vm.APART_BY_RACK if by_rack else Vm.APART_BY_HOST] = 1.0
