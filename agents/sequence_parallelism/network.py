"""The size-invariant network of sequence parallelism: it scores the short list of actions.

Each candidate is scored by its own features and a context: the features of the whole and the mean
over all candidates, so that one network serves any batch and cluster. playing.py computes the same
compiled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...envs.sequence_parallelism.observation import Seen, Whole
from ..network import Encoded, Observation, mask_logits

FAR = -30.0  # logit of a legal action that is not on the short list


class ShortlistPolicy(nn.Module):
    """Policy and value over observations of sysopt/SequenceParallelism-v0.

    Args:
        width: length d of the embeddings and of the context.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.own = nn.Linear(len(Seen), width)
        self.context = nn.Linear(len(Whole) + width, width)
        self.shift = nn.Linear(width, width)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        self.worth = nn.Linear(width, 1)

    def encode(self, obs: Observation) -> Encoded:
        """Encode B observations.

        Args:
            obs: "candidates" float32 [B, 64, 15] and "globals" float32 [B, 12].

        Returns:
            The context, float32 [B, d].
        """
        rows = obs["candidates"].float()
        there = rows[..., Seen.PRESENT : Seen.PRESENT + 1]
        embedded = torch.relu(self.own(rows)) * there
        mean = embedded.sum(1) / there.sum(1).clamp(min=1.0)
        seen = torch.cat([obs["globals"].float(), mean], dim=1)
        return Encoded(torch.relu(self.context(seen)))

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the actions.

        Args:
            encoded: result of `encode`.
            obs: the same observations; "action_mask" is int8 [B, A], and in form groups
                "candidate_actions" int32 [B, 64].

        Returns:
            float32 [B, A]; MASKED for illegal actions, FAR for those not on the short list.
        """
        rows, mask = obs["candidates"].float(), obs["action_mask"]
        hidden = torch.relu(self.own(rows) + self.shift(encoded.context).unsqueeze(1))
        scores = self.score(torch.relu(self.hidden(hidden))).squeeze(-1)
        if "candidate_actions" not in obs:  # form shortlist
            return mask_logits(scores, mask)
        place = obs["candidate_actions"].long()
        place = torch.where(place < 0, mask.shape[1], place)  # a column that is cut off
        spread = torch.full((len(mask), mask.shape[1] + 1), FAR, device=scores.device)
        return mask_logits(spread.scatter(1, place, scores)[:, :-1], mask)

    def value(self, encoded: Encoded) -> Tensor:
        """Return the expected return from each observation, float32 [B].

        Args:
            encoded: result of `encode`.
        """
        worth: Tensor = self.worth(encoded.context)
        return worth.squeeze(-1)
