"""A trained agent: a linear score of items, learned by the cross-entropy method.

`python -m sysopt_knapsack.agent` trains it on knapsack:train and prints the weights below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sysopt_gym import Budget

from .env import KnapsackEnv
from .instance import Items

WEIGHTS = np.array([0.175, -0.137, 1.379])


class Agent:
    """Picks the legal item with the highest score."""

    weights = WEIGHTS

    def reset(self, items: Items, budget: Budget, seed: int) -> None:
        """Start an episode.

        Args:
            items: the problem; the agent needs its observations only.
            budget: not needed; a choice takes microseconds.
            seed: not needed; the agent is deterministic.
        """

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Choose the next item.

        Args:
            observation: of KnapsackEnv.
            info: not needed.
        """
        scores = observation["items"] @ self.weights
        return int(np.where(observation["action_mask"] > 0, scores, -np.inf).argmax())


def train(iterations: int = 8, population: int = 40, seed: int = 0) -> np.ndarray:
    """Search for weights, float64 [3], by the cross-entropy method (Rubinstein 1999).

    It starts from the greedy rule, value per weight.

    Args:
        iterations: number of populations.
        population: number of weight vectors in each; the best eighth makes the next.
        seed: of all samples.
    """
    rng = np.random.default_rng(seed)
    env = KnapsackEnv("knapsack:train")
    mean, spread = np.array([0.0, 0.0, 1.0]), np.full(3, 0.3)
    for _ in range(iterations):
        samples = rng.normal(mean, spread, (population, 3))
        order = np.argsort([-_score(env, weights) for weights in samples])
        best = samples[order[: population // 8]]
        mean, spread = best.mean(axis=0), best.std(axis=0) + 0.02
    return mean


def _score(env: KnapsackEnv, weights: np.ndarray) -> float:
    """Play all training problems with weights float64 [3]; the mean part of all value picked."""
    agent = Agent()
    agent.weights = weights
    parts = []
    for items in env.instances:
        observation, info = env.reset(options={"instance": items})
        ended = False
        while not ended:
            observation, _, ended, _, info = env.step(agent.act(observation, info))
        parts.append(info["objective"] / items.value.sum())
    return float(np.mean(parts))


if __name__ == "__main__":
    print(train().round(3).tolist())
