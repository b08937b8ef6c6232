"""The requests of a world: those of a trace, or drawn from a data center's arrival process."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .instance import CLASS_LIMITS_S, HOUR_S, DataCenter, life_class

UNTOLD = -1
LONGEST_LIFE_S = 10**9  # 32 years
# What a class tells of a lifetime: the longest of the class, of the last one 1,000 h.
LONGEST_S = np.array((*CLASS_LIMITS_S, 10 * CLASS_LIMITS_S[-1])) - 1


class Trace(NamedTuple):
    """R requests and their E events, in the order in which they happen.

    Attributes:
        event_s: time since the start, int64 [E].
        event_request: int64 [E]; a request's first event is its arrival, its second its exit.
        arrive_s, exit_s: int64 [R]; exits after the last event are of VMs that stay.
        flavor: int64 [R].
        group: deployment set of each request, -1 for none, int64 [R].
        pinned: bool [R].
        place: where a VM that is there at the start is, -1 for one that the policy places,
            int64 [R].
        told_s: lifetime that the policy is told, UNTOLD for none, int64 [R].
        starts: the first so many requests are there at the start.
    """

    event_s: np.ndarray
    event_request: np.ndarray
    arrive_s: np.ndarray
    exit_s: np.ndarray
    flavor: np.ndarray
    group: np.ndarray
    pinned: np.ndarray
    place: np.ndarray
    told_s: np.ndarray
    starts: int


def requests_of(center: DataCenter, seed: int) -> Trace:
    """Return the requests of a world.

    Args:
        center: the data center.
        seed: the world's seed, which decides what the process draws and how predictions err; a
            trace's requests are the same for every seed.
    """
    trace = _recorded(center) if center.is_traced else draw_requests(center, seed)
    return trace._replace(told_s=tell(center, trace.exit_s - trace.arrive_s, seed))


def tell(center: DataCenter, lives_s: np.ndarray, seed: int) -> np.ndarray:
    """Return what the policy is told of lifetimes, int64 [R].

    Args:
        center: its setting says what.
        lives_s: the lifetimes, int64 [R], in seconds.
        seed: of how predictions err.
    """
    if center.lifetimes == "hidden":
        return np.full(len(lives_s), UNTOLD, np.int64)
    if center.lifetimes == "class":
        return np.asarray(LONGEST_S[life_class(lives_s)])
    errors = np.random.default_rng([seed, center.stream, 0x7E11]).normal(size=len(lives_s))
    predicted = lives_s * np.exp(center.prediction_sigma * errors)
    return np.asarray(np.rint(predicted.clip(1, LONGEST_S[-1])), np.int64)


def _recorded(center: DataCenter) -> Trace:
    count = len(center.request_flavor)
    last = max(center.horizon_s, int(center.event_s[-1]))
    order = np.argsort(center.event_request, kind="stable")
    first = np.searchsorted(center.event_request[order], np.arange(count))
    several = np.append(first[1:], len(order)) - first > 1
    exits = np.full(count, last + 1)
    exits[several] = center.event_s[order[first[several] + 1]]
    return Trace(
        center.event_s,
        center.event_request,
        center.event_s[order[first]],
        exits,
        center.request_flavor,
        center.request_set,
        center.request_pinned,
        center.request_place,
        exits,
        center.trace_starts,
    )


def draw_requests(center: DataCenter, seed: int) -> Trace:
    """Draw the VMs that are there at the start, then batches of requests hour by hour.

    Args:
        center: its process is drawn from, a trace's too.
        seed: the world's.

    Returns:
        The requests, of whose lifetimes nothing is told yet.
    """
    rng = np.random.default_rng([seed, center.stream, 0xA110])
    weight = center.flavor_share[:, None] * center.law_share * center.law_mean_h
    held = rng.choice(weight.size, center.start_vms, p=weight.ravel() / weight.sum())
    start_flavor, start_law = np.divmod(held, weight.shape[1])
    start_life = _lives(center, start_law, rng, is_residual=True)

    arrive, sizes = _batches(center, rng)
    flavor = rng.choice(len(center.flavor_share), len(arrive), p=_whole(center.flavor_share))
    law = _laws(center.law_share[flavor], rng)
    is_set = (rng.random(len(arrive)) < center.set_share) & (sizes > 1)
    sizes = np.where(is_set, np.minimum(sizes, center.n_pms), sizes)
    group = np.where(is_set, np.cumsum(is_set) - 1, -1)
    arrive, flavor, law, group = (np.repeat(one, sizes) for one in (arrive, flavor, law, group))
    life = _lives(center, law, rng)

    starts = center.start_vms
    arrive = np.concatenate([np.zeros(starts, np.int64), arrive])
    exits = arrive + np.concatenate([start_life, life])
    event_s, event_request = events_of(arrive, exits, center.horizon_s)
    return Trace(
        event_s,
        event_request,
        arrive,
        exits,
        np.concatenate([start_flavor, flavor]),
        np.concatenate([np.full(starts, -1), group]),
        rng.random(len(arrive)) < center.pinned_share,
        np.full(len(arrive), -1),
        exits,
        starts,
    )


def events_of(
    arrive: np.ndarray, exits: np.ndarray, horizon_s: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of arrivals and exits up to the horizon, rising, and their requests.

    Where times are equal, exits come first; a VM stays for a second at least.

    Args:
        arrive: of each request, int64 [R], in seconds.
        exits: later than the arrival, int64 [R].
        horizon_s: of the world.
    """
    count = len(arrive)
    times = np.concatenate([arrive, exits])
    request = np.tile(np.arange(count), 2)
    is_arrival = np.repeat([1, 0], count)
    played = times <= horizon_s
    order = np.lexsort((request[played], is_arrival[played], times[played]))
    return times[played][order], request[played][order]


