"""The independent validator: legality and objective from the instance and the actions alone.

It shares no code with the dynamics, the objective and the churn: plain Python bookkeeping, one VM
and one NUMA node at a time, so that an error there cannot hide here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core.contracts import Verdict, World
from ...datasets.vm_rescheduling.instance import ACTIVE, OUTAGE, STATUS_NAMES, Cluster
from .reference import needs_of, room_of, ways

MAX_VIOLATIONS = 20
Node = tuple[int, int]  # host, NUMA node
CHURN_STREAM = 0x11FE  # second word of the seed of live mode's random numbers


def validate(cluster: Cluster, actions: np.ndarray, world: World) -> Verdict:
    """Judge a plan.

    The plan is int64 [n], plies in turn: a VM, then its destination S * pm + place (S is 2 and the
    place a node, but for hosts of more NUMA nodes or VMs of unequal parts). A VM ply of
    n_vms stops the plan. The episode is over after that, after mnl moves, when no VM has a legal
    move left, or (objective moves_to_goal) when the goal rate is reached.

    In static mode an illegal move, or anything after the end, makes the plan infeasible. In live
    mode the plan is applied to the cluster as it is after `world.elapsed_s` seconds of churn: a
    move that is not legal there is skipped and counts as no move, and what follows the end is
    ignored.

    Args:
        cluster: the snapshot, as it was when the contender received it.
        actions: the plan, int64 [n].
        world: its seed, and the seconds of churn before the plan is applied.

    Returns:
        The objective (NaN where the plan is infeasible), one sentence per broken constraint (the
        first 20), and the detail: moves, skipped, fragment_rate, and where there are deployment
        sets, how many have two VMs in one place before the plan and after it.
    """
    return validate_each(cluster, [actions], [world])[0]


def validate_each(
    cluster: Cluster, plans: Sequence[np.ndarray], worlds: Sequence[World]
) -> list[Verdict]:
    """Judge several plans of one cluster, each as `validate` does.

    In static mode the books are opened once, and the moves of a plan are taken back after it.

    Args:
        cluster: the snapshot.
        plans: int64 [n] each.
        worlds: of each plan.
    """
    live = cluster.mode == "live"
    book = _Book.open(cluster)
    verdicts = []
    for at, (actions, world) in enumerate(zip(plans, worlds, strict=True)):
        if live and at:
            book = _Book.open(cluster)
        verdicts.append(_judge(book, actions, world))
        if not live:
            book.take_back()
    return verdicts


def _judge(book: _Book, actions: np.ndarray, world: World) -> Verdict:
    """Make a plan's moves in a cluster's books; see `validate`."""
    cluster = book.cluster
    live = cluster.mode == "live"
    plies, malformed = _read(cluster, np.asarray(actions), book.stride)
    if live:
        book.churn(world.seed, world.elapsed_s)
    skipped, broken_before = 0, book.broken_sets()
    violations: list[str] = []
    ended = _goal_met(book)
    for at in range(0, len(plies), 2):
        step, vm = at // 2 + 1, plies[at]
        # An episode that is over before its first ply takes a stop, which is all it can take.
        if ended and (at or vm != cluster.n_vms):
            if not live:
                violations.append(
                    f"step {step}: the episode is over after {book.moves} moves ({ended})"
                )
            break
        if vm == cluster.n_vms:
            following = len(plies) - at - 1
            if following and not live:
                violations.append(f"step {step}: {following} plies follow the stop")
            elif at and not live and book.stuck():
                violations.append(f"step {step}: the episode is over, no VM has a legal move left")
            break
        pm, number = divmod(plies[at + 1], book.stride)
        broken = book.broken(vm, pm, number)
        if not broken:
            book.move(vm, pm, book.ways(vm)[number])
            ended = _goal_met(book)
            if book.moves >= cluster.mnl:
                ended = ended or f"mnl is {cluster.mnl}"
        elif live:
            skipped += 1
        else:
            target = f"{cluster.pm_ids[pm]}/{number}"
            violations += [
                f"step {step}: VM {cluster.vm_ids[vm]} to {target}: {why}" for why in broken
            ]
    if malformed and not (live and (ended or book.stuck())):
        return Verdict(math.nan, False, (malformed,))
    detail = {
        "moves": float(book.moves),
        "skipped": float(skipped),
        "fragment_rate": book.fragment_rate,
    }
    if book.groups:
        detail["broken_sets_before"] = float(broken_before)
        detail["broken_sets"] = float(book.broken_sets())
    if violations:
        return Verdict(math.nan, False, tuple(violations[:MAX_VIOLATIONS]), detail)
    return Verdict(_objective(book), True, (), detail)


def _read(cluster: Cluster, actions: np.ndarray, stride: int) -> tuple[list[int], str]:
    """Return the plies of the plan up to one that is malformed, and what is wrong with that one.

    The reason is "" if all are well-formed up to the stop or the end.
    """
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
            return plies[:at], f"step {step}: VM index {vm} is negative"
        if vm > cluster.n_vms:
            return plies[:at], f"step {step}: VM index {vm} is above {cluster.n_vms}, the stop"
        if vm == cluster.n_vms:
            break
        if at + 1 == len(plies):
            return plies[:at], (
                f"step {step}: VM {cluster.vm_ids[vm]} is chosen, but no destination follows"
            )
        if not 0 <= plies[at + 1] < stride * cluster.n_pms:
            return plies[:at], (
                f"step {step}: destination {plies[at + 1]} is outside "
                f"0..{stride * cluster.n_pms - 1} ({stride} * PM + NUMA node)"
            )
        at += 2
    return plies, ""


@dataclass(slots=True)
class _Book:
    """Hosts of the VMs and free resources of the NUMA nodes, in plain dicts and lists.

    A VM keeps its index whatever happens; VMs that arrive get the next indices.

    Attributes:
        cluster: the snapshot.
        cpu, mem: free CPU and memory of each NUMA node (pm, node) that the hosts have.
        flavor: flavor of each VM, of those that left as well.
        host: where each present VM is, in the order of their indices.
        nodes: NUMA node of each part of each present VM.
        needs: CPU and memory of each part of each flavor.
        ways_of: the ways in which a VM of each flavor can lie on a host.
        stride: destinations a host.
        groups: deployment sets of each VM that is in any.
        taken_part: moves that each host has taken part in.
        counts: of each host, whether its free CPU counts: whether it is ACTIVE.
        slot: 16 cores in the instance's unit of CPU.
        free, fragments: free CPU of the hosts that count, and of it what makes no 16-core slot on
            its NUMA node.
        moves: moves made.
        before: of each move, the VM, and the host and the nodes that it left.
    """

    cluster: Cluster
    cpu: dict[tuple[int, int], int]
    mem: dict[tuple[int, int], int]
    flavor: list[int]
    host: dict[int, int]
    nodes: dict[int, tuple[int, ...]]
    needs: list[list[tuple[int, int]]]
    groups: dict[int, list[int]]
    ways_of: list[list[tuple[int, ...]]]
    taken_part: dict[int, int]
    counts: list[bool]
    slot: int
    stride: int = 2
    free: int = 0
    fragments: int = 0
    moves: int = 0
    before: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)

    @classmethod
    def open(cls, cluster: Cluster) -> _Book:
        """Return the bookkeeping of a cluster before any move."""
        cpu: dict[tuple[int, int], int] = {}
        mem: dict[tuple[int, int], int] = {}
        for pm, (per_node, mem_per_node) in enumerate(
            zip(cluster.numa_cpu.tolist(), cluster.numa_mem.tolist(), strict=True)
        ):
            last = max((node for node, size in enumerate(per_node) if size > 0), default=0)
            for node in range(last + 1):
                cpu[pm, node], mem[pm, node] = per_node[node], mem_per_node[node]
        groups: dict[int, list[int]] = {}
        starts = cluster.set_start.tolist()
        for group in range(len(starts) - 1):
            for vm in cluster.set_vms[starts[group] : starts[group + 1]].tolist():
                groups.setdefault(vm, []).append(group)
        needs = [needs_of(cluster, kind) for kind in range(len(cluster.flavor_names))]
        ways_of = [ways(parts, cluster.numa_cpu.shape[1]) for parts in needs]
        counts = (cluster.pm_status == ACTIVE).tolist()
        book = cls(
            cluster, cpu, mem, cluster.vm_flavor.tolist(), {}, {}, needs, groups, ways_of, {},
            counts, 16 * cluster.cpu_per_core,
        )  # fmt: skip
        book.stride = max(2, *map(len, ways_of))
        for (pm, _), size in cpu.items():
            if counts[pm]:
                book.free += size
                book.fragments += size % book.slot
        places = zip(cluster.vm_pm.tolist(), cluster.vm_numa.tolist(), strict=True)
        for vm, (pm, number) in enumerate(places):
            book._put(vm, pm, book.ways(vm)[number])
        return book

    def churn(self, seed: int, elapsed_s: float) -> None:
        """Apply arrivals and exits of VMs up to the time the plan is applied (live mode).

        The law: events are a Poisson process of `churn_per_min` events a minute. Each event takes
        three numbers of one generator, in this order: the seconds since the event before
        (exponential), whether it is an arrival (a uniform number below 0.5) or an exit, and a
        uniform number u. An arrival has the flavor of VM floor(u * V) of the V VMs of the snapshot.
        It is placed by best fit: on the ACTIVE host and NUMA node that has room and the least free
        CPU (summed over its nodes for a VM on several), the first one of equals; without room
        anywhere it is turned away. An exit takes the VM floor(u * n) of the n present, in the order
        of their indices; the last VM stays.

        Args:
            seed: the world's seed.
            elapsed_s: seconds of churn; later events do not happen.
        """
        rate = self.cluster.churn_per_min / 60.0
        if rate <= 0:
            return
        rng = np.random.default_rng([seed, CHURN_STREAM])
        now = rng.exponential(1.0 / rate)
        while True:
            arrives, u = rng.random() < 0.5, rng.random()
            if now > elapsed_s:
                return
            if arrives:
                self._arrive(int(self.cluster.vm_flavor[math.floor(u * self.cluster.n_vms)]))
            elif len(self.host) > 1:
                self._take_out(list(self.host)[math.floor(u * len(self.host))])
            now += rng.exponential(1.0 / rate)

    def _arrive(self, kind: int) -> None:
        """Place a new VM of a flavor by best fit, if it has room anywhere."""
        vm = len(self.flavor)
        self.flavor.append(kind)
        options = []
        for pm in np.flatnonzero(self.cluster.pm_status == ACTIVE).tolist():
            for number, way in enumerate(self.ways(vm)):
                used = self.places(vm, pm, way)
                if all(
                    place in self.cpu and self.cpu[place] >= cpu and self.mem[place] >= mem
                    for place, cpu, mem in used
                ):
                    options.append((sum(self.cpu[place] for place, *_ in used), pm, number, way))
        if options:
            _, pm, _, way = min(options)
            self._put(vm, pm, way)
        else:
            self.flavor.pop()

    def ways(self, vm: int) -> list[tuple[int, ...]]:
        """Return the ways in which the VM can lie on a host: the NUMA node of each part."""
        return self.ways_of[self.flavor[vm]]

    @property
    def fragment_rate(self) -> float:
        """The 16-core fragment rate; 0 where no CPU is free."""
        return self.fragments / self.free if self.free else 0.0

    def places(self, vm: int, pm: int, way: tuple[int, ...]) -> list[tuple[Node, int, int]]:
        """Return the NUMA nodes of host `pm` that the VM uses, with CPU and memory needed there."""
        parts = self.needs[self.flavor[vm]]
        return [((pm, node), *part) for node, part in zip(way, parts, strict=True)]

    def _put(self, vm: int, pm: int, way: tuple[int, ...]) -> None:
        """Place the VM on nodes of host `pm`, taking the free room it needs."""
        self.host[vm], self.nodes[vm] = pm, way
        for place, cpu, mem in self.places(vm, pm, way):
            self._take(place, cpu, mem)

    def _take_out(self, vm: int) -> None:
        """Remove the VM from its host, freeing its room."""
        for place, cpu, mem in self.places(vm, self.host.pop(vm), self.nodes.pop(vm)):
            self._take(place, -cpu, -mem)

    def _take(self, place: Node, cpu: int, mem: int) -> None:
        """Take CPU and memory of a NUMA node, or give them back where they are negative."""
        was = self.cpu[place]
        left = self.cpu[place] = was - cpu
        self.mem[place] -= mem
        if self.counts[place[0]]:
            self.free -= cpu
            self.fragments += left % self.slot - was % self.slot

    def broken(self, vm: int, pm: int, number: int) -> list[str]:
        """Return one clause for each constraint that the move would break now."""
        if vm not in self.host:
            return ["the VM has left"]
        cluster, source = self.cluster, self.host[vm]
        why: list[str] = []
        ways = self.ways(vm)
        if (pm, ways[number : number + 1]) == (source, [self.nodes[vm]]):
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
        if number >= len(ways):
            return [*why, _no_such_way(len(self.nodes[vm]), len(ways))]
        target = self.places(vm, pm, ways[number])
        if any(place not in self.cpu for place, *_ in target):
            return [*why, "the host has no such NUMA node"]
        for place, cpu, mem in target:
            if self.cpu[place] < cpu:
                why.append(f"node {place[1]} has {self.cpu[place]} CPU free, the VM needs {cpu}")
            if self.mem[place] < mem:
                why.append(f"node {place[1]} has {self.mem[place]} MB free, the VM needs {mem}")
        return why + self._kept_apart(vm, pm)

    def stuck(self) -> bool:
        """Whether no VM of the snapshot has a legal move now."""
        return not any(
            not self.broken(vm, pm, number)
            for vm in self.host
            if vm < self.cluster.n_vms
            for pm in range(self.cluster.n_pms)
            for number in range(len(self.ways(vm)))
        )

    def _kept_apart(self, vm: int, pm: int) -> list[str]:
        """Return one clause for each member of the VM's deployment sets in the way on host `pm`."""
        cluster = self.cluster
        why = []
        for group in self.groups.get(vm, []):
            start, stop = int(cluster.set_start[group]), int(cluster.set_start[group + 1])
            for other in cluster.set_vms[start:stop].tolist():
                if other == vm or other not in self.host:
                    continue
                there = self.host[other]
                by_rack = bool(cluster.set_by_rack[group])
                if there == pm or (by_rack and cluster.pm_rack[there] == cluster.pm_rack[pm]):
                    why.append(
                        f"{cluster.vm_ids[other]} of deployment set {group} is "
                        + (f"in rack {cluster.pm_rack[pm]}" if by_rack else "on that host")
                    )
        return why

    def broken_sets(self) -> int:
        """Return how many deployment sets have two present VMs on one host (or in one rack)."""
        homes: dict[int, list[int]] = {}
        for vm, groups in self.groups.items():
            for group in groups if vm in self.host else ():
                pm = self.host[vm]
                rack_wise = bool(self.cluster.set_by_rack[group])
                homes.setdefault(group, []).append(
                    int(self.cluster.pm_rack[pm]) if rack_wise else pm
                )
        return sum(len(set(places)) < len(places) for places in homes.values())

    def move(self, vm: int, pm: int, way: tuple[int, ...]) -> None:
        """Move the VM to nodes of host `pm`."""
        self.before.append((vm, self.host[vm], self.nodes[vm]))
        for end in {self.host[vm], pm}:
            self.taken_part[end] = self.taken_part.get(end, 0) + 1
        self._take_out(vm)
        self._put(vm, pm, way)
        self.moves += 1

    def take_back(self) -> None:
        """Take back all moves."""
        for vm, pm, way in reversed(self.before):
            self._take_out(vm)
            self._put(vm, pm, way)
        self.before, self.taken_part, self.moves = [], {}, 0


