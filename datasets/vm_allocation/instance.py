"""DataCenter: hosts, and the requests for VMs that come and go on them over some days."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...core.fields import BLANK, array, choice, declared, names, number, whole
from ...core.instance import Instance
from ..hosts import SIZE_LIMITS

OBJECTIVE = "rejected_core_hours"
LIFETIMES = ("hidden", "class", "predicted")
HOUR_S = 3600
CLASS_LIMITS_S = (HOUR_S, 10 * HOUR_S, 100 * HOUR_S)
N_CLASSES = len(CLASS_LIMITS_S) + 1
MOST_HOURS = 24 * 366.0
MOST_MOVES = 100_000
MOST_REQUESTS = 20_000_000
MOST_SLOTS = 2_000_000
SHARES = "give shares that add up to 1"


@declared
class DataCenter(Instance):
    """P physical machines (PMs) over `horizon_h` hours, and what is known of the VMs to come.

    Requests arrive and leave; each is of one of K flavors. They are drawn by the world's seed from
    the arrival process of the fields below (arrivals.py), or are those of a recorded trace, which
    contenders do not see. A VM sits on one NUMA node of a PM, or in equal parts on both.
    """

    FAMILY: ClassVar[str] = "vm_allocation"

    pm_ids: tuple[str, ...] = names("P", "The PMs.", empty="there are no hosts to place VMs on")
    pm_rack: np.ndarray = array("int64", "P", "Rack of each PM.")
    numa_cpu: np.ndarray = array(
        "int64", "P,2", "Capacity of each NUMA node; 0 in the second column where a PM has one.",
        low=0, high=10**9, unit="1/cpu_per_core cores",
    )  # fmt: skip
    numa_mem: np.ndarray = array(
        "int64", "P,2", "Memory of each NUMA node.", low=0, high=10**12, unit="MB"
    )
    cpu_per_core: int = whole("Units of CPU in one core.", low=1, high=10**6)
    flavor_names: tuple[str, ...] = names("K", "The flavors.")
    flavor_cpu: np.ndarray = array(
        "int64", "K", "Demand on each node used.", low=1, high=10**9, unit="1/cpu_per_core cores",
        remedy="a flavor needs some CPU; leave VMs without CPU out",
    )  # fmt: skip
    flavor_mem: np.ndarray = array(
        "int64", "K", "Demand on each node used.", low=0, high=10**12, unit="MB"
    )
    flavor_nodes: np.ndarray = array("int64", "K", "Nodes that a VM uses, 1 or 2.", low=1, high=2)
    flavor_share: np.ndarray = array(
        "float64", "K", "Of the requests, by flavor; they add up to 1.", low=0, high=1,
        remedy=SHARES,
    )  # fmt: skip
    law_mean_h: np.ndarray = array(
        "float64", "C", "Mean of each of C laws of lifetimes.", low=1e-3, high=1e6, unit="h"
    )
    law_sigma: np.ndarray = array(
        "float64", "C",
        "Standard deviation of the logarithm, of a lognormal law; 0 for an exponential one.",
        low=0, high=5,
    )  # fmt: skip
    law_share: np.ndarray = array(
        "float64", "K,C", "Of each flavor's requests, by law; rows add up to 1.", low=0, high=1,
        remedy=SHARES,
    )  # fmt: skip
    arrivals_per_h: float = number("Requests an hour, on average over a day.", low=0, high=1e7)
    hour_factor: np.ndarray = array(
        "float64", "24", "What `arrivals_per_h` is multiplied by in each hour of the day.",
        low=0, high=24,
    )  # fmt: skip
    batch_mean: float = number(
        "Mean number of requests that an owner makes at once, of one flavor and one law; their "
        "number is geometric.",
        low=1, high=1000,
    )  # fmt: skip
    set_share: float = number(
        "Share of the batches whose VMs must be on different hosts (deployment sets).",
        low=0, high=1,
    )  # fmt: skip
    pinned_share: float = number("Share of the VMs that cannot be migrated.", low=0, high=1)
    start_vms: int = whole(
        "VMs of the process that are there at the start: the policy places them first, and they do "
        "not count.",
        low=0, high=MOST_REQUESTS,
    )  # fmt: skip
    stream: int = whole(
        "Mixed into the world's seed: data centers that differ in nothing else have other worlds.",
        low=0, high=2**62,
    )  # fmt: skip
    horizon_h: float = number(
        "Hours that are played.", low=1 / 60, high=MOST_HOURS,
        remedy=f"give hours, up to {MOST_HOURS:g}",
    )  # fmt: skip
    warm_up_h: float = number(
        "Hours at the start whose requests do not count.", low=0, high=MOST_HOURS
    )
    moves_per_hour: int = whole(
        "Migrations an hour; 0 for none.", low=0, high=MOST_MOVES,
        remedy=f"give 0 for no migrations, or {MOST_MOVES} at most",
    )  # fmt: skip
    period_min: int = whole(
        "Time from one chance to migrate to the next, whose migrations come together.",
        low=1, high=7 * 24 * 60, unit="min",
    )  # fmt: skip
    move_cost_h: float = number(
        "Hours of its cores that the migration of a VM costs, counted as rejected.",
        low=0, high=1000,
    )  # fmt: skip
    lifetimes: str = choice(LIFETIMES, "What is told of a request's lifetime; see `told_s`.")
    prediction_sigma: float = number(
        "Standard deviation of the logarithm of predicted over actual lifetimes (lifetimes "
        "predicted).",
        low=0, high=5,
    )  # fmt: skip
    event_s: np.ndarray = array(
        "int64", "E", "Of a trace: time of each event since the start, rising; a start's VMs at 0.",
        low=0, unit="s", default=BLANK,
    )  # fmt: skip
    event_request: np.ndarray = array(
        "int64", "E",
        "The event's request: its first event is its arrival, its second one its exit. Requests "
        "are numbered in the order of their arrivals.",
        low=0, default=BLANK,
    )  # fmt: skip
    request_flavor: np.ndarray = array(
        "int64", "R", "Flavor of each request of the trace.", low=0, high="K-1", default=BLANK
    )
    request_set: np.ndarray = array(
        "int64", "R", "Deployment set of each request, numbered from 0; -1 for none.",
        low=-1, default=BLANK,
    )  # fmt: skip
    request_pinned: np.ndarray = array("bool", "R", "VMs that cannot be migrated.", default=BLANK)
    request_place: np.ndarray = array(
        "int64", "R", "Where a VM that is there at the start is, 2 * PM + node; -1 for a VM that "
        "the policy places.", low=-1, default=BLANK,
    )  # fmt: skip
    trace_starts: int = whole(
        "Requests of the trace that are there at the start, the first ones; they do not count.",
        low=0, high=MOST_REQUESTS, default=BLANK,
    )  # fmt: skip

    @property
    def n_pms(self) -> int:
        """Number of PMs, P."""
        return len(self.pm_ids)

    @property
    def is_traced(self) -> bool:
        """Whether the requests are those of a trace."""
        return len(self.request_flavor) > 0

    @property
    def horizon_s(self) -> int:
        """Seconds that are played."""
        return round(self.horizon_h * HOUR_S)

    @property
    def period_moves(self) -> int:
        """Migrations that may be made at each chance."""
        return self.moves_per_hour * self.period_min // 60

    @property
    def flavor_total(self) -> np.ndarray:
        """CPU of each flavor on all its nodes, int64 [K], in 1/cpu_per_core cores."""
        total: np.ndarray = self.flavor_cpu * self.flavor_nodes
        return total

    @property
    def flavor_size(self) -> np.ndarray:
        """Number of SIZE_LIMITS that each flavor's CPU on a node reaches, int64 [K]."""
        limits = np.array(SIZE_LIMITS) * self.cpu_per_core
        return np.asarray(np.digitize(self.flavor_cpu, limits), np.int64)

    @property
    def mean_life_h(self) -> np.ndarray:
        """Mean lifetime of each flavor's VMs by the process, float64 [K], in hours."""
        mean: np.ndarray = self.law_share @ self.law_mean_h
        return mean

    @property
    def offered_load(self) -> float:
        """CPU that requests of the process would hold on average, over the hosts' capacity."""
        held = self.flavor_share @ (self.flavor_total * self.mean_life_h)
        return float(self.arrivals_per_h * held / self.numa_cpu.sum())

    @property
    def n_slots(self) -> int:
        """The most VMs that fit on the hosts, V: rows of VMs in observations are 0 to V - 1."""
        return max(1, int((self.numa_cpu // self.flavor_cpu.min()).sum()))

    def check(self) -> None:
        """Refuse shares that do not add up, flavors that fit nowhere, and impossible traces.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """
        for what, shares in (
            ("flavor_share", self.flavor_share[None]), ("law_share", self.law_share)
        ):  # fmt: skip
            off = np.flatnonzero(abs(shares.sum(axis=1) - 1.0) > 1e-6)
            if off.size:
                where = f"[{off[0]}]" if len(shares) > 1 else ""
                total = shares[off[0]].sum()
                self.refuse(f"{what}{where} adds up to {total:.6g}; {SHARES}")
        if abs(self.hour_factor.mean() - 1.0) > 1e-6:
            self.refuse(
                f"hour_factor is {self.hour_factor.mean():.6g} on average; divide it by that, so "
                "that arrivals_per_h is the mean over a day"
            )
        if self.warm_up_h >= self.horizon_h:
            self.refuse(
                f"a warm-up of {self.warm_up_h:g} h leaves nothing of {self.horizon_h:g} h to "
                "count; set warm_up_h lower or horizon_h higher"
            )
        self._check_flavors()
        if not self.is_traced and self.expected_requests > MOST_REQUESTS:
            self.refuse(
                f"about {self.expected_requests:.3g} requests are more than {MOST_REQUESTS}; set "
                "horizon_h lower"
            )
        if self.n_slots > MOST_SLOTS and self.moves_per_hour:
            self.refuse(
                f"{self.n_slots} VMs might be there at once, more than {MOST_SLOTS} to choose from "
                "for migrations; set moves_per_hour=0"
            )
        if self.is_traced:
            self._check_trace()

    @property
    def expected_requests(self) -> float:
        """Mean number of requests of the process, with those at the start."""
        return self.start_vms + self.arrivals_per_h * self.horizon_h

    def _check_flavors(self) -> None:
        """Refuse flavors that are larger than every empty host."""
        cpu, mem, nodes = self.flavor_cpu, self.flavor_mem, self.flavor_nodes
        for k in range(len(cpu)):
            holds = (self.numa_cpu >= cpu[k]) & (self.numa_mem >= mem[k]) & (self.numa_cpu > 0)
            if not (holds.all(axis=1) if nodes[k] == 2 else holds.any(axis=1)).any():
                where = "both NUMA nodes" if nodes[k] == 2 else "one NUMA node"
                self.refuse(
                    f"flavor {self.flavor_names[k]!r} ({cpu[k] / self.cpu_per_core:g} cores and "
                    f"{mem[k]} MB on {where}) fits on no host, not even an empty one; leave it "
                    "out, or give larger hosts"
                )

    def _check_trace(self) -> None:
        """Refuse a trace whose events are out of order or belong to no request."""
        times, request, count = self.event_s, self.event_request, len(self.request_flavor)
        falls = np.flatnonzero(np.diff(times) < 0)
        if falls.size:
            at = int(falls[0]) + 1
            self.refuse(f"event_s[{at}] is {times[at]}, before the event above it; sort the events")
        if len(request) != len(times) or (request >= count).any():
            self.refuse(f"event_request must name one of {count} requests for each event")
        _, first, events = np.unique(request, return_index=True, return_counts=True)
        if len(events) != count or (np.diff(first) < 0).any() or (events > 2).any():
            self.refuse(
                "event_request must name each request once (it stays) or twice (it leaves), and "
                "number them in the order of their arrivals"
            )
        if self.trace_starts > count or times[first[: self.trace_starts]].any():
            self.refuse("the VMs of the start are the trace's first requests, at 0 s")
        if (self.request_place >= 2 * self.n_pms).any():
            self.refuse(f"request_place must be below {2 * self.n_pms}, 2 * PM + node")
        if (self.request_place[self.trace_starts :] >= 0).any():
            self.refuse("request_place is for VMs that are there at the start; give -1 for others")


def life_class(seconds: np.ndarray) -> np.ndarray:
    """Return the class of each lifetime: under 1 h, 10 h, 100 h, or longer (LAVA's classes).

    Args:
        seconds: lifetimes, [...].

    Returns:
        int64 [...], 0 to 3.
    """
    return np.asarray(np.digitize(seconds, CLASS_LIMITS_S), np.int64)


DEFAULT_TASK = {
    "horizon_h": 72.0,
    "warm_up_h": 0.0,
    "moves_per_hour": 0,
    "period_min": 60,
    "move_cost_h": 0.0,
    "lifetimes": "hidden",
    "prediction_sigma": 1.0,
}
