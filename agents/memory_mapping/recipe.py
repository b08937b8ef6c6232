"""How the policy of memory mapping is trained: the one place that names its network, its lessons
and its score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...datasets.memory_mapping.instance import Program
from ..batches import imitate_choices
from ..recipe import Recipe
from .imitation import lessons
from .network import DecisionPolicy
from .playing import Player, take_weights

SCORE_SAMPLES = 8
SCORE_TEMPERATURE = 0.5


def score(network: DecisionPolicy, instances: Sequence[Program]) -> dict[str, float]:
    """Score plans by their times over the all-slow time, as means over instances; deterministic.

    Args:
        network: the policy.
        instances: the programs.

    Returns:
        greedy: of the likeliest choices; sample: mean of 8 samples; best_of_8: the best of them.
    """
    weights = take_weights(network)
    rng = np.random.default_rng(0)
    rows = []
    for program in instances:
        player = Player(program, weights)
        whole = player.static.all_slow
        greedy = player.play(0.0, rng) / whole
        samples = [player.play(SCORE_TEMPERATURE, rng) / whole for _ in range(SCORE_SAMPLES)]
        rows.append((greedy, float(np.mean(samples)), min(samples)))
    means = np.mean(rows, axis=0)
    return dict(
        zip(("greedy", "sample", f"best_of_{SCORE_SAMPLES}"), map(float, means), strict=True)
    )


RECIPE = Recipe(
    network=DecisionPolicy,
    lessons=lessons,
    imitate=imitate_choices,
    score=score,
    chosen_by="sample",
)
