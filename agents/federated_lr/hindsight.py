"""Lessons in finding rates that suit a federation: what hindsight knows, a policy has to learn from
how training goes.

How averaging does at each pair of constant rates is known once a federation has been trained at all
of them. Episodes then go from rates to rates, and every action is worth what the rates that it
leads to were worth. A policy that raises the expected worth of its actions must tell from what it
sees which federation it is in: over many of them it learns to adapt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ...core.instance import remembered
from ...datasets.federated_lr.instance import Federation
from ...envs.federated_lr.dynamics import make_dynamics
from ...envs.federated_lr.grid import FACTORS, mask_of, nearest_action, order_of_action
from ...envs.federated_lr.objective import score
from ...envs.federated_lr.observation import Observer
from ...methods.federated_lr.constants import Rates, train
from ..recipe import ImitationPass
from ..recurrent.imitation import Episode
from ..recurrent.policy import begin
from .network import RatePolicy
from .players import Adaptive

ALPHAS, BETAS = (0.5, 1.0, 2.0, 4.0), (0.03, 0.1, 0.3, 1.0)  # of averaging at constant rates
BEYOND = 0.05  # what rates beyond these are worth less, per factor of e
LANES = 4  # episodes of a federation in a pass, and as many by the policy itself
MEAN_STAY = 6.0  # steps of an episode at rates, before it goes on
TO_BEST = 0.5  # probability that it goes on to the best ones
HINDSIGHT_WORLD = 0
MOST_WORLD = 2**19  # worlds of lessons lie below it


class Seen(NamedTuple):
    """What is known at a step.

    Attributes:
        rounds: float32 [4, 16], as observed.
        mask: int8 [25]; 1 for legal actions.
        alpha: the server's rate.
        beta: the clients' rate.
    """

    rounds: np.ndarray
    mask: np.ndarray
    alpha: float
    beta: float


def lessons(imitation: ImitationPass[RatePolicy, Federation]) -> list[Episode]:
    """Return episodes of each federation, half of them by the policy as it is; see Recipe.

    No contender is imitated.
    """
    episodes: list[Episode] = []
    for federation in imitation.instances:
        worth = remembered(federation, worth_of_constants)
        episodes += strayed(federation, worth, LANES, imitation.rng)
        episodes += followed(federation, worth, [imitation.network] * LANES, imitation.rng)
    return episodes


def worth_of_constants(federation: Federation) -> np.ndarray:
    """Train at every pair of constant rates, and return the objectives of the server's validation
    rows, float64 [ALPHAS, BETAS].

    Args:
        federation: without its test rows, and with an objective that grows.
    """
    f = federation
    plans = [Rates("average", *pair).plan(f.rounds) for pair in product(ALPHAS, BETAS)]
    runs = train(f, plans, HINDSIGHT_WORLD).accuracies
    found = np.array([score(f.objective, run, f.rounds, f.target) for run in runs])
    return found.reshape(len(ALPHAS), len(BETAS))


def worth_at(worth: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Interpolate what rates are worth between the constants, in their logarithms.

    Args:
        worth: float64 [ALPHAS, BETAS].
        alpha: rates of the server, float64 of any shape.
        beta: rates of the clients, of the same shape.

    Returns:
        float64 of that shape.
    """
    places, parts, beyond = [], [], np.zeros(np.shape(alpha))
    for rate, known in ((alpha, ALPHAS), (beta, BETAS)):
        at, logs = np.log(rate), np.log(known)
        within = np.clip(at, logs[0], logs[-1])
        beyond = beyond + np.abs(at - within)
        place = np.clip(np.searchsorted(logs, within, side="right") - 1, 0, len(known) - 2)
        places.append(place)
        parts.append((within - logs[place]) / (logs[place + 1] - logs[place]))
    (i, j), (u, v) = places, parts
    below = (1 - v) * worth[i, j] + v * worth[i, j + 1]
    above = (1 - v) * worth[i + 1, j] + v * worth[i + 1, j + 1]
    found: np.ndarray = (1 - u) * below + u * above - BEYOND * beyond
    return found


def strayed(
    federation: Federation, worth: np.ndarray, lanes: int, rng: np.random.Generator
) -> list[Episode]:
    """Play episodes that go from rates to rates; see `played`.

    Args:
        federation: the instance.
        worth: of its constant rates, float64 [ALPHAS, BETAS].
        lanes: number of episodes.
        rng: source of the worlds and of where episodes go.
    """
    pairs = list(product(ALPHAS, BETAS))
    best = pairs[int(worth.argmax())]
    towards = [Adaptive.FIRST] * lanes

    def choose(lane: int, seen: Seen) -> int:
        if rng.random() < 1.0 / MEAN_STAY:
            to_best = rng.random() < TO_BEST
            towards[lane] = best if to_best else pairs[int(rng.integers(len(pairs)))]
        return nearest_action(*towards[lane], seen.mask, (seen.alpha, seen.beta))

    return played(federation, worth, lanes, rng, choose)


def followed(
    federation: Federation, worth: np.ndarray, networks: Sequence[Any], rng: np.random.Generator
) -> list[Episode]:
    """Play an episode by each network's likeliest actions; see `played`.

    Args:
        federation: the instance.
        worth: of its constant rates, float64 [ALPHAS, BETAS].
        networks: policies, with or without a memory.
        rng: source of the worlds.
    """
    states = [begin(network) for network in networks]

    def choose(lane: int, seen: Seen) -> int:
        return int(networks[lane].likeliest(seen.rounds, seen.mask, states[lane]))

    return played(federation, worth, len(networks), rng, choose)


def played(
    federation: Federation,
    worth: np.ndarray,
    lanes: int,
    rng: np.random.Generator,
    choose: Callable[[int, Seen], int],
) -> list[Episode]:
    """Play episodes side by side, each in a world of its own, from Adaptive.FIRST on.

    Args:
        federation: the instance.
        worth: of its constant rates, float64 [ALPHAS, BETAS].
        lanes: number of episodes.
        rng: source of the worlds.
        choose: lane, what is seen there -> action of the grid.

    Returns:
        The episodes, with the worth of all actions of the grid.
    """
    f = dataclasses.replace(federation, alpha=Adaptive.FIRST[0], beta=Adaptive.FIRST[1])
    dynamics, observer = make_dynamics([f] * lanes), Observer(lanes)
    for lane in range(lanes):
        dynamics.begin(lane, f, int(rng.integers(MOST_WORLD)))
    s, going = dynamics.statistics, np.arange(lanes)
    observer.begin(s, going)
    of_alpha, of_beta = np.repeat(FACTORS, len(FACTORS)), np.tile(FACTORS, len(FACTORS))
    steps: list[list[tuple[Seen, np.ndarray]]] = [[] for _ in range(lanes)]
    while len(going):
        orders = []
        for lane in going.tolist():
            alpha, beta = float(s.alpha[lane]), float(s.beta[lane])
            seen = Seen(observer.rounds[lane].copy(), mask_of(alpha, beta), alpha, beta)
            steps[lane].append((seen, worth_at(worth, alpha * of_alpha, beta * of_beta)))
            orders.append(order_of_action(choose(lane, seen), alpha, beta, Adaptive.SERVER))
        dynamics.step(np.array(orders), going)
        observer.look(s, going)
        going = going[~s.diverged[going] & (s.step[going] <= s.rounds[going])]
    return [
        Episode(
            {
                "rounds": np.stack([seen.rounds for seen, _ in own]),
                "action_mask": np.stack([seen.mask for seen, _ in own]),
            },
            np.stack([values for _, values in own]).astype(np.float32),
        )
        for own in steps
    ]
