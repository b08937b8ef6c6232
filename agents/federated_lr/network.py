"""The network of federated_lr: two layers over the features of the last rounds.

It has `encode`, `logits` and `value`, as every family's network does. Features have no unit, so one
network serves any data and model.
"""

from __future__ import annotations

import torch
from torch import nn

from ...envs.federated_lr.grid import ACTIONS, STAY
from ...envs.federated_lr.observation import FEATURES, HISTORY
from ..network import ContextPolicy, Encoded, Observation

STAY_LOGIT = 2.0  # of the action STAY in an untrained network; the others' is about 0


class RatePolicy(ContextPolicy):
    """Policy and value over observations of sysopt/FederatedLR-v0 (its docstring has shapes).

    Args:
        width: units of both hidden layers.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.rounds = nn.Linear(HISTORY * len(FEATURES), width)
        self.context = nn.Linear(width, width)
        self.scores = nn.Linear(width, ACTIONS)
        self.worth = nn.Linear(width, 1)
        with torch.no_grad():
            self.scores.weight *= 0.1
            self.scores.bias.zero_()
            self.scores.bias[STAY] = STAY_LOGIT

    def encode(self, obs: Observation) -> Encoded:
        """Encode B observations; "rounds" is float32 [B, 4, 16]."""
        seen = torch.tanh(self.rounds(obs["rounds"].float().flatten(1)))
        return Encoded(torch.tanh(self.context(seen)))
