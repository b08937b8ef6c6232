"""The independent validator: legality and objective from the instance and the actions alone.

It shares no code with dynamics.py and objective.py: plain Python bookkeeping, one VM and one node
at a time, so that an error there cannot hide here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.contracts import Verdict, World
from ...datasets.vm_rescheduling.churn import churned
from ...datasets.vm_rescheduling.instance import ACTIVE, OUTAGE, STATUS_NAMES, Cluster

MAX_VIOLATIONS = 20


def validate(cluster: Cluster, actions: np.ndarray, world: World) -> Verdict:
    """Judges a plan.

    The plan is int64 [n], plies in turn: a VM, then its destination 2 * pm + node. A VM ply of
    n_vms or more stops the plan. The episode is over after that, after mnl moves, or (objective
    moves_to_goal) when the goal rate is reached.

    In static mode an illegal move, or anything after the end, makes the plan infeasible. In live
    mode the plan is applied to the cluster as it is after `world.elapsed_s` seconds of churn: a
    move that is not legal there is skipped and counts as no move, and what follows the end is
    ignored.

    Returns:
        The objective as documented in objective.py (NaN where the plan is infeasible), one sentence
        a broken constraint (the first 20), and the detail: moves, skipped, fragment_rate.
    """
    plies, malformed = _read(cluster, np.asarray(actions))
    if malformed:
        return Verdict(math.nan, False, (malformed,))
    live = cluster.mode == "live"
    if live:
        world_now, where = churned(cluster, world.seed, world.elapsed_s)
        now_at = [int(v) for v in where]
    else:
        world_now, now_at = cluster, list(range(cluster.n_vms))
    book = _Book.open(world_now)
    skipped = 0
    violations: list[str] = []
    ended = _goal_met(world_now, book)
    for at in range(0, len(plies), 2):
        step, vm = at // 2 + 1, plies[at]
        if ended:
            if not live:
                violations.append(
                    f"step {step}: the episode is over after {book.moves} moves ({ended})"
                )
            break
        if vm >= cluster.n_vms:
            following = len(plies) - at - 1
            if following and not live:
                violations.append(f"step {step}: {following} plies follow the stop")
            break
        pm, node = divmod(plies[at + 1], 2)
        now = now_at[vm]
        broken = ["the VM has left"] if now < 0 else book.broken(now, pm, node)
        if not broken:
            book.move(now, pm, node)
            ended = _goal_met(world_now, book)
            if book.moves >= world_now.mnl:
                ended = ended or f"mnl is {world_now.mnl}"
        elif live:
            skipped += 1
        else:
            target = f"{cluster.pm_ids[pm]}/{node}"
            violations += [
                f"step {step}: VM {cluster.vm_ids[vm]} to {target}: {why}" for why in broken
            ]
    detail = {
        "moves": float(book.moves),
        "skipped": float(skipped),
        "fragment_rate": _rates(world_now, book)[0],
    }
    if violations:
        return Verdict(math.nan, False, tuple(violations[:MAX_VIOLATIONS]), detail)
    return Verdict(_objective(world_now, book), True, (), detail)


def _read(cluster: Cluster, actions: np.ndarray) -> tuple[list[int], str]:
    """The plies, and what is wrong with their form ("" if nothing)."""
    if actions.size == 0:
        return [], ""
    if actions.ndim != 1 or not np.issubdtype(actions.dtype, np.integer):
        return (
            [],
            f"actions must be a flat list of whole numbers, not {actions.dtype} {actions.shape}",
        )
    plies = [int(ply) for ply in actions]
    at = 0
    while at < len(plies):
        step, vm = at // 2 + 1, plies[at]
        if vm < 0:
            return [], f"step {step}: VM index {vm} is negative"
        if vm >= cluster.n_vms:
            break
        if at + 1 == len(plies):
            return [], f"step {step}: VM {cluster.vm_ids[vm]} is chosen, but no destination follows"
        if not 0 <= plies[at + 1] < 2 * cluster.n_pms:
            return [], (
                f"step {step}: destination {plies[at + 1]} is outside 0..{2 * cluster.n_pms - 1} "
                "(2 * PM + NUMA node)"
            )
        at += 2
    return plies, ""


@dataclass(slots=True)
class _Book:
    """Who is where and what is free, kept in plain dicts and lists."""

    cluster: Cluster
    cpu: dict[tuple[int, int], int]
    mem: dict[tuple[int, int], int]
    host: list[int]
    node: list[int]
    groups: dict[int, list[int]]
    taken_part: dict[int, int]
    moves: int = 0

    @classmethod
    def open(cls, cluster: Cluster) -> _Book:
        """The book of a cluster before any move."""
        cpu: dict[tuple[int, int], int] = {}
        mem: dict[tuple[int, int], int] = {}
        for pm, (per_node, mem_per_node) in enumerate(
            zip(cluster.numa_cpu.tolist(), cluster.numa_mem.tolist(), strict=True)
        ):
            for node in (0, 1):
                if per_node[node] > 0:
                    cpu[pm, node], mem[pm, node] = per_node[node], mem_per_node[node]
        groups: dict[int, list[int]] = {}
        starts = cluster.set_start.tolist()
        for group in range(len(starts) - 1):
            for vm in cluster.set_vms[starts[group] : starts[group + 1]].tolist():
                groups.setdefault(vm, []).append(group)
        host, node_of = cluster.vm_pm.tolist(), cluster.vm_numa.tolist()
        book = cls(cluster, cpu, mem, host, node_of, groups, {})
        for vm in range(cluster.n_vms):
            book._take(vm, -1)
        return book

    def places(self, vm: int, pm: int, node: int) -> list[tuple[int, int]]:
        """The NUMA nodes the VM uses when it is there."""
        both = int(self.cluster.flavor_nodes[self.cluster.vm_flavor[vm]]) == 2
        return [(pm, 0), (pm, 1)] if both else [(pm, node)]

    def need(self, vm: int) -> tuple[int, int]:
        """CPU and memory on each node used."""
        kind = int(self.cluster.vm_flavor[vm])
        return int(self.cluster.flavor_cpu[kind]), int(self.cluster.flavor_mem[kind])

    def _take(self, vm: int, sign: int) -> None:
        cpu, mem = self.need(vm)
        for place in self.places(vm, self.host[vm], self.node[vm]):
            self.cpu[place] += sign * cpu
            self.mem[place] += sign * mem

    def broken(self, vm: int, pm: int, node: int) -> list[str]:
        """One clause for each constraint that the move would break now."""
        cluster, source = self.cluster, self.host[vm]
        why: list[str] = []
        target = self.places(vm, pm, node)
        if target == self.places(vm, source, self.node[vm]):
            return ["it is there already"]
        if cluster.vm_pinned[vm]:
            why.append("the VM is pinned")
        if cluster.pm_status[source] == OUTAGE:
            why.append(f"its host {cluster.pm_ids[source]} is in OUTAGE, no VM may leave")
        if cluster.pm_status[pm] != ACTIVE:
            why.append(f"the host is {STATUS_NAMES[cluster.pm_status[pm]]}, no VM may enter")
        for end in {source, pm}:
            if 0 < cluster.pm_move_cap <= self.taken_part.get(end, 0):
                why.append(
                    f"host {cluster.pm_ids[end]} has taken part in {cluster.pm_move_cap} moves "
                    "already"
                )
        if len(target) == 2 and node == 1:
            why.append("a VM on two nodes is addressed by node 0")
        if any(place not in self.cpu for place in target):
            return [*why, "the host has no such NUMA node"]
        cpu, mem = self.need(vm)
        for place in target:
            if self.cpu[place] < cpu:
                why.append(f"node {place[1]} has {self.cpu[place]} CPU free, the VM needs {cpu}")
            if self.mem[place] < mem:
                why.append(f"node {place[1]} has {self.mem[place]} MB free, the VM needs {mem}")
        return why + self._kept_apart(vm, pm)

    def _kept_apart(self, vm: int, pm: int) -> list[str]:
        cluster = self.cluster
        why = []
        for group in self.groups.get(vm, []):
            start, stop = int(cluster.set_start[group]), int(cluster.set_start[group + 1])
            for other in cluster.set_vms[start:stop].tolist():
                there = self.host[other]
                by_rack = bool(cluster.set_by_rack[group])
                same_rack = by_rack and cluster.pm_rack[there] == cluster.pm_rack[pm]
                if other != vm and (there == pm or same_rack):
                    why.append(
                        f"{cluster.vm_ids[other]} of deployment set {group} is "
                        + (f"in rack {cluster.pm_rack[pm]}" if by_rack else "on that host")
                    )
        return why

    def move(self, vm: int, pm: int, node: int) -> None:
        """Makes the move."""
        for end in {self.host[vm], pm}:
            self.taken_part[end] = self.taken_part.get(end, 0) + 1
        self._take(vm, +1)
        self.host[vm], self.node[vm] = pm, node
        self._take(vm, -1)
        self.moves += 1


def _rates(cluster: Cluster, book: _Book) -> tuple[float, float, float, float, int]:
    """16-core, 64-core and memory fragment rates; 16-core fragments and free CPU on ACTIVE
    hosts.
    """
    core = cluster.cpu_per_core
    active = [pm for pm in range(cluster.n_pms) if cluster.pm_status[pm] == ACTIVE]
    nodes = {pm: [place for place in ((pm, 0), (pm, 1)) if place in book.cpu] for pm in active}
    free = [book.cpu[place] for pm in active for place in nodes[pm]]
    free_mem = [book.mem[place] for pm in active for place in nodes[pm]]
    fragments = sum(cpu % (16 * core) for cpu in free)
    large = 0
    for pm in active:
        share = 64 * core // len(nodes[pm])  # a 64-core VM takes 32 on each of two nodes
        large += min(book.cpu[place] // share for place in nodes[pm])
    total, total_mem = sum(free), sum(free_mem)
    rate = fragments / total if total else 0.0
    rate_64 = (total - 64 * core * large) / total if total else 0.0
    rate_mem = sum(mem % 65536 for mem in free_mem) / total_mem if total_mem else 0.0
    return rate, rate_64, rate_mem, float(fragments), total


def _goal_met(cluster: Cluster, book: _Book) -> str:
    """Why the goal ends the episode, or "" if it does not."""
    if cluster.objective != "moves_to_goal" or _rates(cluster, book)[0] > cluster.goal_rate:
        return ""
    return f"the goal rate {cluster.goal_rate} is reached"


def _objective(cluster: Cluster, book: _Book) -> float:
    rate, rate_64, rate_mem, fragments, total = _rates(cluster, book)
    if cluster.objective == "fragment_rate":
        return rate
    if cluster.objective == "mixed":
        w16, w64, wmem = (float(w) for w in cluster.weights)
        return (w16 * rate + w64 * rate_64 + wmem * rate_mem) / (w16 + w64 + wmem)
    if cluster.objective == "drain":
        to_empty = {int(pm) for pm in cluster.drain_pms}
        return sum(host in to_empty for host in book.host) + rate
    if rate <= cluster.goal_rate:
        return float(book.moves)
    missing = (fragments - cluster.goal_rate * total) / (16 * cluster.cpu_per_core)
    return cluster.mnl + float(math.ceil(missing - 1e-9))