def _batches(center: DataCenter, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the times of owners' batches, in seconds and rising, and their sizes, int64 [B] each."""
    hours = np.arange(np.ceil(center.horizon_h))
    lengths = np.minimum(center.horizon_h - hours, 1.0)
    rate = center.arrivals_per_h / center.batch_mean * center.hour_factor[hours.astype(int) % 24]
    counts = rng.poisson(rate * lengths)
    within = rng.random(counts.sum()) * np.repeat(lengths, counts)
    times = np.sort(np.floor((np.repeat(hours, counts) + within) * HOUR_S).astype(np.int64))
    return times, rng.geometric(1.0 / center.batch_mean, len(times))


def draw_lives(
    center: DataCenter, flavor: np.ndarray, is_start: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw lifetimes from their beginning or from the start of the world, in seconds, int64 [n].

    Args:
        center: its laws are drawn from.
        flavor: of each VM, int64 [n].
        is_start: VMs that are there at the start, bool [n]; long lives are met more often.
        rng: draws.
    """
    met = np.where(is_start[:, None], center.law_mean_h, 1.0)
    law = _laws(center.law_share[flavor] * met, rng)
    whole, rest = (_lives(center, law, rng, is_residual=residual) for residual in (False, True))
    return np.where(is_start, rest, whole)


def _laws(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a law for each VM, int64 [n], by weights float64 [n, C]."""
    upto = np.cumsum(weights, axis=1)
    laws: np.ndarray = (rng.random(len(weights))[:, None] * upto[:, -1:] >= upto).sum(axis=1)
    return laws


def _lives(
    center: DataCenter, law: np.ndarray, rng: np.random.Generator, is_residual: bool = False
) -> np.ndarray:
    """Draw lifetimes in seconds, at least 1, int64 [n].

    Args:
        center: its laws are drawn from.
        law: law of each VM, int64 [n].
        rng: draws.
        is_residual: whether to draw what is left of the lives of VMs met at any one moment. Long
            lives are met more often: a lognormal one in proportion to its length, of which a
            uniform part is left. What is left of an exponential one is as long as a new one.
    """
    mean, sigma = center.law_mean_h[law], center.law_sigma[law]
    normal, exponential = rng.normal(size=len(law)), rng.exponential(size=len(law))
    part = rng.random(len(law)) if is_residual else 1.0
    shift = sigma**2 / 2 if is_residual else -(sigma**2) / 2
    hours = np.where(sigma > 0, mean * np.exp(sigma * normal + shift) * part, mean * exponential)
    return np.asarray(np.rint(hours * HOUR_S).clip(1, LONGEST_LIFE_S), np.int64)


def _whole(shares: np.ndarray) -> np.ndarray:
    """Return shares that add up to 1 as exactly as NumPy's `choice` asks for."""
    return np.asarray(shares / shares.sum())
