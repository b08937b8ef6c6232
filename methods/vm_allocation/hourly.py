"""Migrations by a planner at each chance, beside any policy that places requests.

At a chance to migrate, what the observation tells of hosts and VMs becomes a snapshot of the family
vm_rescheduling, whose methods plan up to as many moves as are left. The plan is played in its
order: a move may take the room that an earlier one left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...core.contracts import Policy
from ...core.registry import load_contender
from ...datasets.vm_allocation.instance import DataCenter
from ...datasets.vm_rescheduling.instance import DEFAULT_TASK, Cluster
from ...envs.vm_allocation.observation import Clock, Pm, Vm

SECONDS = 0.4  # of a planner, at each chance
SHARE = 0.5  # of the episode's seconds, for all chances together at most


@dataclass(frozen=True, slots=True)
class Chance:
    """A chance to migrate, as a planner gets it.

    Attributes:
        cluster: the hosts and the V VMs on them as a problem of rescheduling; `mnl` is the number
            of moves that are left.
        vms: float32 [V, 11]; the VMs as observed, by the columns of observation.Vm.
        hosts: float64 [P, 23]; the hosts as observed, by the columns of observation.Pm.
        seconds: that the planner may take.
        seed: of its random numbers.
    """

    cluster: Cluster
    vms: np.ndarray
    hosts: np.ndarray
    seconds: float
    seed: int


Planner = Callable[[Chance], np.ndarray]
"""Returns plies int64 [2n] or [n, 2]: VMs of the cluster and their destinations 2 * PM + node."""


class HourlyMoves:
    """A policy that places requests by another one and makes migrations by a planner.

    The observation does not tell which VMs are of one deployment set, so VMs of sets stay. Nor does
    it tell pinned VMs from those that have no room anywhere: where the data center has pinned ones,
    only VMs that can be moved at once are offered to the planner. A plan ends at its first move
    that the environment does not allow.
    """

    def __init__(self, placing: Policy, planner: Planner, seconds: float = SECONDS) -> None:
        """Join a policy and a planner.

        Args:
            placing: places requests; never asked at a chance to migrate.
            planner: plans the migrations of a chance.
            seconds: that the planner may take at each chance; less where the episode's budget is
                short: all chances together take half of it at most.
        """
        self.placing, self.planner, self.seconds = placing, planner, seconds

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        self.placing.reset(instance, budget, seed)
        self.center, self._stop = instance, instance.n_slots
        self._rng = np.random.default_rng(seed)
        chances = max(1.0, 60.0 * instance.horizon_h / instance.period_min)
        self._limit = min(self.seconds, SHARE * budget.seconds / chances)
        self._plan: list[tuple[int, int]] | None = None
        self._next = 0

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Return the next ply of the plan at a chance to migrate, else the request's place."""
        clock = observation["clock"]
        if clock[Clock.SEND] > 0:
            return self._send(observation, info)
        if clock[Clock.CHOOSE] == 0:
            self._plan = None
            return int(self.placing.act(observation, info))
        if self._plan is None:
            self._plan = self._made(observation)
        if self._plan:
            row, self._next = self._plan.pop(0)
            if observation["action_mask"][row] and self._has_room(observation, row, self._next):
                return row
        self._plan = []
        return self._stop

    def _send(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Return the planned destination; if it is not legal another one, and the plan ends."""
        if observation["action_mask"][self._next]:
            return self._next
        self._plan = []
        return int(observation["action_mask"].argmax())

    def _made(self, observation: Mapping[str, np.ndarray]) -> list[tuple[int, int]]:
        """Plan the migrations of this chance: a row and a destination each."""
        rows = np.flatnonzero(observation["vm_flavor"] >= 0)
        moves = round(float(observation["clock"][Clock.MOVES_LEFT]) * self.center.period_moves)
        if len(rows) == 0 or moves < 1:
            return []
        cluster = snapshot(self.center, observation, rows, moves)
        seed = int(self._rng.integers(2**31))
        hosts = observation["pms"][: self.center.n_pms].astype(np.float64)
        plan = self.planner(Chance(cluster, observation["vms"][rows], hosts, self._limit, seed))
        plies = np.asarray(plan, np.int64).reshape(-1, 2)[:moves]
        return list(zip(rows[plies[:, 0]].tolist(), plies[:, 1].tolist(), strict=True))

    def _has_room(self, observation: Mapping[str, np.ndarray], row: int, place: int) -> bool:
        """Whether the VM in a row fits in a place, as far as CPU and memory tell."""
        center = self.center
        k, (pm, node) = int(observation["vm_flavor"][row]), divmod(place, 2)
        free_cpu, free_mem = free_of(center, observation["pms"][pm : pm + 1].astype(np.float64))
        nodes = slice(0, 2) if center.flavor_nodes[k] == 2 else slice(node, node + 1)
        fits = (free_cpu[0, nodes] >= center.flavor_cpu[k]) & (
            free_mem[0, nodes] >= center.flavor_mem[k]
        )
        return bool(fits.all() and (center.numa_cpu[pm, nodes] > 0).all())


def free_of(center: DataCenter, hosts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return free CPU and memory of hosts, int64 [n, 2] each, in the instance's units.

    Args:
        center: the data center.
        hosts: float64 [n, 23]; rows as observed, by the columns of observation.Pm.
    """
    cpu = float(center.numa_cpu.sum(axis=1).max())
    mem = float(max(1, center.numa_mem.sum(axis=1).max()))
    free_cpu = np.rint(hosts[:, Pm.FREE_CPU_0 : Pm.FREE_CPU_1 + 1] * cpu)
    free_mem = np.rint(hosts[:, Pm.FREE_MEM_0 : Pm.FREE_MEM_1 + 1] * mem)
    return free_cpu.astype(np.int64), free_mem.astype(np.int64)


def snapshot(
    center: DataCenter, observation: Mapping[str, np.ndarray], rows: np.ndarray, moves: int
) -> Cluster:
    """Return what the observation tells of hosts and VMs as a problem of rescheduling.

    Args:
        center: the data center.
        observation: at a chance to migrate.
        rows: rows of the VMs that are there, int64 [V].
        moves: the most moves in a plan.
    """
    vms, nothing = observation["vms"][rows], np.zeros(0, np.int64)
    flavor = observation["vm_flavor"][rows].astype(np.int64)
    on_first = (vms[:, Vm.CPU_0] > 0) | (center.flavor_nodes[flavor] == 2)
    stays = vms[:, Vm.IN_SET] > 0
    if center.pinned_share > 0:
        stays = stays | (vms[:, Vm.MOVABLE] == 0)
    task = DEFAULT_TASK | {"cpu_per_core": center.cpu_per_core, "mnl": moves}
    return Cluster(
        name=center.name,
        pm_ids=center.pm_ids,
        pm_status=np.zeros(center.n_pms, np.int8),
        pm_rack=center.pm_rack,
        numa_cpu=center.numa_cpu,
        numa_mem=center.numa_mem,
        flavor_names=center.flavor_names,
        flavor_cpu=center.flavor_cpu,
        flavor_mem=center.flavor_mem,
        flavor_nodes=center.flavor_nodes,
        vm_ids=tuple(map(str, rows.tolist())),
        vm_flavor=flavor,
        vm_pm=observation["vm_pm"][rows].astype(np.int64),
        vm_numa=np.where(on_first, 0, 1),
        vm_pinned=stays,
        set_start=np.zeros(1, np.int64),
        set_vms=nothing,
        set_by_rack=np.zeros(0, np.bool_),
        **task,  # type: ignore[arg-type]
    )


def rescheduler(method: str, objective: str) -> Planner:
    """Return a planner that is a contender of vm_rescheduling, got through the registry.

    Args:
        method: name of one of the family's planners.
        objective: that it plans for, one of the family's.
    """

    def plan(chance: Chance) -> np.ndarray:
        solve = load_contender(Cluster.FAMILY, method).object
        cluster = dataclasses.replace(chance.cluster, objective=objective)
        found: np.ndarray = solve(cluster, Budget(chance.seconds), chance.seed).actions
        return found

    return plan
