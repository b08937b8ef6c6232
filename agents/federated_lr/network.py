"""The network of federated_lr: the last rounds in numbers without scale, two layers.

It answers `encode`, `logits` and `value`, as every family's does. Features have no scale, so one
network serves any data and model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...envs.federated_lr.grid import ACTIONS, STAY
from ...envs.federated_lr.observation import FEATURES, HISTORY

MASKED = -1e9
AT_FIRST = 2.0  # how much likelier than any other, in logits, an untrained network leaves the rates

Observation = dict[str, Tensor]


class Encoded(NamedTuple):
    """The situation, float32 [B, d]."""

    context: Tensor


class RatePolicy(nn.Module):
    """Policy and value over observations of sysopt/FederatedLR-v0 (its docstring has shapes)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.rounds = nn.Linear(HISTORY * len(FEATURES), width)
        self.context = nn.Linear(width, width)
        self.scores = nn.Linear(width, ACTIONS)
        self.worth = nn.Linear(width, 1)
        with torch.no_grad():
            self.scores.weight *= 0.1
            self.scores.bias.zero_()
            self.scores.bias[STAY] = AT_FIRST

    def encode(self, obs: Observation) -> Encoded:
        """What is known of the situation."""
        seen = torch.tanh(self.rounds(obs["rounds"].float().flatten(1)))
        return Encoded(torch.tanh(self.context(seen)))

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Masked scores of the actions [B, 25]."""
        scores = self.scores(encoded.context)
        return torch.where(obs["action_mask"] > 0, scores, torch.full_like(scores, MASKED))

    def value(self, encoded: Encoded) -> Tensor:
        """Expected return [B]."""
        worth: Tensor = self.worth(encoded.context)
        return worth.squeeze(-1)
