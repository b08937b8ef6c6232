"""What a family brings to training: its network, its lessons and its score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from ..core.budget import Budget
from ..core.contracts import Solver
from ..core.registry import FAMILIES, check_name, resolve


@dataclass(frozen=True, slots=True)
class Recipe:
    """A family's part of the training pipeline, which is the same for all.

    Attributes:
        network: width -> the network; one that RLlib is to train answers `encode` (with a
            `context`, [B, width]), `logits` and `value`.
        lessons: (network, instances, solver or None, budget, own_play, rng) -> samples; where
            own_play is true, from states that the network itself comes to.
        imitate: one pass over samples; see agents/imitation.py.
        score: (network, instances) -> figures, lower is better.
        chosen_by: the figure models are chosen by.
    """

    network: Callable[[int], nn.Module]
    lessons: Callable[
        [Any, Sequence[Any], Solver | None, Budget, bool, np.random.Generator], list[Any]
    ]
    imitate: Callable[..., float]
    score: Callable[[Any, Sequence[Any]], dict[str, float]]
    chosen_by: str


def load_recipe(family: str) -> Recipe:
    """How a family's policy is trained.

    Raises:
        UnknownNameError: no such family.
    """
    recipe: Recipe = resolve(f".agents.{check_name(family, FAMILIES, 'family')}.recipe:RECIPE")
    return recipe
