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

from ...datasets.hosts import LARGE_MEM_MB
from ...datasets.vm_rescheduling.instance import ACTIVE
from .dynamics import State, Static, accepts, releases
from .packed import CPU_SCALE, MEM_SCALE

# Columns of a PM's row that each NUMA node has one of, and after them those of the PM itself.
PM_OF_NODES = (
    "free_cpu", "free_mem",  # of the largest PM's total
    "fragment_of_free",  # (free mod 16) / free
    "residue",  # (free mod 16) / 16
    "mem_residue",  # (free memory mod 64 GiB) / 64 GiB
)  # fmt: skip
# Status and move cap let VMs enter, leave; the last is 0 for one NUMA node, 1 for the most.
PM_OWN = ("accepts", "releases", "active", "drain", "two_nodes")
# Columns of a VM's row, likewise: on each node, CPU and memory of the largest PM's total, and (CPU
# mod 16) / 16.
VM_OF_NODES = ("cpu", "mem", "residue")
VM_OWN = ("movable", "apart_by_host", "apart_by_rack")


def pm_features(nodes: int = 2) -> tuple[str, ...]:
    """Return the names of the columns of a PM's row.

    Args:
        nodes: the most NUMA nodes of a PM, at least 2.
    """
    return (*(f"{name}_{node}" for name in PM_OF_NODES for node in range(nodes)), *PM_OWN)


def vm_features(nodes: int = 2) -> tuple[str, ...]:
    """Return the names of the columns of a VM's row.

    Args:
        nodes: the most NUMA nodes of a PM, at least 2.
    """
    return (*(f"{name}_{node}" for name in VM_OF_NODES for node in range(nodes)), *VM_OWN)


# The columns where PMs have at most two nodes, which the shipped policies are for.
Pm = IntEnum(
    "Pm",
    (
        "FREE_CPU_0", "FREE_CPU_1", "FREE_MEM_0", "FREE_MEM_1",
        "FRAGMENT_OF_FREE_0", "FRAGMENT_OF_FREE_1", "RESIDUE_0", "RESIDUE_1",
        "MEM_RESIDUE_0", "MEM_RESIDUE_1",
        "ACCEPTS", "RELEASES", "ACTIVE", "DRAIN", "TWO_NODES",
    ),
    start=0,
)  # fmt: skip
Vm = IntEnum(
    "Vm",
    (
        "CPU_0", "CPU_1", "MEM_0", "MEM_1", "RESIDUE_0", "RESIDUE_1",
        "MOVABLE", "APART_BY_HOST", "APART_BY_RACK",
    ),
    start=0,
)  # fmt: skip
PM_FEATURES, VM_FEATURES = pm_features(), vm_features()
# Columns that each NUMA node has one of.
PM_FREE_CPU = (Pm.FREE_CPU_0, Pm.FREE_CPU_1)
PM_FREE_MEM = (Pm.FREE_MEM_0, Pm.FREE_MEM_1)
PM_FRAGMENT = (Pm.FRAGMENT_OF_FREE_0, Pm.FRAGMENT_OF_FREE_1)
PM_RESIDUE = (Pm.RESIDUE_0, Pm.RESIDUE_1)
PM_MEM_RESIDUE = (Pm.MEM_RESIDUE_0, Pm.MEM_RESIDUE_1)
VM_CPU = (Vm.CPU_0, Vm.CPU_1)
VM_MEM = (Vm.MEM_0, Vm.MEM_1)
VM_RESIDUE = (Vm.RESIDUE_0, Vm.RESIDUE_1)
# For compiled code: the columns of node n are kind * N + n, and the row's own ones come last.
N_PM_KINDS, N_VM_KINDS, N_PM_OWN, N_VM_OWN = map(len, (PM_OF_NODES, VM_OF_NODES, PM_OWN, VM_OWN))


