"""The agents of sequence design in several rounds: one policy learns from batch to batch.

Before each batch a proxy is trained anew, for which the best rows weigh most (see
methods.sequence_design.in_rounds.weighted_by_rank), and the policy of the batch before goes on
learning on it by PPO. `ppo_rounds` hands in the best designs that the policy has met;
`agent_rounds` gives them to a genetic algorithm on the same proxy for the rest of the seconds.
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...methods.sequence_design.genetic import evolve
from ...methods.sequence_design.in_rounds import FLATNESS, InRounds
from ...methods.sequence_design.pool import Pool, fit_proxy_in_half_the_time, out_of_time
from ...methods.sequence_design.valued import Valued
from .network import SequencePolicy
from .players import PPO, PRACTICE_SHARE, first_policy, practise

KAPPA = 0.5  # chosen on SIX6 and RNA-A


def pessimistic(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return mean - KAPPA * spread: a search that is good finds what the proxy is wrong about.

    Args:
        mean: float64 [n].
        spread: float64 [n].
    """
    value: np.ndarray = mean - KAPPA * spread
    return value


class Ppo(InRounds):
    """PPO on a proxy that is trained anew before each batch; the policy is kept.

    Attributes:
        practice: share of the seconds after the proxy's training in which the policy learns.
    """

    practice = 1.0

    def __init__(self) -> None:
        super().__init__(self._plan_batch, FLATNESS)
        self._network: SequencePolicy | None = None

    def reset(self, instance: DesignTask, budget: Budget, seed: int) -> None:
        """Begin an episode with a new policy; see InRounds."""
        super().reset(instance, budget, seed)
        self._network = None

    def _plan_batch(self, instance: DesignTask, budget: Budget, seed: int) -> Solution:
        """Plan a batch; see core.contracts.Solver."""
        clock = budget.start()
        rng = np.random.default_rng(seed)
        proxy = fit_proxy_in_half_the_time(instance, clock, rng)
        pool = Pool(instance, Valued(proxy, pessimistic), clock)
        until = clock.elapsed + self.practice * clock.remaining
        if self._network is None:
            self._network = first_policy(PPO, pool, seed, rng, None)
        self._network = practise(
            pool, lambda: out_of_time(clock) or clock.elapsed > until, self._network, rng
        )
        return self._finish(pool, clock, seed)

    def _finish(self, pool: Pool, clock: Clock, seed: int) -> Solution:
        """Return the batch after practice.

        Args:
            pool: with the designs that the policy has met.
            clock: of the batch.
            seed: of what is drawn from here on.
        """
        return pool.solution()


class Agent(Ppo):
    """PPO for a part of the seconds, then a genetic algorithm from the best designs met."""

    practice = PRACTICE_SHARE

    def _finish(self, pool: Pool, clock: Clock, seed: int) -> Solution:
        """Return the batch that the genetic algorithm finds on the same proxy; see Ppo."""
        asked, rest = clock.elapsed, clock.remaining_budget().start()
        rng = np.random.default_rng(seed)
        best = evolve(pool.task, pool.proxy, pool.tokens, rest, rng)
        return clock.finish_with(best, asked)
