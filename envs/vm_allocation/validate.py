"""The independent validator: replays arrivals, exits, placements and moves request by request.

It shares no code with the compiled dynamics, the observation and the objective. Only the requests
of a world, which are the problem and no part of a plan, come of the same draw for both.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from ...core.contracts import Verdict, World
from ...datasets.vm_allocation.arrivals import Trace, requests_of
from ...datasets.vm_allocation.instance import DataCenter

SLOT_CORES = 16
FIGURES = ("empty_hosts", "fragment_rate", "used_cores", "stranded_cores", "stranded_memory")


class BrokenRuleError(Exception):
    """A plan breaks a rule; the text says which."""


def validate(center: DataCenter, actions: np.ndarray, world: World) -> Verdict:
    """Judge a plan.

    Args:
        center: with its trace, if its requests are of one.
        actions: int64 [n]: a place `2 * PM + node` for each request that fits somewhere when it
            arrives; at a chance to migrate, a VM's row and its new place by turns, or V to stop.
        world: its seed decides which requests arrive.

    Returns:
        The objective: the % of the core-hours asked for that were not served, those after the
        plan's last action among them. As `replayed`, the % rejected among those that arrived by
        then, which is what the environment reports. The detail, over the time that counts:
        rejected_requests (%), empty_hosts (mean % of the hosts), fragment_rate (mean; free cores
        that make no 16-core slot over free cores), used_cores and stranded_cores (mean % of all;
        free cores where no flavor fits on the node), stranded_memory (likewise), migrations.
    """
    plan = np.asarray(actions)
    if plan.ndim != 1:
        return _refused(f"a plan of vm_allocation is whole numbers [n], not of shape {plan.shape}")
    replay = _Replay(center, requests_of(center, world.seed), plan.tolist())
    try:
        replay.run()
    except BrokenRuleError as broken:
        return _refused(f"step {replay.step}: {broken}")
    return replay.verdict()


def _refused(why: str) -> Verdict:
    return Verdict(math.nan, False, (why,))


class _Replay:
    """One world under a plan.

    Attributes:
        step: number of the action in hand, from 1.
        where: place of each VM that is there, by request: host and first node.
        rows: the request in each row, by row.
    """

    def __init__(self, center: DataCenter, trace: Trace, plan: list[int]) -> None:
        self.center, self.trace, self.plan, self.step = center, trace, plan, 0
        self.free_cpu, self.free_mem = center.numa_cpu.copy(), center.numa_mem.copy()
        self.is_node = center.numa_cpu > 0
        self.is_node[:, 0] = True
        self.where: dict[int, tuple[int, int]] = {}
        self.on_host: defaultdict[int, set[int]] = defaultdict(set)
        self.rows: dict[int, int] = {}
        self.row_of: dict[int, int] = {}
        self.free_rows: list[int] = []
        self.members: defaultdict[int, set[int]] = defaultdict(set)
        self.asked = self.served = self.lost = self.arrived = self.migrated = 0
        self.counting = self.rejections = self.moves = 0
        self.figures = _Figures(center)
        for host in range(center.n_pms):
            self._count(host)

    def run(self) -> None:
        """Go through the events and chances to migrate; stop where the plan does.

        Raises:
            BrokenRuleError: an action is not allowed.
        """
        c, t = self.center, self.trace
        horizon = round(c.horizon_h * 3600)
        self.warm_up = round(c.warm_up_h * 3600)
        budget, period = c.moves_per_hour * c.period_min // 60, c.period_min * 60
        chance = period
        ahead = set(range(len(t.flavor)))
        self.asked = sum(self._worth(request, horizon) for request in ahead)
        times, requests = t.event_s.tolist(), t.event_request.tolist()
        event = 0
        while True:
            now = times[event] if event < len(times) else horizon
            if budget and chance <= now and chance < horizon:
                self.figures.until(chance, self.warm_up)
                if not self._migrate(budget):
                    return
                chance += period
                continue
            if now >= horizon:
                break
            self.figures.until(now, self.warm_up)
            request = requests[event]
            if request in ahead:
                ahead.remove(request)
                if not self._arrive(request, horizon):
                    return
            elif request in self.where:
                self._leave(request)
            event += 1
        self.figures.until(horizon, self.warm_up)
        left = len(self.plan) - self.step
        if left and not (left == 1 and self.step == 0 and self.plan[0] == 0):
            self.step += 1
            raise BrokenRuleError("the episode ended before")

    def verdict(self) -> Verdict:
        """Score what was played."""
        asked = self.asked
        objective = 100.0 * (asked - self.served + self.migrated) / asked if asked else 0.0
        arrived = self.arrived
        so_far = 100.0 * (self.lost + self.migrated) / arrived if arrived else 0.0
        detail = self.figures.means() | {"migrations": float(self.moves)}
        share = self.rejections / self.counting if self.counting else 0.0
        detail["rejected_requests"] = 100.0 * share
        return Verdict(objective, True, (), detail, so_far)

    def _worth(self, request: int, horizon: int) -> int:
        """Return cores times seconds that a request counts for."""
        c, t = self.center, self.trace
        arrives = int(t.arrive_s[request])
        if request < t.starts or arrives < self.warm_up or arrives >= horizon:
            return 0
        k = int(t.flavor[request])
        seconds = min(int(t.exit_s[request]), horizon) - arrives
        return int(c.flavor_cpu[k]) * int(c.flavor_nodes[k]) * seconds

    def _next_action(self) -> int | None:
        """Return the next action; None after the last."""
        if self.step == len(self.plan):
            return None
        self.step += 1
        return int(self.plan[self.step - 1])

    def _count(self, host: int) -> None:
        """Count a host as it is now, no longer as it was."""
        cpu, mem = self.free_cpu[host].tolist(), self.free_mem[host].tolist()
        nodes = 1 + bool(self.is_node[host, 1])
        self.figures.count(host, cpu[:nodes], mem[:nodes], not self.on_host[host])

    def _room(self, request: int) -> np.ndarray:
        """Return where a VM fits, bool [P, 2]; one on both nodes has column 0 alone."""
        k = int(self.trace.flavor[request])
        fits: np.ndarray = (
            self.is_node
            & (self.free_cpu >= self.center.flavor_cpu[k])
            & (self.free_mem >= self.center.flavor_mem[k])
        )
        if self.center.flavor_nodes[k] == 2:
            fits = np.stack([fits.all(axis=1), np.zeros(len(fits), np.bool_)], axis=1)
        group = int(self.trace.group[request])
        for other in self.members[group] if group >= 0 else ():
            if other != request and other in self.where:
                fits[self.where[other][0]] = False
        return fits

    def _arrive(self, request: int, horizon: int) -> bool:
        """Let a request arrive; return False if the plan has ended before it."""
        t = self.trace
        worth = self._worth(request, horizon)
        counts = request >= t.starts and int(t.arrive_s[request]) >= self.warm_up
        if t.group[request] >= 0:
            self.members[int(t.group[request])].add(request)
        fits = self._room(request)
        place = int(t.place[request])
        if place < 0 or not fits[place // 2, place % 2]:
            if not fits.any():
                self.lost += worth
                self.arrived += worth
                self.counting += counts
                self.rejections += counts
                return True
            action = self._next_action()
            if action is None:
                # It is what the environment waits with: it has arrived, and is not yet lost.
                self.arrived += worth
                return False
            place = action
            if not (0 <= place < fits.size and fits[place // 2, place % 2]):
                raise BrokenRuleError(f"request {request} has no room in place {place}")
        self.arrived += worth
        self.counting += counts
        self.served += worth
        row = self.free_rows.pop() if self.free_rows else len(self.rows)
        self.rows[row], self.row_of[request] = request, row
        self._put(request, place // 2, place % 2, 1)
        return True

    def _put(self, request: int, host: int, node: int, sign: int) -> None:
        """Put a VM on a host (sign 1), or take it off (sign -1)."""
        k = int(self.trace.flavor[request])
        for at in (0, 1) if self.center.flavor_nodes[k] == 2 else (node,):
            self.free_cpu[host, at] -= sign * self.center.flavor_cpu[k]
            self.free_mem[host, at] -= sign * self.center.flavor_mem[k]
        if sign > 0:
            self.where[request] = host, node
            self.on_host[host].add(request)
        else:
            del self.where[request]
            self.on_host[host].remove(request)
        self._count(host)

    def _leave(self, request: int) -> None:
        self._put(request, *self.where[request], -1)
        row = self.row_of.pop(request)
        self.rows[row] = -1
        self.free_rows.append(row)

    def _destinations(self, request: int) -> np.ndarray:
        fits = self._room(request)
        fits[self.where[request]] = False
        return fits

    def _movable(self, request: int) -> bool:
        return not self.trace.pinned[request] and bool(self._destinations(request).any())

    def _migrate(self, budget: int) -> bool:
        """Play a chance to migrate; return False if the plan has ended within it."""
        for _ in range(budget):
            if not any(map(self._movable, self.where)):
                return True
            row = self._next_action()
            if row is None:
                return False
            if row == self.center.n_slots:
                return True
            request = self.rows.get(row, -1)
            if request < 0 or not self._movable(request):
                raise BrokenRuleError(f"row {row} holds no VM that can be migrated")
            fits = self._destinations(request)
            place = self._next_action()
            if place is None:
                raise BrokenRuleError(f"the VM in row {row} was chosen, and has no destination")
            if not (0 <= place < fits.size and fits[place // 2, place % 2]):
                raise BrokenRuleError(f"the VM in row {row} has no room in place {place}")
            self._put(request, *self.where[request], -1)
            self._put(request, place // 2, place % 2, 1)
            self.moves += 1
            if self.figures.now >= self.warm_up:
                k = int(self.trace.flavor[request])
                cores = int(self.center.flavor_cpu[k]) * int(self.center.flavor_nodes[k])
                self.migrated += round(self.center.move_cost_h * 3600) * cores
        return True


class _Figures:
    """Means over time of what operators look at, kept up to date host by host.

    Attributes:
        now: seconds since the start.
        seconds: that counted until now.
        of_host: host -> whether it is empty, fragments, free CPU, stranded CPU, stranded memory.
        present: the sums of these over the hosts.
        sums: of each of FIGURES, times seconds.
    """

    def __init__(self, center: DataCenter) -> None:
        self.center, self.now, self.seconds = center, 0, 0
        self.slot = SLOT_CORES * center.cpu_per_core
        cpu, mem, one = center.flavor_cpu, center.flavor_mem, center.flavor_nodes == 1
        self.needs = list(zip(cpu[one].tolist(), mem[one].tolist(), strict=True))
        self.of_host = [(0, 0, 0, 0, 0)] * center.n_pms
        self.present = [0] * len(FIGURES)
        self.sums = [0.0] * len(FIGURES)

    def count(self, host: int, cpu: list[int], mem: list[int], is_empty: bool) -> None:
        """Count a host as it is now, no longer as it was.

        Args:
            host: its number.
            cpu: free on each of its nodes.
            mem: likewise.
            is_empty: whether no VM is on it.
        """
        fragments = lost_cpu = lost_mem = 0
        for free, memory in zip(cpu, mem, strict=True):
            fragments += free % self.slot
            for needs in self.needs:
                if free >= needs[0] and memory >= needs[1]:
                    break
            else:
                lost_cpu += free
                lost_mem += memory
        was = self.of_host[host]
        now = int(is_empty), fragments, sum(cpu), lost_cpu, lost_mem
        self.of_host[host] = now
        self.present = [
            total + after - before
            for total, after, before in zip(self.present, now, was, strict=True)
        ]

    def until(self, now: int, warm_up: int) -> None:
        """Add the time from the last call to this one, in which nothing changed.

        Args:
            now: seconds since the start.
            warm_up: seconds that do not count.
        """
        seconds = max(0, now - max(self.now, warm_up))
        self.now = now
        if not seconds:
            return
        self.seconds += seconds
        empty, fragments, free, lost_cpu, lost_mem = self.present
        rates = empty, fragments / max(1, free), free, lost_cpu, lost_mem
        self.sums = [total + seconds * rate for total, rate in zip(self.sums, rates, strict=True)]

    def means(self) -> dict[str, float]:
        """Return each figure's mean over the time that counted."""
        cpu, mem = int(self.center.numa_cpu.sum()), max(1, int(self.center.numa_mem.sum()))
        scale = np.array([100 / self.center.n_pms, 1.0, 100 / cpu, 100 / cpu, 100 / mem])
        means = np.array(self.sums) * scale / max(1, self.seconds)
        found = dict(zip(FIGURES, means.tolist(), strict=True))
        return {
            name: 100.0 - mean if name == "used_cores" else mean for name, mean in found.items()
        }
