"""The agents of VM rescheduling as contenders.

`agent` is a hybrid: column generation from learned prices instead of rough ones, so that it meets
the right patterns at once and needs fewer rounds. `ppo` is risk-seeking (VMR2L, EuroSys 2025,
section on risk-seeking evaluation): it samples plans until the budget ends and returns the best.
Every second one begins with a part of the best so far, so that what is good of it is kept.
`ppo_greedy` and `ppo_sample` return the one plan of the likeliest actions, and one sampled plan.
Each takes the folder of a trained policy, or of trained prices, in place of the shipped one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import make_state, make_static
from ...envs.vm_rescheduling.problem import PROBLEM
from ...methods.vm_rescheduling.columns import generate_columns
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.pricing import GridError, make_nodes
from ...methods.vm_rescheduling.two_nodes import for_any_hosts
from ..checkpoints import SHIPPED, kept_by_content, load_network
from .compiled import Weights, take_weights
from .network import RelationalPolicy
from .playing import Player
from .prices import PriceNetwork, graph_of, prices_of

POLICY, PRICES = SHIPPED / "vm_rescheduling_ppo", SHIPPED / "vm_rescheduling_prices"
TEMPERATURES = (0.5, 0.3, 1.0, 0.7)  # the samples take turns at these
LEFT_OUT = (0.05, 0.45)  # least and greatest share of the best plan's moves that are left out
RESERVE_S = 0.005  # kept back for returning the plan
# At the peak rate of churn longer sampling costs more than it gains: on lookalike:val plans of .1,
# .25, .5, 1 and 2 seconds end at .2725, .2704, .2679, .2673 and .2687.
LIVE_S = 1.0


@kept_by_content
def load_weights(folder: Path) -> Weights:
    """Load a policy for compiled play.

    Args:
        folder: the policy's.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    return take_weights(load_network(folder, PROBLEM, RelationalPolicy))


@kept_by_content
def load_prices(folder: Path) -> PriceNetwork:
    """Load a price network.

    Args:
        folder: the policy's.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    torch.set_num_threads(1)
    return load_network(folder, PROBLEM, PriceNetwork).eval()


@for_any_hosts
def solve_agent(instance: Cluster, budget: Budget, seed: int, policy: Path = PRICES) -> Solution:
    """Plan by column generation from learned prices.

    Where a cluster has no such relaxation (CPU without a coarse unit), no prices are learned and
    column generation hands over to local search.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one master solved in whole numbers.
        seed: of column generation.
        policy: folder of the price network.
    """
    clock = budget.start()
    prices = None
    with contextlib.suppress(GridError):
        nodes = make_nodes(instance)
        with torch.inference_mode():
            prices = prices_of(nodes, load_prices(policy)(graph_of(nodes, instance.mnl)).numpy())
    return generate_columns(instance, clock, seed, prices)


@for_any_hosts
def solve_ppo(instance: Cluster, budget: Budget, seed: int, policy: Path = POLICY) -> Solution:
    """Return the best of many sampled plans, the greedy one among them. One evaluation is one plan.

    Args:
        instance: the cluster.
        budget: what may be spent.
        seed: seed of the sampling.
        policy: folder of the policy.
    """
    clock = budget.start()
    return improve(instance, clock, seed, load_weights(policy), plans=None)


@for_any_hosts
def solve_ppo_greedy(
    instance: Cluster, budget: Budget, seed: int, policy: Path = POLICY
) -> Solution:
    """Return the plan of the likeliest actions.

    Args:
        instance: the cluster.
        budget: what may be spent; one plan takes milliseconds.
        seed: not read; the plan is the same for every seed.
        policy: folder of the policy.
    """
    clock = budget.start()
    return improve(instance, clock, seed, load_weights(policy), plans=(0.0,))


@for_any_hosts
def solve_ppo_sample(
    instance: Cluster, budget: Budget, seed: int, policy: Path = POLICY
) -> Solution:
    """Return one plan sampled from the policy as it is.

    Args:
        instance: the cluster.
        budget: what may be spent; one plan takes milliseconds.
        seed: seed of the sampling.
        policy: folder of the policy.
    """
    clock = budget.start()
    return improve(instance, clock, seed, load_weights(policy), plans=(1.0,))


def improve(
    instance: Cluster, clock: Clock, seed: int, weights: Weights, plans: Sequence[float] | None
) -> Solution:
    """Play plans and return the best.

    Args:
        instance: the cluster.
        clock: the running clock of the contender.
        seed: seed of the sampling.
        weights: the policy.
        plans: temperature of each plan to play, 0 for the likeliest actions; None to play until the
            budget ends.
    """
    rng = np.random.default_rng(seed)
    static = make_static(instance)
    start = make_state(instance, static)
    player = Player(instance, weights, clock, static, start)
    best, kept = player.start, np.zeros(0, np.int64)
    slowest = 0.0
    count = 0
    while plans is None or count < len(plans):
        began = clock.elapsed
        if clock.expired or (count > 0 and clock.remaining < RESERVE_S + slowest):
            break
        if plans is None and instance.mode == "live" and began > LIVE_S:
            break
        if plans is not None:
            temperature = plans[count]
        else:
            temperature = TEMPERATURES[count // 2 % len(TEMPERATURES)] if count else 0.0
        first = _part(kept, rng) if plans is None and count % 2 else kept[:0]
        objective, plies = player.play(temperature, rng, first)
        if objective < best - 1e-12:
            clock.incumbent(plies)
        if objective < best + 1e-12:
            best, kept = objective, plies
        count += 1
        clock.evaluations += 1
        slowest = max(slowest, clock.elapsed - began)
    return finish(clock, static, start, kept)


def _part(plan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a plan without some of its moves, drawn at random; int64 plies, in their order."""
    moves = plan.reshape(-1, 2)
    out = rng.random(len(moves)) < rng.uniform(*LEFT_OUT)
    return np.ascontiguousarray(moves[~out].ravel())
