"""Cluster: one VM-rescheduling problem, a snapshot of a data center and the task set on it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...core.fields import array, choice, declared, names, number, whole
from ...core.instance import Instance

ACTIVE, DISABLED, OUTAGE = 0, 1, 2
STATUS_NAMES = ("ACTIVE", "DISABLED", "OUTAGE")
OBJECTIVES = ("fragment_rate", "mixed", "moves_to_goal", "drain")
MODES = ("static", "live")
FRAGMENT_CORES = 16
LARGE_CORES = 64
LARGE_MEM_MB = 64 * 1024
PEAK_CHURN_PER_MIN = 175.0


@declared
class Cluster(Instance):
    """A snapshot of P physical machines (PMs) hosting V virtual machines (VMs) of K flavors, and a
    task.

    A VM sits on one NUMA node, or, if its flavor has two nodes, half on each of the PM's two.
    CPU is measured in parts of a core, `cpu_per_core` to one.
    """

    FAMILY: ClassVar[str] = "vm_rescheduling"

    pm_ids: tuple[str, ...] = names(
        "P", "The PMs.", empty="the cluster has no hosts; there is nothing to reschedule"
    )
    pm_status: np.ndarray = array(
        "int8", "P",
        "ACTIVE; DISABLED (VMs may leave, none may enter); OUTAGE (none may leave or enter). Only "
        "ACTIVE PMs count in the objectives.",
        low=0, high=len(STATUS_NAMES) - 1,
    )  # fmt: skip
    pm_rack: np.ndarray = array("int64", "P", "Rack of each PM.")
    numa_cpu: np.ndarray = array(
        "int64", "P,2", "Capacity of each NUMA node; 0 where a PM has one node.",
        low=0, high=10**9, unit="1/cpu_per_core cores",
    )  # fmt: skip
    numa_mem: np.ndarray = array(
        "int64", "P,2", "Memory of each NUMA node.", low=0, high=10**12, unit="MB"
    )
    flavor_names: tuple[str, ...] = names("K", "The flavors.", unique=False, stored="flavour_names")
    flavor_cpu: np.ndarray = array(
        "int64", "K", "Demand on each node used.",
        low=0, high=10**9, unit="1/cpu_per_core cores", stored="flavour_cpu",
    )  # fmt: skip
    flavor_mem: np.ndarray = array(
        "int64", "K", "Demand on each node used.",
        low=0, high=10**12, unit="MB", stored="flavour_mem",
    )  # fmt: skip
    flavor_nodes: np.ndarray = array(
        "int64", "K", "Nodes that a VM uses.", low=1, high=2, stored="flavour_nodes"
    )
    vm_ids: tuple[str, ...] = names(
        "V", "The VMs.", empty="the cluster has no VMs; there is nothing to reschedule"
    )
    vm_flavor: np.ndarray = array(
        "int64", "V", "Flavor of each VM.", low=0, high="K-1", stored="vm_flavour"
    )
    vm_pm: np.ndarray = array("int64", "V", "Host of each VM.", low=0, high="P-1")
    vm_numa: np.ndarray = array(
        "int64", "V", "Node of each VM; 0 for VMs on two nodes.", low=0, high=1
    )
    vm_pinned: np.ndarray = array("bool", "V", "VMs that must not move (allow_migration false).")
    set_start: np.ndarray = array(
        "int64", "S+1", "Deployment set s holds set_vms[set_start[s]:set_start[s+1]]."
    )
    set_vms: np.ndarray = array(
        "int64", "M", "VMs of the deployment sets, set by set.", low=0, high="V-1"
    )
    set_by_rack: np.ndarray = array(
        "bool", "S", "No VM may move to a host (or, if True, a rack) that holds another of its set."
    )
    cpu_per_core: int = whole("Units of CPU in one core (1, or 1000 for millicores).", low=1)
    mnl: int = whole(
        "Migration number limit, the most moves in a plan.",
        low=1, remedy="a plan needs at least one move (mnl >= 1)",
    )  # fmt: skip
    pm_move_cap: int = whole(
        "The most moves a PM may take part in, as source or destination; 0 for no limit.",
        low=0, remedy="give 0 for no limit, or a positive number",
    )  # fmt: skip
    objective: str = choice(OBJECTIVES, "What a plan is for; see the family's documentation.")
    goal_rate: float = number(
        "The 16-core fragment rate to reach (objective moves_to_goal).",
        low=0, high=1, remedy="a fragment rate lies between 0 and 1",
    )  # fmt: skip
    drain_pms: np.ndarray = array(
        "int64", "D", "The PMs to empty (objective drain).", low=0, high="P-1"
    )
    weights: np.ndarray = array(
        "float64", "3",
        "Of the 16-core, 64-core and 64-GiB memory fragment rates (objective mixed).",
        low=0, remedy="the weights of the rates must be finite, not negative, and not all 0",
    )  # fmt: skip
    mode: str = choice(MODES, "In live mode VMs arrive and leave while a contender computes.")
    churn_per_min: float = number(
        "VM arrivals and exits together, in live mode.",
        low=0, unit="1/min", remedy="give a finite rate of at least 0",
    )  # fmt: skip

    @property
    def n_pms(self) -> int:
        """Number of PMs, P."""
        return len(self.pm_ids)

    @property
    def n_vms(self) -> int:
        """Number of VMs, V."""
        return len(self.vm_ids)

    @property
    def fragment_unit(self) -> int:
        """CPU of 16 cores, in units of 1/cpu_per_core cores."""
        return FRAGMENT_CORES * self.cpu_per_core

    def free(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the free resources of each NUMA node.

        Returns:
            CPU in 1/cpu_per_core cores, and memory in MB, both int64 [P, 2].
        """
        free_cpu, free_mem = self.numa_cpu.copy(), self.numa_mem.copy()
        for node in (0, 1):
            here = (self.vm_numa == node) | (self.flavor_nodes[self.vm_flavor] == 2)
            flavor = self.vm_flavor[here]
            np.subtract.at(free_cpu[:, node], self.vm_pm[here], self.flavor_cpu[flavor])
            np.subtract.at(free_mem[:, node], self.vm_pm[here], self.flavor_mem[flavor])
        return free_cpu, free_mem

    def check(self) -> None:
        """Refuse impossible deployment sets, weights, drains and placements.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """
        starts = self.set_start
        if starts[0] != 0 or starts[-1] != len(self.set_vms) or (np.diff(starts) < 0).any():
            self.refuse(
                f"set_start {starts.tolist()} must rise from 0 to {len(self.set_vms)}, the members "
                "of all deployment sets"
            )
        halves = np.flatnonzero((self.flavor_nodes[self.vm_flavor] == 2) & (self.vm_numa != 0))
        if halves.size:
            vm = halves[0]
            self.refuse(f"vm_numa[{vm}] is {self.vm_numa[vm]}; it is 0 for a VM on two nodes")
        if self.objective == "drain" and len(self.drain_pms) == 0:
            self.refuse("objective drain needs hosts to drain; set drain=HOST,HOST")
        if not self.weights.any():
            self.refuse(f"weights {self.weights.tolist()} must be finite and not all 0")
        free_cpu, free_mem = self.free()
        for what, free in (("CPU", free_cpu), ("memory", free_mem)):
            pm, node = np.unravel_index(int(free.argmin()), free.shape)
            if free[pm, node] < 0:
                self.refuse(
                    f"host {self.pm_ids[pm]!r} is over-committed: the VMs on its NUMA node {node} "
                    f"need {-free[pm, node]} more {what} than it has; correct the snapshot"
                )


DEFAULT_TASK = {
    "cpu_per_core": 1,
    "mnl": 50,
    "pm_move_cap": 0,
    "objective": "fragment_rate",
    "goal_rate": 0.4,
    "drain_pms": np.zeros(0, np.int64),
    "weights": np.array([0.5, 0.25, 0.25]),
    "mode": "static",
    "churn_per_min": PEAK_CHURN_PER_MIN,
}