def _no_such_way(parts: int, ways: int) -> str:
    if ways == 1:
        return f"a VM on {'two' if parts == 2 else parts} nodes is addressed by node 0"
    return f"a VM on {parts} nodes is addressed by one of 0..{ways - 1}"


def _other_rates(book: _Book) -> tuple[float, float]:
    """Return the 64-core and the memory fragment rate over the ACTIVE hosts."""
    most = range(book.cluster.numa_cpu.shape[1])
    large, total_mem, loose_mem = 0, 0, 0
    for pm in range(book.cluster.n_pms):
        if not book.counts[pm]:
            continue
        nodes = [(pm, node) for node in most if (pm, node) in book.cpu]
        share = 4 * book.slot // len(nodes)  # a 64-core VM takes the same of each node
        large += min(book.cpu[place] // share for place in nodes)
        total_mem += sum(book.mem[place] for place in nodes)
        loose_mem += sum(book.mem[place] % 65536 for place in nodes)
    rate_64 = (book.free - 4 * book.slot * large) / book.free if book.free else 0.0
    return rate_64, loose_mem / total_mem if total_mem else 0.0


def _room_lost(book: _Book) -> float:
    """Return the room lost on the ACTIVE hosts, in % of what they have if empty.

    The room of two NUMA nodes, in tenths, goes by their free cores, whole ones only; a host of
    more nodes has the room of each two of them.
    """
    core = book.cluster.cpu_per_core
    left = empty = full = 0
    for pm, sizes in enumerate(book.cluster.numa_cpu.tolist()):
        if not book.counts[pm]:
            continue
        for node in range(0, len(sizes), 2):
            pair = [at for at in (node, node + 1) if (pm, at) in book.cpu]
            cores = [sizes[at] // core for at in pair] + [0] * (2 - len(pair))
            free = [book.cpu[pm, at] // core for at in pair] + [0] * (2 - len(pair))
            size = max(*cores, 1)
            left += room_of(free[0], free[1], size)
            empty += room_of(cores[0], cores[1], size)
            full += room_of(0, 0, size)
    return 100.0 * (empty - left) / (empty - full) if empty > full else 0.0


def _goal_met(book: _Book) -> str:
    """Return why the goal ends the episode, or "" if it does not."""
    cluster = book.cluster
    if cluster.objective != "moves_to_goal" or book.fragment_rate > cluster.goal_rate:
        return ""
    return f"the goal rate {cluster.goal_rate} is reached"


def _objective(book: _Book) -> float:
    """Return the cluster's objective for the hosts in the book."""
    cluster = book.cluster
    rate = book.fragment_rate
    if cluster.objective == "fragment_rate":
        return rate
    if cluster.objective == "mixed":
        rate_64, rate_mem = _other_rates(book)
        w16, w64, wmem = (float(w) for w in cluster.weights)
        return (w16 * rate + w64 * rate_64 + wmem * rate_mem) / (w16 + w64 + wmem)
    if cluster.objective == "drain":
        to_empty = {int(pm) for pm in cluster.drain_pms}
        return sum(host in to_empty for host in book.host.values()) + rate
    if cluster.objective == "admission":
        return _room_lost(book)
    if rate <= cluster.goal_rate:
        return float(book.moves)
    missing = (book.fragments - cluster.goal_rate * book.free) / book.slot
    return cluster.mnl + float(math.ceil(missing - 1e-9))
