"""Fit the arrival process of a data center to the requests before a window of a trace.

What contenders are told of the requests to come is this fit, and nothing of the window itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .instance import HOUR_S, MOST_HOURS

MOST_LAWS = 4
FEWEST_EXITS = 20  # for more than one law
SAMPLE, ROUNDS = 20_000, 60  # lifetimes that laws are fitted to, and rounds of the fit
LEAST_LIFE_H = 1e-3
SHARED = 10.0  # requests' worth of the common shares of laws in those of each flavor
FEWEST_DAYS = 7  # for a daily rhythm
ASSUMED_LIFE_H = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """H requests that arrived before a window.

    Attributes:
        hours: length of the part of the trace that they are of, up to the window.
        start: float64 [H]; arrivals in seconds before the window's start, negative.
        end: float64 [H]; exits, infinity if there is none; what is 0 or more is not looked at.
        flavor: int64 [H].
        group: deployment set, -1 for none, int64 [H].
        pinned: bool [H].
    """

    hours: float
    start: np.ndarray
    end: np.ndarray
    flavor: np.ndarray
    group: np.ndarray
    pinned: np.ndarray


def fit_process(history: History, n_flavors: int) -> Mapping[str, object]:
    """Return the fields of a DataCenter that say what arrives, as far as the history tells.

    Shares of flavors are those of the requests, each flavor of the catalogue with a little more
    than none. Lifetimes are a mixture of exponential laws (Feldmann and Whitt, Performance
    Evaluation 1998), fitted by expectation maximization; VMs that are still there are censored.
    Arrivals are as many an hour as on average, those of one flavor in one second are a batch.

    Args:
        history: may be empty; then nothing is known: all flavors are equally likely, lifetimes are
            exponential with a mean of 3 hours, and the caller sets the arrivals.
        n_flavors: number of flavors, K.
    """
    count = len(history.start)
    share = np.bincount(history.flavor, minlength=n_flavors) + 1.0 / n_flavors
    if count == 0 or history.hours <= 0:
        return _process(share, np.array([ASSUMED_LIFE_H]), np.ones((n_flavors, 1)))
    is_censored = history.end >= 0.0
    lives_h = (np.minimum(history.end, 0.0) - history.start) / HOUR_S
    mean_h, weight = _laws(lives_h.clip(LEAST_LIFE_H), is_censored)
    of_law = _memberships(lives_h.clip(LEAST_LIFE_H), is_censored, mean_h, weight)
    by_flavor = SHARED * np.tile(weight, (n_flavors, 1))
    np.add.at(by_flavor, history.flavor, of_law)
    key = np.stack([np.floor(history.start).astype(np.int64), history.flavor, history.group])
    _, batch, sizes = np.unique(key, axis=1, return_inverse=True, return_counts=True)
    several = sizes > 1
    is_set = np.zeros(len(sizes), np.bool_)
    is_set[batch.reshape(-1)[history.group >= 0]] = True
    return _process(
        share,
        mean_h,
        by_flavor,
        arrivals_per_h=float(count / history.hours),
        hour_factor=_rhythm(key[0], history.hours),
        batch_mean=float(np.clip(count / len(sizes), 1.0, 1000.0)),
        set_share=float(is_set[several].mean()) if several.any() else 0.0,
        pinned_share=float(history.pinned.mean()),
    )


def _process(
    share: np.ndarray, mean_h: np.ndarray, law_share: np.ndarray, **others: object
) -> Mapping[str, object]:
    known: dict[str, object] = {
        "flavor_share": share / share.sum(),
        "law_mean_h": mean_h,
        "law_sigma": np.zeros(len(mean_h)),
        "law_share": law_share / law_share.sum(axis=1, keepdims=True),
        "arrivals_per_h": 0.0,
        "hour_factor": np.ones(24),
        "batch_mean": 1.0,
        "set_share": 0.0,
        "pinned_share": 0.0,
    }
    return known | others


def _laws(lives_h: np.ndarray, is_censored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit exponential laws to lifetimes, some of which are only known to be longer.

    Args:
        lives_h: hours seen of each life, float64 [H].
        is_censored: whether the VM is still there, bool [H].

    Returns:
        Mean in hours and weight of each law, float64 [C] each; means rise.
    """
    ended = np.sort(lives_h[~is_censored])
    overall = lives_h.sum() / max(1, len(ended))
    if len(ended) < FEWEST_EXITS:
        return np.array([overall.clip(LEAST_LIFE_H, MOST_HOURS)]), np.ones(1)
    step = -(-len(lives_h) // SAMPLE)
    lives, censored = lives_h[::step], is_censored[::step]
    low = ended[len(ended) // 20]
    high = max(overall, ended[-1], 2 * low)
    mean, weight = np.geomspace(low, high, MOST_LAWS), np.full(MOST_LAWS, 1.0 / MOST_LAWS)
    for _ in range(ROUNDS):
        part = _memberships(lives, censored, mean, weight)
        exits = part[~censored].sum(axis=0)
        mean = (lives @ part / np.maximum(exits, 1e-12)).clip(LEAST_LIFE_H, MOST_HOURS)
        weight = part.mean(axis=0)
    order = np.argsort(mean)
    return mean[order], weight[order]


def _memberships(
    lives_h: np.ndarray, is_censored: np.ndarray, mean_h: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return how likely each life is of each law, float64 [H, C]; rows add up to 1."""
    log = np.log(np.maximum(weight, 1e-300)) - lives_h[:, None] / mean_h
    log = log - np.where(is_censored[:, None], 0.0, np.log(mean_h))
    part = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(part / part.sum(axis=1, keepdims=True))


def _rhythm(seconds: np.ndarray, hours: float) -> np.ndarray:
    """Return the arrivals of each hour of the day over their mean, from the window's start on.

    What whole days tell is drawn toward none by as much as days differ (James and Stein).

    Args:
        seconds: arrivals, negative, int64 [H].
        hours: length of the history.
    """
    days = int(hours // 24)
    if days < FEWEST_DAYS:
        return np.ones(24)
    hour = seconds // HOUR_S + 24 * days
    counts = np.bincount(hour[hour >= 0], minlength=24 * days).reshape(days, 24)
    mean = counts.mean(axis=0)
    between = mean.var(ddof=1)
    if between == 0:
        return np.ones(24)
    noise = counts.var(axis=0, ddof=1).mean() / days
    return np.asarray(1.0 + max(0.0, 1.0 - noise / between) * (mean / mean.mean() - 1.0))
