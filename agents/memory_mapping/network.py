"""The size-invariant network of memory mapping: the present decision attends to those ahead.

Every input is a ratio or a logarithm, so that one network serves programs of any size. It has
`encode`, `logits` and `value`, as every family's network does; playing.py computes the same
compiled.
"""

from __future__ import annotations

import torch
from torch import nn

from ...envs.memory_mapping.observation import (
    AHEAD,
    BINS,
    DECISION_FEATURES,
    GLOBAL_FEATURES,
    PAST,
    SUPPLY,
    Decision,
)
from ..network import MASKED, ContextPolicy, Encoded, Observation

ACTIONS = 3
HEADS = 4  # heads of attention
PATCH, CHANNELS = 4, 8  # side of a patch of the occupancy picture; its features
PATCHES = (PAST + AHEAD) // PATCH * (BINS // PATCH)


class DecisionPolicy(ContextPolicy):
    """Policy and value over observations of sysopt/MallocGame-v0 (see its docstring for shapes).

    The present decision attends to those ahead, with the decisions' embeddings themselves as keys
    and values; the occupancy picture is read in patches.

    Args:
        width: length d of the embeddings and of the context.
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
        """Encode B observations.

        Args:
            obs: "decisions" float32 [B, W, 28], "occupancy" float32 [B, 32, 32], "supply" float32
                [B, 24] and "globals" float32 [B, 8].

        Returns:
            The context, float32 [B, d].
        """
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
