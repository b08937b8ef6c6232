"""Training of sequence parallelism's policy: its network, its imitation samples and its score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.groups import kinds_of
from ...envs.sequence_parallelism.objective import work_bound
from ..batches import imitate_choices
from ..recipe import Recipe, score_plans
from .imitation import lessons
from .network import ShortlistPolicy
from .playing import Player, take_weights


def score(network: ShortlistPolicy, instances: Sequence[TrainingBatch]) -> dict[str, float]:
    """Score plans by their times over the work bound, as means over instances; deterministic.

    Args:
        network: the policy.
        instances: the batches.

    Returns:
        greedy: of the likeliest choices; sample: mean of 8 samples; best_of_8: the best of them.
    """
    weights, rng = take_weights(network), np.random.default_rng(0)

    def player_of(batch: TrainingBatch) -> Callable[[float], float]:
        player, bound = Player(batch, weights), work_bound(batch, kinds_of(batch))
        return lambda temperature: player.play(temperature, rng) / bound

    return score_plans(map(player_of, instances))


RECIPE = Recipe(
    network=ShortlistPolicy,
    lessons=lessons,
    imitate=imitate_choices,
    score=score,
    chosen_by="sample",
    player="ppo",
)
"""Its figures are shares of a bound, which no objective alone gives, so that none is `judged`."""
