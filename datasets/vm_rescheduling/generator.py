"""Generate synthetic clusters: look-alikes of ByteDance's Medium set, and smaller ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from numba import njit

from ...core.contracts import Setting
from ...core.errors import InstanceError, SettingError
from ..hosts import (
    FRAGMENT_CORES,
    MB_PER_CORE,
    MEDIUM_FLAVORS,
    MEDIUM_PMS,
    MEDIUM_VMS,
    NODE_CPU,
    NODE_MEM_MB,
    PMS_PER_RACK,
)
from ..setting_texts import real, whole
from .instance import ACTIVE, DEFAULT_TASK, Cluster

MOST_PMS = 100_000  # with 720,000 VMs
MOST_SETS, MOST_DRAWS = 10_000, 2e8
MOST_LOOKS = 2e10  # of arrivals at nodes: about half a minute
EXIT_FRACTION = 0.035
# Of each flavor: VMs in Medium, cores, cores on each of its nodes, and whether it is on both of a
# host's.
_MEDIUM_COUNTS = np.array([count for *_, count in MEDIUM_FLAVORS])
_SIZE = np.array([cpu * nodes for _, cpu, nodes, _ in MEDIUM_FLAVORS])
_CPU = np.array([cpu for _, cpu, _, _ in MEDIUM_FLAVORS])
_TWO = np.array([nodes == 2 for _, _, nodes, _ in MEDIUM_FLAVORS])
TRIES = 200  # migrations tried for each VM, at most
BIG_CORES = 32
MOST_ARRIVALS = 10.0

PARAMETERS: Mapping[str, Setting] = {
    "pms": Setting(str(MEDIUM_PMS), f"physical machines (2 to {MOST_PMS})"),
    "mix": Setting(
        "0.0", "how far shares of flavors are from Medium's: deviation of their logarithms (0 to 3)"
    ),
    "arrivals": Setting(
        "0.0", "VMs that ask for room after the placement, for each one placed; best fit (0 to 10)"
    ),
    "exits": Setting(
        str(EXIT_FRACTION), "fraction of VMs that leave after placement: higher is emptier"
    ),
    "rate": Setting(
        "0.0", "fragment rate that random migrations raise the placement to, where they can"
    ),
    "sets": Setting("0", "deployment sets (anti-affinity by host) of 2 to 6 VMs"),
    "rack_sets": Setting("0", "deployment sets (anti-affinity by rack) of 2 to 4 VMs"),
    "pinned": Setting("0.0", "fraction of VMs that must not move"),
}


def generate(parameters: Mapping[str, str], seed: int) -> Cluster:
    """Generate a cluster with the Medium set's mix of VMs, scaled to a number of machines.

    If another mix is asked for, each flavor's share is multiplied by a random factor, lognormal,
    and all are scaled to as many cores as before.

    VMs of 32 cores and more are placed first, the largest before the others; the rest follow in
    random order; each goes to a random NUMA node with room. If arrivals are asked for, more VMs of
    the mix come one by one, each to the fullest node (or host) with room, and those without room
    are turned away: what a scheduler makes of a cluster that is asked for more than it has. Then a
    fraction of the VMs exits. At full size with the default exits about 91 % of cores are in use
    and the mean fragment rate is about .58, close to the published set's .555 (placing all VMs by
    size gives .44, far from it). At last, VMs migrate at random where that scatters free cores,
    until the fragment rate asked for is reached: the public snapshots begin at .98 and .60.

    Args:
        parameters: texts by the names in PARAMETERS; those left out have their defaults.
        seed: the same seed and parameters give the same cluster.

    Raises:
        SettingError: a parameter cannot be read or is out of range.
        InstanceError: the mix of VMs found no placement.
    """
    texts = {key: setting.default for key, setting in PARAMETERS.items()} | dict(parameters)
    try:
        pms = whole(texts, "pms", MOST_PMS, 2)
        sets, rack_sets = (whole(texts, key, MOST_SETS) for key in ("sets", "rack_sets"))
        exits, pinned = real(texts, "exits", (0.0, 0.999)), real(texts, "pinned", (0.0, 1.0))
        arrivals = real(texts, "arrivals", (0.0, MOST_ARRIVALS))
        mix = real(texts, "mix", (0.0, 3.0))
        rate = real(texts, "rate", (0.0, 1.0))
    except SettingError as error:
        raise SettingError(f"generate vm_rescheduling: {error}") from error
    vms = round(pms * MEDIUM_VMS / MEDIUM_PMS)
    if (sets + rack_sets) * vms > MOST_DRAWS:
        raise SettingError(
            f"generate vm_rescheduling: sets={sets} and rack_sets={rack_sets} of about {vms} VMs "
            f"need {(sets + rack_sets) * vms:.2g} draws, more than {MOST_DRAWS:.0e}; set fewer"
        )
    if arrivals * vms * 2 * pms > MOST_LOOKS:
        raise SettingError(
            f"generate vm_rescheduling: arrivals={arrivals} on {pms} PMs are too many; set at most "
            f"{MOST_LOOKS / vms / 2 / pms:.2g}, or fewer PMs"
        )
    rng = np.random.default_rng([seed, pms])
    counts = _MEDIUM_COUNTS * pms / MEDIUM_PMS
    if mix > 0.0:
        drawn = counts * np.exp(mix * rng.standard_normal(len(counts)))
        counts = drawn * (counts @ _SIZE) / (drawn @ _SIZE)
    for _attempt in range(20):
        placed = _place(counts, pms, rng)
        if placed is not None:
            break
    else:
        raise InstanceError(
            f"generate vm_rescheduling: no placement of the VM mix on {pms} PMs found; try another "
            "seed" + (f", or less than mix={mix}" if mix > 0.0 else "")
        )
    flavor, at = placed
    if arrivals > 0.0:
        asked = rng.choice(len(counts), round(arrivals * len(at)), p=counts / counts.sum())
        entered, places = _arrive(_CPU, _TWO, flavor, at, asked, 2 * pms)
        flavor, at = np.concatenate([flavor, entered]), np.concatenate([at, places])
    keep = np.sort(rng.permutation(len(flavor))[: len(flavor) - round(exits * len(flavor))])
    flavor, at = flavor[keep], at[keep]
    if rate > 0.0:
        _scatter(_CPU[flavor], _TWO[flavor], at, 2 * pms, rate, rng)
    host, node = at // 2, at % 2
    n_vms = len(flavor)
    groups, by_rack = _draw_sets(host, pms, sets, rack_sets, rng)
    return Cluster(
        name=f"generated-{pms}pm-seed{seed}",
        pm_ids=tuple(f"pm_{i}" for i in range(pms)),
        pm_status=np.full(pms, ACTIVE, np.int8),
        pm_rack=np.arange(pms, dtype=np.int64) // PMS_PER_RACK,
        numa_cpu=np.full((pms, 2), NODE_CPU, np.int64),
        numa_mem=np.full((pms, 2), NODE_MEM_MB, np.int64),
        flavor_names=tuple(name for name, *_ in MEDIUM_FLAVORS),
        flavor_cpu=np.array([cpu for _, cpu, _, _ in MEDIUM_FLAVORS], np.int64),
        flavor_mem=np.array([cpu * MB_PER_CORE for _, cpu, _, _ in MEDIUM_FLAVORS], np.int64),
        flavor_nodes=np.array([nodes for _, _, nodes, _ in MEDIUM_FLAVORS], np.int64),
        vm_ids=tuple(f"vm_{i}" for i in range(n_vms)),
        vm_flavor=flavor,
        vm_pm=host,
        vm_numa=node,
        vm_pinned=rng.random(n_vms) < pinned,
        set_start=np.concatenate([[0], np.cumsum([len(g) for g in groups])]).astype(np.int64),
        set_vms=np.array([vm for g in groups for vm in g], np.int64),
        set_by_rack=np.array(by_rack, np.bool_),
        **DEFAULT_TASK,  # type: ignore[arg-type]
    )


def _place(
    counts: np.ndarray, pms: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw VMs and place them at random.

    Args:
        counts: float64 [K]; VMs of each flavor, rounded at random.
        pms: number of hosts.
        rng: draws them and their places.

    Returns:
        Flavor, and 2 * host + node, of each VM, int64 [V] each; None if a VM found no room.
    """
    whole = np.floor(counts).astype(np.int64)
    whole += rng.random(len(counts)) < counts - whole
    kinds = rng.permutation(np.repeat(np.arange(len(counts)), whole))
    kinds = kinds[np.argsort(-_SIZE[kinds] * (_SIZE[kinds] >= BIG_CORES), kind="stable")]
    at = _draw_places(kinds, _CPU, _TWO, pms, rng)
    if len(at) < len(kinds):
        return None
    order = rng.permutation(len(kinds))
    return kinds[order], at[order]


