"""Lessons in finding rates that suit a federation: what hindsight knows, a policy has to learn from
how training goes.

At some steps of an episode training goes on in forks, each at the rates that another action leads
to, in the very rounds that are to come; what an action is worth is the mean accuracy there. A
policy that raises the expected worth of its actions must tell from what it sees which federation
it is in: over many of them it learns to adapt. That constant rates did well from the first round on
says little about going there later: a model that was trained too fast recovers slowly.
"""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np

from ...datasets.federated_lr.instance import Federation
from ...envs.federated_lr.dynamics import Dynamics, make_dynamics
from ...envs.federated_lr.grid import (
    ACTIONS,
    FACTORS,
    STAY,
    factors_of,
    mask_of,
    nearest_action,
    order_of_action,
)
from ...envs.federated_lr.observation import Observer
from ...envs.federated_lr.orders import order
from ..recipe import ImitationPass
from ..recurrent.imitation import Episode
from .network import RatePolicy
from .players import Adaptive

ALPHAS, BETAS = (0.5, 1.0, 2.0, 4.0), (0.03, 0.1, 0.3, 1.0)  # where episodes stray to
MEAN_STAY = 6.0  # steps of a straying episode at rates, before it goes on
FORKED = 6  # steps of an episode at which training forks, on average
HORIZON = 12  # rounds of a fork
MOST_WORLD = 2**19  # worlds of lessons lie below it
SIDE = len(FACTORS)
# Actions that are tried: those that change one of the rates, or none.
TRIED = [action for action in range(ACTIONS) if 1.0 in factors_of(action)]


def lessons(imitation: ImitationPass[RatePolicy, Federation]) -> list[Episode]:
    """Return two episodes of each federation, one of which strays; see Recipe.

    No contender is imitated.
    """
    return [
        forked(federation, strays, imitation.rng)
        for federation in imitation.instances
        for strays in (False, True)
    ]


def forked(federation: Federation, strays: bool, rng: np.random.Generator) -> Episode:
    """Play an episode from Adaptive.FIRST on, and find what actions are worth at some steps.

    Args:
        federation: the instance.
        strays: whether it goes from rates to rates, drawn from ALPHAS and BETAS; else it stays.
        rng: source of the world, of the steps that fork and of where it goes.
    """
    f = dataclasses.replace(federation, alpha=Adaptive.FIRST[0], beta=Adaptive.FIRST[1])
    # Lanes that are all the same, as many as are needed in a fork.
    lanes, observer = make_dynamics([f] * len(TRIED)), Observer(len(TRIED))
    world, everyone = int(rng.integers(MOST_WORLD)), np.arange(len(TRIED))
    for lane in everyone.tolist():
        lanes.begin(lane, f, world)
    s, pairs, towards = lanes.statistics, list(product(ALPHAS, BETAS)), Adaptive.FIRST
    observer.begin(s, everyone)
    rounds, masks, worth = [], [], []
    while not s.diverged[0] and s.step[0] <= s.rounds[0]:
        alpha, beta = float(s.alpha[0]), float(s.beta[0])
        mask = mask_of(alpha, beta)
        rounds.append(observer.rounds[0].copy())
        masks.append(mask)
        forks = rng.random() < FORKED / f.rounds
        worth.append(worth_of_actions(lanes) if forks else np.full(ACTIONS, np.nan))
        if strays and rng.random() < 1.0 / MEAN_STAY:
            towards = pairs[int(rng.integers(len(pairs)))]
        action = nearest_action(*towards, mask, (alpha, beta))
        given = order_of_action(action, alpha, beta, Adaptive.SERVER)
        lanes.step(np.tile(given, (len(TRIED), 1)), everyone)
        observer.look(s, everyone)
    seen = {"rounds": np.stack(rounds), "action_mask": np.stack(masks)}
    return Episode(seen, np.stack(worth).astype(np.float32))


def worth_of_actions(lanes: Dynamics) -> np.ndarray:
    """Return what each action of the grid is worth now, float64 [25]: the mean accuracy of the
    validation rows over the next rounds at the rates that it leads to.

    Those of TRIED are tried; the gains of an action that changes both rates are taken to add up.

    Args:
        lanes: training in as many lanes as TRIED has, all in the same state.
    """
    fork = lanes.fork()
    s = fork.statistics
    alpha, beta = float(s.alpha[0]), float(s.beta[0])
    factors = [factors_of(action) for action in TRIED]
    orders = np.array([order(alpha * a, beta * b, Adaptive.SERVER) for a, b in factors])
    total, going = np.zeros(len(TRIED)), np.arange(len(TRIED))
    rounds = min(HORIZON, int(s.rounds[0] - s.step[0]) + 1)
    for _ in range(rounds):
        fork.step(orders[going], going)
        going = going[~s.diverged[going]]
        total[going] += s.validation_accuracy[going]
    worth = np.full(ACTIONS, np.nan)
    worth[TRIED] = total / rounds
    of_alpha, of_beta = worth[STAY % SIDE :: SIDE], worth[STAY // SIDE * SIDE :][:SIDE]
    both: np.ndarray = np.add.outer(of_alpha, of_beta) - worth[STAY]
    return both.ravel()
