"""What the policy networks of the families share: masked logits, and heads on a context."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

MASKED = -1e9  # logit of an illegal action

Observation = dict[str, Tensor]


class Encoded(NamedTuple):
    """Encoding of B observations.

    Attributes:
        context: float32 [B, width].
    """

    context: Tensor


def mask_logits(scores: Tensor, mask: Tensor) -> Tensor:
    """Return scores float32 [B, A], MASKED where the mask, int8 [B, A], is 0.

    Args:
        scores: of the actions.
        mask: above 0 for legal actions.
    """
    return torch.where(mask > 0, scores, torch.full_like(scores, MASKED))


def angles(residue: Tensor, harmonics: int) -> Tensor:
    """Return cosines, then sines, of residues' harmonics: [...] -> [..., 2 * harmonics].

    Args:
        residue: parts of a turn.
        harmonics: number of harmonics.
    """
    turns = torch.arange(1, harmonics + 1, device=residue.device, dtype=residue.dtype)
    phase = residue.unsqueeze(-1) * (2 * torch.pi * turns)
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


class ContextPolicy(nn.Module):
    """Base of networks whose logits and value are linear in the context.

    A subclass makes the layers `scores` (width -> A) and `worth` (width -> 1), and has `encode`.
    """

    scores: nn.Linear
    worth: nn.Linear

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the A actions.

        Args:
            encoded: result of `encode`.
            obs: the same observations; "action_mask" is int8 [B, A].

        Returns:
            float32 [B, A]; MASKED for illegal actions.
        """
        return mask_logits(self.scores(encoded.context), obs["action_mask"])

    def value(self, encoded: Encoded) -> Tensor:
        """Return the expected return from each observation, float32 [B].

        Args:
            encoded: result of `encode`.
        """
        worth: Tensor = self.worth(encoded.context)
        return worth.squeeze(-1)
