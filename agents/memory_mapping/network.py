"""The size-invariant network of memory mapping: what is decided now attends to what comes next.

Every input is a ratio or a logarithm, so that one network serves programs of any size. It answers
`encode`, `logits` and `value`, as every family's does; playing.py computes the same compiled.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...envs.memory_mapping.observation import (
    AHEAD,
    BINS,
    DECISION_FEATURES,
    GLOBAL_FEATURES,
    PAST,
    SUPPLY,
    Decision,
)

MASKED = -1e9
ACTIONS = 3
HEADS = 4  # of attention
PATCH, CHANNELS = 4, 8  # of the occupancy picture: bins and instructions of a patch, numbers kept
PATCHES = (PAST + AHEAD) // PATCH * (BINS // PATCH)

Observation = dict[str, Tensor]


class Encoded(NamedTuple):
    """The situation, float32 [B, d]."""

    context: Tensor


class DecisionPolicy(nn.Module):
    """Policy and value over observations of sysopt/MallocGame-v0 (see its docstring for shapes).

    The decision at hand asks those ahead by attention whose keys and values are the decisions'
    embeddings themselves; the occupancy picture is read in patches.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.decision = nn.Linear(len(DECISION_FEATURES), width)
        self.query = nn.Linear(width, HEADS * width)
        self.patch = nn.Linear(PATCH * PATCH, CHANNELS)
        self.scene = nn.Linear(PATCHES * CHANNELS + SUPPLY + len(GLOBAL_FEATURES), width)
        self.hidden = nn.Linear((2 + HEADS) * width, 2 * width)
        self.context = nn.Linear(2 * width, width)
        self.scores = nn.Linear(width, ACTIONS)
        self.worth = nn.Linear(width, 1)

    def encode(self, obs: Observation) -> Encoded:
        """What is known of the situation."""
        rows = obs["decisions"].float()
        tokens = torch.relu(self.decision(rows))
        now = tokens[:, 0]
        query = self.query(now).unflatten(1, (HEADS, self.width))
        match = torch.einsum("bhd,bwd->bhw", query, tokens) / self.width**0.5
        match = torch.where(
            rows[:, None, :, Decision.PRESENT] > 0, match, torch.full_like(match, MASKED)
        )
        heard = torch.einsum("bhw,bwd->bhd", match.softmax(-1), tokens).flatten(1)
        picture = obs["occupancy"].float().unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)
        patches = torch.relu(self.patch(picture.flatten(3))).flatten(1)
        around = [patches, obs["supply"].float(), obs["globals"].float()]
        scene = torch.relu(self.scene(torch.cat(around, dim=1)))
        hidden = torch.relu(self.hidden(torch.cat([now, heard, scene], dim=1)))
        return Encoded(torch.relu(self.context(hidden)))

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Masked scores of Copy, NoCopy and Drop [B, 3]."""
        scores = self.scores(encoded.context)
        return torch.where(obs["action_mask"] > 0, scores, torch.full_like(scores, MASKED))

    def value(self, encoded: Encoded) -> Tensor:
        """Expected return [B]."""
        worth: Tensor = self.worth(encoded.context)
        return worth.squeeze(-1)
