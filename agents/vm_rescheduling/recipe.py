"""How the policy of VM rescheduling is trained: the one place that names its network, its lessons
and its score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from ...datasets.vm_rescheduling.instance import Cluster
from ..recipe import Recipe
from .imitation import imitate, lessons
from .network import RelationalPolicy
from .playing import Player, take_weights

SCORE_SAMPLES = 8
SCORE_TEMPERATURE = 0.5


def score(network: nn.Module, instances: Sequence[Cluster]) -> dict[str, float]:
    """Score plans by their objectives, as means over instances; deterministic.

    Args:
        network: the policy.
        instances: the clusters.

    Returns:
        greedy: of the likeliest actions; sample: mean of 8 samples; best_of_8: the best of them.
    """
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


RECIPE = Recipe(
    network=RelationalPolicy,
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="sample",
    options={"own_play_from": 10**6},
)
