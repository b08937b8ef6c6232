"""The network of sequence design: letters with their places attend to each other. Uses torch.

It answers `encode`, `logits` and `value`, as every family's does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...datasets.sequence_design.instance import MOST_LETTERS
from ...envs.sequence_design.observation import PROGRESS, VALUES

MASKED = -1e9
WAVES = 8  # sines and cosines of a position

Observation = dict[str, Tensor]


class Encoded(NamedTuple):
    """The sequence so far, float32 [B, d]."""

    context: Tensor


class SequencePolicy(nn.Module):
    """Policy and value over observations of sysopt/SequenceDesign-v0, form construct (see its
    docstring for shapes).

    Letters with their positions attend to each other; the next letter is scored from the last ones
    and the whole. Of any length, and of any alphabet up to MOST_LETTERS.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.letter = nn.Embedding(MOST_LETTERS + 1, width)
        self.place = nn.Linear(2 * WAVES, width)
        self.among = nn.MultiheadAttention(width, 2, batch_first=True)
        self.whole = nn.Linear(2 * width + len(PROGRESS) + len(VALUES), width)
        self.hidden = nn.Linear(width, width)
        self.scores = nn.Linear(width, MOST_LETTERS)
        self.worth = nn.Linear(width, 1)

    def encode(self, obs: Observation) -> Encoded:
        """What is known of the sequence."""
        tokens = obs["tokens"].long()
        letters = obs["action_mask"].shape[1]
        length = tokens.shape[1]
        known = tokens < letters
        turns = torch.arange(length, device=tokens.device).float().unsqueeze(1)
        waves = turns / 2.0 ** torch.arange(WAVES, device=tokens.device)
        place = self.place(torch.cat([waves.sin(), waves.cos()], dim=1))
        embedded = torch.relu(self.letter(tokens.clamp(max=MOST_LETTERS)) + place)
        now = known.sum(1, keepdim=True).clamp(max=length - 1)
        asks = place[now]  # [B, 1, d]; from the place of the next letter
        # What is not there yet is not looked at; an empty sequence looks at its first pad.
        absent = ~known
        absent[:, 0] = False
        seen, _ = self.among(asks, embedded, embedded, absent, need_weights=False)
        before = (now - 1).clamp(min=0).unsqueeze(2).expand(-1, -1, embedded.shape[2])
        last = embedded.gather(1, before)
        parts = [seen.squeeze(1), last.squeeze(1), obs["progress"].float(), obs["values"].float()]
        whole = torch.relu(self.whole(torch.cat(parts, dim=1)))
        return Encoded(torch.relu(self.hidden(whole)))

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Masked scores of the letters [B, V]."""
        mask = obs["action_mask"]
        scores = self.scores(encoded.context)[:, : mask.shape[1]]
        return torch.where(mask > 0, scores, torch.full_like(scores, MASKED))

    def value(self, encoded: Encoded) -> Tensor:
        """Expected return [B]."""
        worth: Tensor = self.worth(encoded.context)
        return worth.squeeze(-1)
