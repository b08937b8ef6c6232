"""Sampled futures of a data center, played in compiled code by worths of hosts.

A future is what the process of arrivals may bring: single requests at the hour's rate (batches,
deployment sets and pins are left out), and exits of the VMs that are there, by their laws and the
time since they came. All candidates for a place meet the same futures.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.vm_allocation.instance import HOUR_S, DataCenter
from ...envs.rooms import rooms
from .playing import best_place

TRIES = 30  # draws of a lifetime longer than a VM's age, until it counts as staying


class Process(NamedTuple):
    """Who comes and how long they stay, as compiled code reads it.

    Attributes:
        flavor_cpu, flavor_mem, flavor_nodes: int64 [K].
        flavor_until: float64 [K]; shares of the flavors, added up.
        law_share: float64 [K, C].
        law_mean_s, law_sigma: float64 [C].
        core: CPU of a core.
        horizon_s: seconds that are played.
    """

    flavor_cpu: np.ndarray
    flavor_mem: np.ndarray
    flavor_nodes: np.ndarray
    flavor_until: np.ndarray
    law_share: np.ndarray
    law_mean_s: np.ndarray
    law_sigma: np.ndarray
    core: int
    horizon_s: float


class There(NamedTuple):
    """The VMs that are there, a row each.

    Attributes:
        flavor: int64 [V]; -1 for an empty row.
        place: 2 * PM + node, int64 [V].
        since_s: when it came, float64 [V].
        is_start: 1 for VMs that were there at the start: long lives are met more often, int64 [V].
    """

    flavor: np.ndarray
    place: np.ndarray
    since_s: np.ndarray
    is_start: np.ndarray


class Future(NamedTuple):
    """Events in the order of time: VMs that are there leave, requests come and leave.

    Attributes:
        event: int64 [E]; below V the exit of a row of There; V + 2i request i comes, V + 2i + 1 it
            leaves.
        flavor: of each request, int64 [A].
        arrive_s, exit_s: float64 [A].
    """

    event: np.ndarray
    flavor: np.ndarray
    arrive_s: np.ndarray
    exit_s: np.ndarray


def process_of(center: DataCenter) -> Process:
    """Return the process of a data center.

    Args:
        center: the data center.
    """
    return Process(
        center.flavor_cpu,
        center.flavor_mem,
        center.flavor_nodes,
        np.cumsum(center.flavor_share) / center.flavor_share.sum(),
        np.ascontiguousarray(center.law_share),
        center.law_mean_h * HOUR_S,
        center.law_sigma,
        center.cpu_per_core,
        float(center.horizon_s),
    )


@njit(cache=True)
def _survival(mean: float, sigma: float, age: float) -> float:
    """Return the probability that a life by a law is longer than an age."""
    if age <= 0.0:
        return 1.0
    if sigma <= 0.0:
        return math.exp(-age / mean)
    z = (math.log(age / mean) + sigma * sigma / 2.0) / sigma
    return 0.5 * math.erfc(z / math.sqrt(2.0))


@njit(cache=True)
def remaining_s(
    process: Process, rng: np.random.Generator, flavor: int, age: float, is_start: bool
) -> float:
    """Draw what is left of a VM's life, in seconds.

    Args:
        process: its laws are drawn from.
        rng: draws.
        flavor: of the VM.
        age: seconds since it came; since the start for a VM that was there.
        is_start: whether it was there at the start.
    """
    laws = len(process.law_mean_s)
    total, u = 0.0, rng.random()
    for turn in range(2):
        added = 0.0
        for law in range(laws):
            mean, sigma = process.law_mean_s[law], process.law_sigma[law]
            weight = process.law_share[flavor, law] * _survival(mean, sigma, age)
            if is_start:
                weight *= mean
            added += weight
            if turn == 1 and added >= u * total:
                if sigma <= 0.0:
                    return float(rng.exponential(mean))
                for _ in range(TRIES):
                    life = mean * math.exp(sigma * rng.normal() - sigma * sigma / 2.0)
                    if life > age:
                        return float(life - age)
                return np.inf
        total = added
    return np.inf


@njit(cache=True)
def draw_future(
    process: Process,
    rng: np.random.Generator,
    there: There,
    now_s: float,
    until_s: float,
    per_s: float,
) -> Future:
    """Draw what happens within some time.

    Args:
        process: who comes.
        rng: draws.
        there: who is there.
        now_s: seconds since the start.
        until_s: end of that time, in seconds since the start.
        per_s: requests a second.
    """
    rows, count = len(there.flavor), rng.poisson(per_s * (until_s - now_s))
    flavor, arrive, leave = np.zeros(count, np.int64), np.zeros(count), np.zeros(count)
    time, event = np.zeros(rows + 2 * count), np.zeros(rows + 2 * count, np.int64)
    n = 0
    for row in range(rows):
        if there.flavor[row] < 0:
            continue
        left = remaining_s(
            process, rng, there.flavor[row], now_s - there.since_s[row], there.is_start[row] > 0
        )
        if now_s + left < until_s:
            time[n], event[n] = now_s + left, row
            n += 1
    for i in range(count):
        k = int(np.searchsorted(process.flavor_until[:-1], rng.random()))
        at = now_s + rng.random() * (until_s - now_s)
        flavor[i], arrive[i] = k, at
        leave[i] = at + remaining_s(process, rng, k, 0.0, False)
        time[n], event[n] = at, rows + 2 * i
        n += 1
        if leave[i] < until_s:
            time[n], event[n] = leave[i], rows + 2 * i + 1
            n += 1
    return Future(event[:n][np.argsort(time[:n])], flavor, arrive, leave)


@njit(cache=True)
def _occupy(
    process: Process, cpu: np.ndarray, mem: np.ndarray, k: int, place: int, sign: int
) -> None:
    """Take (sign 1) or give back (sign -1) what a VM of a flavor needs in a place."""
    first, last = place % 2, place % 2 + 1
    if process.flavor_nodes[k] == 2:
        first, last = 0, 2
    for node in range(first, last):
        cpu[place // 2, node] -= sign * process.flavor_cpu[k]
        mem[place // 2, node] -= sign * process.flavor_mem[k]


@njit(cache=True)
def play_future(
    process: Process,
    there: There,
    future: Future,
    free_cpu: np.ndarray,
    free_mem: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> float:
    """Play a future by worths of hosts and return the CPU times seconds that are rejected.

    Args:
        process: who comes.
        there: who is there.
        future: what happens.
        free_cpu: int64 [P, 2] at its beginning; it is not changed.
        free_mem: int64 [P, 2], likewise.
        before: worth of hosts by whole free cores, as they are, float64 [C+1, C+1].
        after: their worth once a request is on them, float64 [C+1, C+1].
    """
    cpu, mem, rows = free_cpu.copy(), free_mem.copy(), len(there.flavor)
    place, lost = np.full(len(future.flavor), -1), 0.0
    mask = np.zeros(2 * len(cpu), np.int8)
    for event in future.event:
        if event < rows:
            _occupy(process, cpu, mem, there.flavor[event], there.place[event], -1)
            continue
        i = (event - rows) // 2
        k = future.flavor[i]
        if (event - rows) % 2:
            if place[i] >= 0:
                _occupy(process, cpu, mem, k, place[i], -1)
            continue
        need, memory, spread = process.flavor_cpu[k], process.flavor_mem[k], process.flavor_nodes[k]
        for pm in range(len(cpu)):
            # A node that a host does not have has no free CPU.
            mask[2 * pm], mask[2 * pm + 1] = rooms(cpu, mem, pm, 2, need, memory, spread)
        place[i] = best_place(cpu, mask, need, spread, process.core, before, after)
        if place[i] >= 0:
            _occupy(process, cpu, mem, k, place[i], 1)
        else:
            seconds = min(future.exit_s[i], process.horizon_s) - future.arrive_s[i]
            lost += process.flavor_cpu[k] * process.flavor_nodes[k] * seconds
    return lost


@njit(cache=True)
def compare(
    process: Process,
    rng: np.random.Generator,
    there: There,
    row: int,
    candidates: np.ndarray,
    free_cpu: np.ndarray,
    free_mem: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    span: np.ndarray,
) -> np.ndarray:
    """Draw a future and play it from each candidate place of a request.

    Args:
        process: who comes.
        rng: draws.
        there: who is there, the request among them.
        row: of the request; its place is set to each candidate.
        candidates: places, int64 [n].
        free_cpu: int64 [P, 2] without the request; as at the beginning when this returns.
        free_mem: int64 [P, 2], likewise.
        before: see `play_future`.
        after: see `play_future`.
        span: float64 [3]; now and the future's end, in seconds since the start, and requests a
            second.

    Returns:
        CPU times seconds that are rejected from each candidate, float64 [n].
    """
    future, lost = (
        draw_future(process, rng, there, span[0], span[1], span[2]),
        np.zeros(len(candidates)),
    )
    k = there.flavor[row]
    for i in range(len(candidates)):
        there.place[row] = candidates[i]
        _occupy(process, free_cpu, free_mem, k, candidates[i], 1)
        lost[i] = play_future(process, there, future, free_cpu, free_mem, before, after)
        _occupy(process, free_cpu, free_mem, k, candidates[i], -1)
    return lost
