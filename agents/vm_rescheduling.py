"""The agents of VM rescheduling: the one place that names its network and recipe. Uses torch and
numba.

`ppo` is risk-seeking (VMR2L, EuroSys 2025, section on risk-seeking evaluation): it samples plans
until the budget ends and returns the best. `ppo_greedy` and `ppo_sample` return the one plan of the
likeliest actions, and one sampled plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from torch import nn

from ..core.budget import Budget, Clock
from ..core.contracts import Solver
from ..core.errors import CheckpointError, SettingError
from ..core.solution import Solution
from ..datasets.vm_rescheduling.instance import Cluster
from ..envs.vm_rescheduling.problem import PROBLEM
from .checkpoints import SHIPPED, load_policy
from .imitation import Sample, demonstrate, imitate, replanned
from .networks import RelationalPolicy
from .playing import Player, Weights, take_weights
from .recipe import Recipe

POLICY = SHIPPED / "vm_rescheduling_ppo"
TEMPERATURES = (0.5, 0.3, 1.0, 0.7)  # of the samples, in turn
SCORE_SAMPLES = 8
SCORE_TEMPERATURE = 0.5
RESERVE_S = 0.005  # for handing the plan over
# At the peak rate of churn longer sampling costs more than it gains: on lookalike:val plans of .1,
# .25, .5, 1 and 2 seconds end at .2725, .2704, .2679, .2673 and .2687.
LIVE_S = 1.0
LESSONS_A_PLAN = 80  # samples taken from one replayed plan


@cache
def shipped_weights() -> Weights:
    """The shipped policy.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    state, card = load_policy(POLICY, PROBLEM)
    network = RelationalPolicy(card.width)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{POLICY}: the weights do not fit the network ({error})") from error
    return take_weights(network)


def solve_ppo(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """The best of many sampled plans, the greedy one among them. One evaluation is one plan."""
    clock = budget.start()
    return improve(instance, clock, seed, plans=None)


def solve_ppo_greedy(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """The plan of the likeliest actions; the same for every seed."""
    clock = budget.start()
    return improve(instance, clock, seed, plans=(0.0,))


def solve_ppo_sample(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """One plan sampled from the policy as it is."""
    clock = budget.start()
    return improve(instance, clock, seed, plans=(1.0,))


def improve(instance: Cluster, clock: Clock, seed: int, plans: Sequence[float] | None) -> Solution:
    """Plays plans, one a temperature (None: until the budget ends), and keeps the best."""
    rng = np.random.default_rng(seed)
    player = Player(instance, shipped_weights())
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
            temperature = TEMPERATURES[count % len(TEMPERATURES)] if count else 0.0
        objective, plies = player.play(temperature, rng)
        if objective < best - 1e-12:
            best, kept = objective, plies
            clock.incumbent(kept)
        count += 1
        clock.evaluations += 1
        slowest = max(slowest, clock.elapsed - began)
    return clock.solution(kept)


def score(network: nn.Module, instances: Sequence[Cluster]) -> dict[str, float]:
    """Mean objectives: of the greedy plan, of a sample, of the best of 8 samples. Deterministic."""
    weights = take_weights(network)
    rng = np.random.default_rng(0)
    rows = []
    for cluster in instances:
        player = Player(cluster, weights)
        greedy = player.play(0.0, rng)[0]
        samples = [player.play(SCORE_TEMPERATURE, rng)[0] for _ in range(SCORE_SAMPLES)]
        rows.append((greedy, float(np.mean(samples)), min(samples)))
    means = np.mean(rows, axis=0)
    return dict(
        zip(("greedy", "sample", f"best_of_{SCORE_SAMPLES}"), map(float, means), strict=True)
    )


def lessons(
    network: nn.Module,
    instances: Sequence[Cluster],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Sample]:
    """Samples to imitate: each instance's plan replayed; see imitation.py."""
    if solver is None:
        raise SettingError("imitation.contender: name the contender whose plans are imitated")
    weights = take_weights(network)
    samples: list[Sample] = []
    for cluster in instances:
        start = cluster
        if own_play:
            _, plies = Player(cluster, weights).play(1.0, rng)
            moves = int(rng.integers(len(plies) // 2 + 1))
            start, plan = replanned(cluster, plies[: 2 * moves], solver, budget, 0)
        else:
            plan = _plan(cluster, solver, budget)
        replay = list(demonstrate(start, plan, bool(rng.random() < 0.5), rng))
        samples += [replay[i] for i in rng.permutation(len(replay))[:LESSONS_A_PLAN]]
    return samples


_PLANS: dict[str, np.ndarray] = {}


def _plan(cluster: Cluster, solver: Solver, budget: Budget) -> np.ndarray:
    key = cluster.content_hash
    if key not in _PLANS:
        _PLANS[key] = solver(cluster, budget, 0).actions
    return _PLANS[key]


def _network(width: int) -> nn.Module:
    return cast(nn.Module, RelationalPolicy(width))


RECIPE = Recipe(
    network=_network,
    module=".agents.rl_module:RelationalModule",
    lessons=lessons,
    imitate=cast(Any, imitate),
    score=score,
    chosen_by="sample",
)
