"""Cluster: one VM-rescheduling problem, a snapshot of a data center and the task set on it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...core.fields import BLANK, array, choice, declared, names, number, whole
from ...core.instance import Instance
from ..hosts import ACTIVE as ACTIVE
from ..hosts import DISABLED as DISABLED
from ..hosts import FRAGMENT_CORES, MOST_NODES
from ..hosts import OUTAGE as OUTAGE
from ..hosts import STATUS_NAMES as STATUS_NAMES
from .places import Places, make_places

OBJECTIVES = ("fragment_rate", "mixed", "moves_to_goal", "drain", "admission")
MODES = ("static", "live")
PEAK_CHURN_PER_MIN = 175.0
MOST_CHURN_PER_MIN = 10_000.0  # fifty times the published peak; each event is played one by one
MOST_MOVES = 1_000_000
MOST_ROOM_CORES = 512  # of a NUMA node whose potential is tabulated (objective admission)
MOST_UNITS = 10**9  # of CPU in a core
LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e6
MOST_TOTAL = 2.0**62  # of CPU or memory, added up in 64 bits
MOST_DESTINATIONS = 20_000_000  # places of a VM on all hosts together


@declared
class Cluster(Instance):
    """A snapshot of P physical machines (PMs) hosting V virtual machines (VMs) of K flavors, and a
    task.

    A PM has up to N NUMA nodes. A VM sits on one node, or in parts on several; where its parts lie
    is its place, see places.py. CPU is measured in parts of a core, `cpu_per_core` to one.
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
        "int64", "P,N", "Capacity of each NUMA node; 0 where a PM has fewer. N is 2 or more.",
        low=0, high=10**9, unit="1/cpu_per_core cores",
    )  # fmt: skip
    numa_mem: np.ndarray = array(
        "int64", "P,N", "Memory of each NUMA node.", low=0, high=10**12, unit="MB"
    )
    flavor_names: tuple[str, ...] = names("K", "The flavors.", unique=False, stored="flavour_names")
    flavor_cpu: np.ndarray = array(
        "int64", "K", "Demand on each node used; the largest if they differ.",
        low=0, high=10**9, unit="1/cpu_per_core cores", stored="flavour_cpu",
    )  # fmt: skip
    flavor_mem: np.ndarray = array(
        "int64", "K", "Demand on each node used; the largest if they differ.",
        low=0, high=10**12, unit="MB", stored="flavour_mem",
    )  # fmt: skip
    flavor_nodes: np.ndarray = array(
        "int64",
        "K",
        "Nodes that a VM uses, one for each part.",
        low=1,
        high="N",
        stored="flavour_nodes",
    )
    vm_ids: tuple[str, ...] = names(
        "V", "The VMs.", empty="the cluster has no VMs; there is nothing to reschedule"
    )
    vm_flavor: np.ndarray = array(
        "int64", "V", "Flavor of each VM.", low=0, high="K-1", stored="vm_flavour"
    )
    vm_pm: np.ndarray = array("int64", "V", "Host of each VM.", low=0, high="P-1")
    vm_numa: np.ndarray = array(
        "int64", "V",
        "Place of each VM on its host: its node, or the number of its place if it has several "
        "parts (0 for equal parts on a host of two nodes).",
        low=0,
    )  # fmt: skip
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
    cpu_per_core: int = whole(
        "Units of CPU in one core (1, or 1000 for millicores).", low=1, high=MOST_UNITS
    )
    mnl: int = whole(
        "Migration number limit, the most moves in a plan.",
        low=1, high=MOST_MOVES,
        remedy=f"a plan needs at least one move (mnl >= 1), and {MOST_MOVES} at most",
    )  # fmt: skip
    pm_move_cap: int = whole(
        "The most moves a PM may take part in, as source or destination; 0 for no limit.",
        low=0, high=MOST_MOVES,
        remedy=f"give 0 for no limit, or a positive number, {MOST_MOVES} at most",
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
        low=0, high=MOST_WEIGHT,
        remedy="the weights of the rates must be finite, not negative, not all 0, and no larger "
        f"than {MOST_WEIGHT:g}: only their ratios count",
    )  # fmt: skip
    mode: str = choice(MODES, "In live mode VMs arrive and leave while a contender computes.")
    churn_per_min: float = number(
        "VM arrivals and exits together, in live mode.",
        low=0, high=MOST_CHURN_PER_MIN, unit="1/min",
        remedy=f"give a finite rate from 0 to {MOST_CHURN_PER_MIN:g} (the published peak is "
        f"{PEAK_CHURN_PER_MIN:g}); more would take longer to play than it lasts",
    )  # fmt: skip
    part_cpu: np.ndarray = array(
        "int64", "K,C",
        "Demand of each part of each flavor, where a flavor's parts differ; 0 beyond its parts.",
        low=0, high=10**9, unit="1/cpu_per_core cores", default=BLANK,
    )  # fmt: skip
    part_mem: np.ndarray = array(
        "int64", "K,C", "Likewise.", low=0, high=10**12, unit="MB", default=BLANK
    )
    overcommit: np.ndarray = array(
        "float64", "R",
        "Factors of CPU and memory that numa_cpu and numa_mem have been multiplied by; none if "
        "they are what the hosts have.",
        low=0, default=BLANK,
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

    @property
    def pm_nodes(self) -> np.ndarray:
        """Number of NUMA nodes of each PM, int64 [P], at least 1."""
        there = np.where(self.numa_cpu > 0, np.arange(1, self.n_nodes + 1), 1)
        last: np.ndarray = there.max(axis=1)
        return last

    @property
    def is_plain(self) -> bool:
        """Whether PMs have at most two NUMA nodes, and VMs of two parts have equal ones."""
        return self.numa_cpu.shape[1] == 2 and self.part_cpu.size == 0

    def places(self) -> Places:
        """Return what each flavor needs of each NUMA node in each of its places."""
        return make_places([self.parts_of(k) for k in range(len(self.flavor_cpu))], self.n_nodes)

    @property
    def stride(self) -> int:
        """Destinations a PM: the most places that a flavor has, and at least 2."""
        return 2 if self.is_plain else self.places().stride

    @property
    def n_nodes(self) -> int:
        """The most NUMA nodes of a PM, N, and at least 2."""
        return int(self.numa_cpu.shape[1])

    def parts_of(self, flavor: int) -> tuple[tuple[int, int], ...]:
        """Return CPU and memory of each part of a flavor.

        Args:
            flavor: its index.
        """
        count = int(self.flavor_nodes[flavor])
        if self.part_cpu.size == 0:
            return ((int(self.flavor_cpu[flavor]), int(self.flavor_mem[flavor])),) * count
        cpu, mem = self.part_cpu[flavor, :count].tolist(), self.part_mem[flavor, :count].tolist()
        return tuple(zip(cpu, mem, strict=True))

    def total(self, flavor: int) -> tuple[int, int]:
        """Return CPU and memory that a VM of a flavor needs on all its nodes together.

        Args:
            flavor: its index.
        """
        parts = self.parts_of(flavor)
        return sum(cpu for cpu, _ in parts), sum(mem for _, mem in parts)

    def free(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the free resources of each NUMA node.

        Returns:
            CPU in 1/cpu_per_core cores, and memory in MB, both int64 [P, N].
        """
        places = self.places()
        free_cpu, free_mem = self.numa_cpu.copy(), self.numa_mem.copy()
        np.subtract.at(free_cpu, self.vm_pm, places.cpu[self.vm_flavor, self.vm_numa])
        np.subtract.at(free_mem, self.vm_pm, places.mem[self.vm_flavor, self.vm_numa])
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
        self._check_nodes()
        if self.objective == "drain" and len(self.drain_pms) == 0:
            self.refuse("objective drain needs hosts to drain; set drain=HOST,HOST")
        largest = int(self.numa_cpu.max()) // self.cpu_per_core
        if self.objective == "admission" and largest > MOST_ROOM_CORES:
            self.refuse(
                f"objective admission knows NUMA nodes of up to {MOST_ROOM_CORES} cores, and one "
                f"here has {largest}; choose another objective"
            )
        if self.weights.max() < LEAST_WEIGHT:
            self.refuse(
                f"weights {self.weights.tolist()} must be finite and not all 0 (one of them "
                f"{LEAST_WEIGHT:g} at least); only their ratios count"
            )
        self._check_totals()
        free_cpu, free_mem = self.free()
        for what, free in (("CPU", free_cpu), ("memory", free_mem)):
            pm, node = np.unravel_index(int(free.argmin()), free.shape)
            if free[pm, node] < 0:
                self.refuse(
                    f"host {self.pm_ids[pm]!r} is over-committed: the VMs on its NUMA node {node} "
                    f"need {-free[pm, node]} more {what} than it has; correct the snapshot, or "
                    "give the factors that such hosts are sold by: --set overcommit=CPU,MEMORY"
                )

    def _check_totals(self) -> None:
        """Refuse sizes that do not add up in 64 bits."""
        parts = self.flavor_nodes[self.vm_flavor]
        for what, has, needs in (
            ("CPU", self.numa_cpu, self.flavor_cpu), ("memory", self.numa_mem, self.flavor_mem)
        ):  # fmt: skip
            asked = float(needs[self.vm_flavor].astype(np.float64) @ parts)
            total = max(float(has.sum(dtype=np.float64)), asked)
            if total > MOST_TOTAL:
                self.refuse(
                    f"its hosts have, or its VMs need, {total:.3g} units of {what} together; "
                    "correct the sizes, or split the snapshot by cluster"
                )

    def _check_nodes(self) -> None:
        """Refuse wrong parts of flavors, and places that are none."""
        if self.n_nodes < 2:
            self.refuse("numa_cpu has one column; give hosts of one NUMA node a second one of 0")
        if self.n_nodes > MOST_NODES:
            self.refuse(f"numa_cpu has {self.n_nodes} columns, more than {MOST_NODES} NUMA nodes")
        gaps = np.argwhere((self.numa_cpu[:, 1:] > 0) & (self.numa_cpu[:, :-1] == 0))
        if gaps.size and self.n_nodes > 2:
            self.refuse(
                f"host {self.pm_ids[gaps[0, 0]]!r} has a NUMA node without CPU before others"
            )
        width = self.part_cpu.shape[1]
        if self.part_mem.shape != self.part_cpu.shape or 0 < width < self.flavor_nodes.max():
            self.refuse("part_cpu and part_mem need a column for each part of every flavor")
        if width:
            beyond = np.arange(width) >= self.flavor_nodes[:, None]
            if self.part_cpu[beyond].any() or self.part_mem[beyond].any():
                self.refuse("part_cpu and part_mem must be 0 beyond a flavor's parts")
            largest = self.part_cpu.max(axis=1), self.part_mem.max(axis=1)
            if not all(map(np.array_equal, largest, (self.flavor_cpu, self.flavor_mem))):
                self.refuse("flavor_cpu and flavor_mem must be the largest part of each flavor")
        places = self.places()
        if places.stride * self.n_pms > MOST_DESTINATIONS:
            self.refuse(
                f"{self.n_pms} hosts with {places.stride} places each for a VM are more than "
                f"{MOST_DESTINATIONS}; make the parts of VMs equal, or split the snapshot"
            )
        wrong = np.flatnonzero(self.vm_numa >= places.count[self.vm_flavor])
        if wrong.size:
            vm = int(wrong[0])
            count = int(places.count[self.vm_flavor[vm]])
            self.refuse(
                f"vm_numa[{vm}] is {self.vm_numa[vm]}; a VM of its flavor has the places "
                f"0..{count - 1} on a host"
            )
        top = np.where(places.uses, np.arange(self.n_nodes), 0).max(axis=2)
        outside = np.flatnonzero(top[self.vm_flavor, self.vm_numa] >= self.pm_nodes[self.vm_pm])
        if outside.size:
            vm = int(outside[0])
            self.refuse(
                f"VM {self.vm_ids[vm]!r} is on a NUMA node that its host "
                f"{self.pm_ids[self.vm_pm[vm]]!r} does not have; correct the snapshot"
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
