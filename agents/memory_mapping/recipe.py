"""Training of memory mapping's policy: its network, its imitation samples and its score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...datasets.memory_mapping.instance import Program
from ..batches import imitate_choices
from ..recipe import JudgedFigure, Recipe, score_plans
from .imitation import lessons
from .network import DecisionPolicy
from .playing import Player, take_weights


def score(network: DecisionPolicy, instances: Sequence[Program]) -> dict[str, float]:
    """Score plans by their times over the all-slow time, as means over instances; deterministic.

    Args:
        network: the policy.
        instances: the programs.

    Returns:
        greedy: of the likeliest choices; sample: mean of 8 samples; best_of_8: the best of them.
    """
    weights, rng = take_weights(network), np.random.default_rng(0)

    def player_of(program: Program) -> Callable[[float], float]:
        player = Player(program, weights)
        return lambda temperature: float(player.play(temperature, rng) / player.static.all_slow)

    return score_plans(map(player_of, instances))


RECIPE = Recipe(
    network=DecisionPolicy,
    lessons=lessons,
    imitate=imitate_choices,
    score=score,
    chosen_by="sample",
    judged=JudgedFigure("greedy", of=lambda speedup: 1.0 / speedup),
    player="ppo",
    self_play=".agents.memory_mapping.selfplay:SELF_PLAY",
)
