"""A recipe whose every pass makes its network worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sysopt_gym.agents.recipe import ImitationPass, Recipe
from torch import nn


class Counter(nn.Module):
    """Counts the passes of its training.

    Args:
        width: not used.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.passes = nn.Parameter(torch.zeros(()))


def lessons(imitation: ImitationPass[Counter, Any]) -> list[None]:
    return []


def count(network: Counter, samples: Sequence[None], *_: Any) -> dict[str, float]:
    network.passes.data += 1
    return {"loss": 0.5}


def score(network: Counter, instances: Sequence[Any]) -> dict[str, float]:
    return {"passes": network.passes.item()}


WORSENING = Recipe(Counter, lessons, count, score, chosen_by="passes")