def observation_space(
    max_pms: int, max_vms: int, n_actions: int, nodes: int = 2, destinations: int = 0
) -> spaces.Dict:
    """Make the space of padded observations; see the environment's docstring.

    Args:
        max_pms: rows for PMs.
        max_vms: rows for VMs.
        n_actions: length of the mask.
        nodes: the most NUMA nodes of a PM, at least 2.
        destinations: bytes of the second masks of each VM; 0 leaves them out.
    """
    masks: dict[str, spaces.Space[np.ndarray]] = {}
    if destinations:
        masks["destinations"] = spaces.Box(0, 255, (max_vms, destinations), np.uint8)
    return spaces.Dict(
        {
            "pms": spaces.Box(0.0, 1.0, (max_pms, len(pm_features(nodes))), np.float32),
            "vms": spaces.Box(0.0, 1.0, (max_vms, len(vm_features(nodes))), np.float32),
            "vm_pm": spaces.Box(0, max_pms - 1, (max_vms,), np.int32),
            "pm_mask": spaces.MultiBinary(max_pms),
            "vm_mask": spaces.MultiBinary(max_vms),
            "chosen_vm": spaces.Box(-1, max_vms - 1, (1,), np.int32),
            "phase": spaces.MultiBinary(1),
            "progress": spaces.Box(0.0, 1.0, (1,), np.float32),
            "action_mask": spaces.Box(0, 1, (n_actions,), np.int8),
        }
        | masks
    )


@njit(cache=True)
def write_pm(static: Static, state: State, floats: np.ndarray, row: np.ndarray, pm: int) -> None:
    """Fill a PM's row.

    Args:
        static: the cluster.
        state: where the VMs are.
        floats: scales of the features, see packed.py.
        row: float32 [F], by `pm_features`.
        pm: the PM.
    """
    unit = static.unit
    width = (len(row) - N_PM_OWN) // N_PM_KINDS  # nodes that the row has columns for
    row[:] = 0.0
    for node in range(state.free_cpu.shape[1]):
        cpu, mem = state.free_cpu[pm, node], state.free_mem[pm, node]
        row[node] = cpu / floats[CPU_SCALE]
        row[width + node] = mem / floats[MEM_SCALE]
        row[2 * width + node] = (cpu % unit) / cpu if cpu > 0 else 0.0
        row[3 * width + node] = (cpu % unit) / unit
        row[4 * width + node] = (mem % LARGE_MEM_MB) / LARGE_MEM_MB
    status, moves, cap = static.pm_status[pm], state.pm_moves[pm], static.pm_move_cap
    own = row[N_PM_KINDS * width :]
    own[0] = 1.0 if accepts(status, moves, cap) else 0.0
    own[1] = 1.0 if releases(status, moves, cap) else 0.0
    own[2] = 1.0 if status == ACTIVE else 0.0
    own[3] = 1.0 if static.pm_drain[pm] else 0.0
    own[4] = (static.pm_nodes[pm] - 1) / (width - 1)


@njit(cache=True)
def write_vm(static: Static, state: State, floats: np.ndarray, row: np.ndarray, vm: int) -> None:
    """Fill a VM's row.

    Args:
        static: the cluster.
        state: where the VMs are.
        floats: scales of the features, see packed.py.
        row: float32 [G], by `vm_features`.
        vm: the VM.
    """
    width = (len(row) - N_VM_OWN) // N_VM_KINDS
    place = static.vm_flavor[vm] * static.stride + state.vm_numa[vm]
    row[:] = 0.0
    for node in range(static.place_cpu.shape[1]):
        cpu, mem = static.place_cpu[place, node], static.place_mem[place, node]
        row[node] = cpu / floats[CPU_SCALE]
        row[width + node] = min(1.0, mem / floats[MEM_SCALE])
        row[2 * width + node] = (cpu % static.unit) / static.unit
    own = row[N_VM_KINDS * width :]
    own[0] = 0.0 if static.vm_pinned[vm] else 1.0
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        own[2 if static.set_by_rack[static.vm_sets[i]] else 1] = 1.0
