"""Cluster: one VM-rescheduling problem, a data-center snapshot and the task set on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.errors import InstanceError
from ...core.instance import Instance

ACTIVE, DISABLED, OUTAGE = 0, 1, 2
STATUS_NAMES = ("ACTIVE", "DISABLED", "OUTAGE")
OBJECTIVES = ("fragment_rate", "mixed", "moves_to_goal", "drain")
MODES = ("static", "live")
FRAGMENT_CORES = 16
LARGE_CORES = 64
LARGE_MEM_MB = 64 * 1024
PEAK_CHURN_PER_MIN = 175.0


@dataclass(frozen=True, slots=True, eq=False)
class Cluster(Instance):
    """A snapshot of P physical machines (PMs) hosting V virtual machines (VMs) of K flavors, and a
    task.

    A VM sits on one NUMA node, or, if its flavor has two nodes, half on each of the PM's two.

    Attributes:
        pm_ids: P names.
        pm_status: int8 [P]; ACTIVE; DISABLED (VMs may leave, none may enter); OUTAGE (none may
            leave or enter). Only ACTIVE PMs count in the objectives.
        pm_rack: int64 [P]; rack of each PM.
        numa_cpu: int64 [P, 2]; capacity of each NUMA node in 1/cpu_per_core cores; 0 where a PM has
            one node.
        numa_mem: int64 [P, 2]; memory of each NUMA node in MB.
        flavor_names: K names.
        flavor_cpu: int64 [K]; demand on each node used, in 1/cpu_per_core cores.
        flavor_mem: int64 [K]; demand on each node used, in MB.
        flavor_nodes: int64 [K]; 1 or 2 nodes used.
        vm_ids: V names.
        vm_flavor: int64 [V].
        vm_pm: int64 [V]; host of each VM.
        vm_numa: int64 [V]; node of each VM; 0 for VMs on two nodes.
        vm_pinned: bool [V]; VMs that must not move (allow_migration false).
        set_start: int64 [S+1]; deployment set s holds set_vms[set_start[s]:set_start[s+1]].
        set_vms: int64 [...]; VM indices.
        set_by_rack: bool [S]; no VM may move to a host (or, if True, a rack) that holds another of
            its set.
        cpu_per_core: units of CPU in one core (1, or 1000 for millicores).
        mnl: migration number limit, the most moves in a plan.
        pm_move_cap: the most moves a PM may take part in, as source or destination; 0 for no limit.
        objective: one of OBJECTIVES.
        goal_rate: the 16-core fragment rate to reach (objective moves_to_goal).
        drain_pms: int64 [D]; the PMs to empty (objective drain).
        weights: float64 [3]; of the 16-core, 64-core and 64-GiB memory fragment rates (objective
            mixed).
        mode: static, or live: VMs arrive and leave while a contender computes.
        churn_per_min: VM arrivals and exits together, a minute, in live mode.
    """

    FAMILY: ClassVar[str] = "vm_rescheduling"
    STORED_NAMES: ClassVar[Mapping[str, str]] = {
        "flavor_names": "flavour_names",
        "flavor_cpu": "flavour_cpu",
        "flavor_mem": "flavour_mem",
        "flavor_nodes": "flavour_nodes",
        "vm_flavor": "vm_flavour",
    }

    pm_ids: tuple[str, ...]
    pm_status: np.ndarray
    pm_rack: np.ndarray
    numa_cpu: np.ndarray
    numa_mem: np.ndarray
    flavor_names: tuple[str, ...]
    flavor_cpu: np.ndarray
    flavor_mem: np.ndarray
    flavor_nodes: np.ndarray
    vm_ids: tuple[str, ...]
    vm_flavor: np.ndarray
    vm_pm: np.ndarray
    vm_numa: np.ndarray
    vm_pinned: np.ndarray
    set_start: np.ndarray
    set_vms: np.ndarray
    set_by_rack: np.ndarray
    cpu_per_core: int
    mnl: int
    pm_move_cap: int
    objective: str
    goal_rate: float
    drain_pms: np.ndarray
    weights: np.ndarray
    mode: str
    churn_per_min: float

    @property
    def n_pms(self) -> int:
        """P."""
        return len(self.pm_ids)

    @property
    def n_vms(self) -> int:
        """V."""
        return len(self.vm_ids)

    @property
    def fragment_unit(self) -> int:
        """16 cores, in the instance's unit of CPU."""
        return FRAGMENT_CORES * self.cpu_per_core

    def free(self) -> tuple[np.ndarray, np.ndarray]:
        """Free CPU and memory of every NUMA node as placed, both int64 [P, 2]."""
        free_cpu, free_mem = self.numa_cpu.copy(), self.numa_mem.copy()
        for node in (0, 1):
            here = (self.vm_numa == node) | (self.flavor_nodes[self.vm_flavor] == 2)
            flavor = self.vm_flavor[here]
            np.subtract.at(free_cpu[:, node], self.vm_pm[here], self.flavor_cpu[flavor])
            np.subtract.at(free_mem[:, node], self.vm_pm[here], self.flavor_mem[flavor])
        return free_cpu, free_mem

    def check(self) -> None:
        """Refuses impossible clusters.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """
        p, v, k = len(self.pm_ids), len(self.vm_ids), len(self.flavor_names)
        s = len(self.set_by_rack)
        shapes = {
            "pm_status": (p,), "pm_rack": (p,), "numa_cpu": (p, 2), "numa_mem": (p, 2),
            "flavor_cpu": (k,), "flavor_mem": (k,), "flavor_nodes": (k,), "vm_flavor": (v,),
            "vm_pm": (v,), "vm_numa": (v,), "vm_pinned": (v,), "set_start": (s + 1,),
            "weights": (3,),
        }  # fmt: skip
        for field, shape in shapes.items():
            if getattr(self, field).shape != shape:
                self._refuse(f"{field} has shape {getattr(self, field).shape}, expected {shape}")
        self._check_kinds()
        if p == 0:
            self._refuse("the cluster has no hosts; there is nothing to reschedule")
        if v == 0:
            self._refuse("the cluster has no VMs; there is nothing to reschedule")
        self._check_names()
        self._check_ranges(p, v, k)
        free_cpu, free_mem = self.free()
        for what, free in (("CPU", free_cpu), ("memory", free_mem)):
            pm, node = np.unravel_index(int(free.argmin()), free.shape)
            if free[pm, node] < 0:
                self._refuse(
                    f"host {self.pm_ids[pm]!r} is over-committed: the VMs on its NUMA node {node} "
                    f"need {-free[pm, node]} more {what} than it has; correct the snapshot"
                )

    def _check_kinds(self) -> None:
        """Whole numbers must come as integers, so that no NaN slips through a comparison."""
        for spec in dataclasses.fields(self):
            values = getattr(self, spec.name)
            if not isinstance(values, np.ndarray):
                continue
            kind = {"weights": "f", "vm_pinned": "b", "set_by_rack": "b"}.get(spec.name, "i")
            if values.dtype.kind != kind:
                names = {"f": "float64", "b": "bool", "i": "int64"}
                self._refuse(f"{spec.name} has dtype {values.dtype}, expected {names[kind]}")

    def _check_names(self) -> None:
        for field in ("pm_ids", "vm_ids"):
            names: Sequence[str] = getattr(self, field)
            if len(set(names)) < len(names):
                twice = next(name for i, name in enumerate(names) if name in names[:i])
                self._refuse(f"{field}: {twice!r} appears twice; ids must be unique")

    def _check_ranges(self, p: int, v: int, k: int) -> None:
        low_high = {
            "pm_status": (0, 2), "numa_cpu": (0, 10**9), "numa_mem": (0, 10**12),
            "flavor_cpu": (1, 10**9), "flavor_mem": (0, 10**12), "flavor_nodes": (1, 2),
            "vm_flavor": (0, k - 1), "vm_pm": (0, p - 1), "vm_numa": (0, 1),
            "set_vms": (0, v - 1), "drain_pms": (0, p - 1),
        }  # fmt: skip
        for field, (low, high) in low_high.items():
            values = getattr(self, field)
            bad = np.argwhere((values < low) | (values > high))
            if bad.size:
                row = tuple(bad[0])
                self._refuse(f"{field}[{row[0]}] is {values[row]}, outside {low}..{high}")
        starts = self.set_start
        if starts[0] != 0 or starts[-1] != len(self.set_vms) or (np.diff(starts) < 0).any():
            self._refuse(
                f"set_start {starts.tolist()} must rise from 0 to {len(self.set_vms)}, the members "
                "of all deployment sets"
            )
        halves = np.flatnonzero((self.flavor_nodes[self.vm_flavor] == 2) & (self.vm_numa != 0))
        if halves.size:
            vm = halves[0]
            self._refuse(f"vm_numa[{vm}] is {self.vm_numa[vm]}; it is 0 for a VM on two nodes")
        if self.mnl < 1:
            self._refuse(f"mnl is {self.mnl}; a plan needs at least one move (mnl >= 1)")
        if self.pm_move_cap < 0:
            self._refuse(
                f"pm_move_cap is {self.pm_move_cap}; give 0 for no limit, or a positive number"
            )
        if self.objective not in OBJECTIVES:
            self._refuse(f"objective {self.objective!r} is unknown; known: {', '.join(OBJECTIVES)}")
        if self.mode not in MODES:
            self._refuse(f"mode {self.mode!r} is unknown; known: {', '.join(MODES)}")
        if self.objective == "drain" and len(self.drain_pms) == 0:
            self._refuse("objective drain needs hosts to drain; set drain=HOST,HOST")
        if not (0.0 <= self.goal_rate <= 1.0):
            self._refuse(f"goal_rate is {self.goal_rate}; a fragment rate lies between 0 and 1")
        if not (
            np.all(self.weights >= 0) and np.isfinite(self.weights).all() and self.weights.sum() > 0
        ):
            self._refuse(
                f"weights {self.weights.tolist()} must be finite, not negative, and not all 0"
            )
        if not (np.isfinite(self.churn_per_min) and self.churn_per_min >= 0):
            self._refuse(f"churn_per_min is {self.churn_per_min}; give a finite rate of at least 0")

    def _refuse(self, why: str) -> None:
        raise InstanceError(f"{self.name}: {why}")


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