@njit(cache=True)
def _draw_places(
    kinds: np.ndarray, cpu: np.ndarray, two: np.ndarray, pms: int, rng: np.random.Generator
) -> np.ndarray:
    """Place VMs one by one, each on a node (or host) drawn from those with room.

    Which have room is kept in one Fenwick tree a flavor, so that the n-th of them is found, and one
    taken out, in steps logarithmic in the number of hosts.

    Args:
        kinds: int64 [V]; flavor of each VM, in the order of placement.
        cpu: int64 [K]; cores that a VM of each flavor needs on each of its nodes.
        two: bool [K]; whether it is on both nodes of a host.
        pms: number of hosts.
        rng: draws the nodes.

    Returns:
        int64 [<= V]; 2 * host + node of each VM, up to the first without room.
    """
    size = 1
    while size < 2 * pms + 1:
        size *= 2
    tree = np.zeros((len(cpu), size), np.int64)  # tree[k, i] counts the (i & -i) places up to i
    left = np.zeros(len(cpu), np.int64)
    for k in range(len(cpu)):
        left[k] = pms if two[k] else 2 * pms
        for i in range(1, size):
            tree[k, i] = max(0, min(i, left[k]) - (i - (i & -i)))
    free = np.full(2 * pms, NODE_CPU, np.int64)
    at = np.empty(len(kinds), np.int64)
    for vm in range(len(kinds)):
        kind = kinds[vm]
        if left[kind] == 0:
            return at[:vm]
        rank, place, step = rng.integers(0, left[kind]), 0, size // 2
        while step > 0:
            if place + step < size and tree[kind, place + step] <= rank:
                place += step
                rank -= tree[kind, place]
            step //= 2
        at[vm] = 2 * place if two[kind] else place
        for node in range(at[vm], at[vm] + 1 + two[kind]):
            before, other = free[node], free[node ^ 1]
            free[node] -= cpu[kind]
            for k in range(len(cpu)):
                had = before >= cpu[k] and (not two[k] or other >= cpu[k])
                if had and free[node] < cpu[k]:
                    left[k] -= 1
                    i = (node // 2 if two[k] else node) + 1
                    while i < size:
                        tree[k, i] -= 1
                        i += i & -i
    return at


@njit(cache=True)
def _arrive(
    cpu: np.ndarray, two: np.ndarray, flavor: np.ndarray, at: np.ndarray, asked: np.ndarray,
    nodes: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Let VMs arrive one by one, each on the fullest node (or host) with room for it.

    Args:
        cpu: int64 [K]; cores that a VM of each flavor needs on each of its nodes.
        two: bool [K]; whether it is on both nodes of a host.
        flavor: int64 [V]; of each VM that is there.
        at: int64 [V]; 2 * host + node of each.
        asked: int64 [A]; flavor of each arrival; one without room is turned away.
        nodes: number of nodes of all hosts.

    Returns:
        Flavor, and 2 * host + node, of each VM that entered, int64 [<= A] each.
    """
    free = np.full(nodes, NODE_CPU, np.int64)
    for vm in range(len(at)):
        for node in range(at[vm], at[vm] + 1 + two[flavor[vm]]):
            free[node] -= cpu[flavor[vm]]
    entered, places, count = np.empty_like(asked), np.empty_like(asked), 0
    for kind in asked:
        best, least = -1, 2 * NODE_CPU + 1
        for node in range(0, nodes, 1 + two[kind]):
            room, fits = free[node], free[node] >= cpu[kind]
            if two[kind]:
                room, fits = room + free[node + 1], fits and free[node + 1] >= cpu[kind]
            if fits and room < least:
                best, least = node, room
        if best >= 0:
            for node in range(best, best + 1 + two[kind]):
                free[node] -= cpu[kind]
            entered[count], places[count] = kind, best
            count += 1
    return entered[:count], places[:count]


@njit(cache=True)
def _scatter(
    cpu: np.ndarray, two: np.ndarray, at: np.ndarray, nodes: int, rate: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Migrate VMs at random, never to fewer fragments, until the fragment rate is reached.

    Args:
        cpu: int64 [V]; cores of each VM on each of its nodes.
        two: bool [V]; whether it is on both nodes of its host; such a VM stays.
        at: int64 [V]; 2 * host + node; changed in place.
        nodes: number of nodes of all hosts.
        rate: the fragment rate, of 16 cores.
        rng: draws the migrations.
    """
    free = np.full(nodes, NODE_CPU, np.int64)
    for vm in range(len(at)):
        for node in range(at[vm], at[vm] + 1 + two[vm]):
            free[node] -= cpu[vm]
    whole, fragments = free.sum(), (free % FRAGMENT_CORES).sum()
    for _ in range(TRIES * len(at)):
        if fragments >= rate * whole:
            return
        mover, to = rng.integers(0, len(at)), rng.integers(0, nodes)
        source, need = at[mover], cpu[mover]
        if two[mover] or to == source or free[to] < need:
            continue
        before = free[to] % FRAGMENT_CORES + free[source] % FRAGMENT_CORES
        after = (free[to] - need) % FRAGMENT_CORES + (free[source] + need) % FRAGMENT_CORES
        change = after - before
        if change >= 0:
            free[to] -= need
            free[source] += need
            fragments += change
            at[mover] = to


def _draw_sets(
    host: np.ndarray, pms: int, sets: int, rack_sets: int, rng: np.random.Generator
) -> tuple[list[list[int]], list[bool]]:
    """Draw disjoint groups of VMs that are on different hosts, or for rack sets in different racks.

    Returns:
        The VMs of each set, and whether each set is by rack.
    """
    order = deque(rng.permutation(len(host)).tolist())
    groups: list[list[int]] = []
    by_rack = [False] * sets + [True] * rack_sets
    n_racks = (pms - 1) // PMS_PER_RACK + 1
    for rack_wise in by_rack:
        places = n_racks if rack_wise else pms
        size = int(rng.integers(2, 5 if rack_wise else 7))
        group: list[int] = []
        taken: set[int] = set()
        passed_over: list[int] = []
        while order and len(group) < min(size, places):
            vm = order.popleft()
            place = int(host[vm]) // PMS_PER_RACK if rack_wise else int(host[vm])
            if place in taken:
                passed_over.append(vm)
            else:
                taken.add(place)
                group.append(vm)
        order.extendleft(reversed(passed_over))
        groups.append(group)
    return groups, by_rack
