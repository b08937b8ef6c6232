"""Training of VM rescheduling's policy: its network, its imitation samples and its score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
from torch import nn

from ...datasets.vm_rescheduling.instance import Cluster
from ..recipe import JudgedFigure, Recipe, score_plans
from .compiled import take_weights
from .imitation import imitate, lessons
from .network import RelationalPolicy
from .playing import Player


def score(network: nn.Module, instances: Sequence[Cluster]) -> dict[str, float]:
    """Score plans by their objectives, as means over instances; deterministic.

    Args:
        network: the policy.
        instances: the clusters.

    Returns:
        greedy: of the likeliest actions; sample: mean of 8 samples; best_of_8: the best of them.
    """
    weights, rng = take_weights(network), np.random.default_rng(0)

    def player_of(cluster: Cluster) -> Callable[[float], float]:
        player = Player(cluster, weights)
        return lambda temperature: float(player.play(temperature, rng)[0])

    return score_plans(map(player_of, instances))


RECIPE = Recipe(
    network=RelationalPolicy,
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="sample",
    options={"own_play_from": 10**6},
    judged=JudgedFigure("greedy", of=float),
    player="ppo",
    self_play=".agents.vm_rescheduling.selfplay:SELF_PLAY",
    actions=(gym.spaces.Discrete, gym.spaces.MultiDiscrete),
)
