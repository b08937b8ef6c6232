"""The network of sequence design: a recurrent reader of letters.

It has `encode`, `logits` and `value`, as every family's network does, for both forms of play
(construct and mutate). playing.py and lookahead.py call its parts: whole sequences are read in one
pass, designs are grown letter by letter from the state that is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...datasets.sequence_design.instance import MOST_LETTERS
from ...envs.sequence_design.observation import PROGRESS, VALUES
from ..network import MASKED, Observation

WAVES = 8  # frequencies of a place's sines and cosines
START = MOST_LETTERS  # the token before the first letter


class Encoded(NamedTuple):
    """Encoding of B observations.

    Attributes:
        context: float32 [B, d]; the reader's state after the letters so far.
        beside: float32 [B, 5]; "progress" and "proxy_values" of the observations.
    """

    context: Tensor
    beside: Tensor


class SequencePolicy(nn.Module):
    """Policy and value over observations of sysopt/SequenceDesign-v0 (see its docstring for
    shapes), and a distribution over sequences.

    A gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) reads letters with their places; the
    next letter is scored from its state and from the place alone. It takes sequences of any length
    L, and any alphabet of V letters up to MOST_LETTERS.

    Args:
        width: length d of embeddings and of the reader's state.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        beside = len(PROGRESS) + len(VALUES)
        self.letter = nn.Embedding(MOST_LETTERS + 1, width)
        self.place = nn.Sequential(nn.Linear(2 * WAVES, width), nn.ReLU())
        self.placed = nn.Linear(width, width)
        self.reader = nn.GRU(width, width, batch_first=True)
        self.scores = nn.Linear(width, MOST_LETTERS)
        self.place_scores = nn.Linear(width, MOST_LETTERS, bias=False)
        self.worth = nn.Sequential(nn.Linear(width + beside, width), nn.ReLU(), nn.Linear(width, 1))
        self.edits = nn.Linear(3 * width, width)
        self.stop = nn.Linear(width, 1)
        nn.init.zeros_(self.place_scores.weight)

    def read(
        self, before: Tensor, places: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read the letters that stand before n places in a row.

        Args:
            before: int64 [B, n]; the letter before each place, START before the first.
            places: int64 [n], or [B, n] where they differ.
            state: float32 [B, d]; the state after the letters before these; None at the first
                place.

        Returns:
            The state at each place, float32 [B, n, d], and the last of them, [B, d].
        """
        embedded = self.letter(before) + self.placed(self._place(places))
        states, last = self.reader(embedded, None if state is None else state.unsqueeze(0))
        return states, last.squeeze(0)

    def scores_at(self, states: Tensor, places: Tensor, letters: int) -> Tensor:
        """Score the letters at places, without masks.

        Args:
            states: float32 [B, n, d]; the reader's state at each place.
            places: int64 [n], or [B, n] where they differ.
            letters: number V of letters.

        Returns:
            float32 [B, n, V].
        """
        by_state = nn.functional.linear(
            states, self.scores.weight[:letters], self.scores.bias[:letters]
        )
        by_place = nn.functional.linear(self._place(places), self.place_scores.weight[:letters])
        return by_state + by_place

    def encode(self, obs: Observation) -> Encoded:
        """Encode B observations.

        Args:
            obs: "tokens" int8 [B, L], "progress" float32 [B, 2], "proxy_values" float32 [B, 3],
                "action_mask" int8 [B, A], and in form mutate "start" int8 [B, L].

        Returns:
            The state after the letters so far, and the numbers.
        """
        tokens, letters = obs["tokens"].long(), _letters(obs)
        known = (tokens < letters).sum(1)
        places = torch.arange(int(known.max()) + 1, device=tokens.device)
        states, _ = self.read(shifted(tokens)[:, : len(places)], places)
        context = states[torch.arange(len(tokens), device=tokens.device), known]
        return Encoded(
            context, torch.cat([obs["progress"].float(), obs["proxy_values"].float()], dim=1)
        )

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the actions: V letters (construct), or L * V edits and the end (mutate).

        Args:
            encoded: result of `encode`.
            obs: the same observations.

        Returns:
            float32 [B, A]; MASKED for illegal actions.
        """
        tokens, letters = obs["tokens"].long(), _letters(obs)
        if "start" in obs:
            scores = self._edit_scores(encoded, tokens, letters)
        else:
            now = (tokens < letters).sum(1, keepdim=True).clamp(max=tokens.shape[1] - 1)
            scores = self.scores_at(encoded.context.unsqueeze(1), now, letters).squeeze(1)
        return scores.masked_fill(obs["action_mask"] == 0, MASKED)

    def _edit_scores(self, encoded: Encoded, tokens: Tensor, letters: int) -> Tensor:
        """Score every letter at every place, and the end: float32 [B, L * V + 1]."""
        count, length = tokens.shape
        places = torch.arange(length, device=tokens.device)
        whole = encoded.context.unsqueeze(1).expand(-1, length, -1)
        place = self._place(places).expand(count, -1, -1)
        parts = torch.cat([self.letter(tokens), whole, place], dim=2)
        scores = self.scores_at(torch.relu(self.edits(parts)), places, letters)
        return torch.cat([scores.flatten(1), self.stop(encoded.context)], dim=1)

    def value(self, encoded: Encoded) -> Tensor:
        """Return the expected return from each observation, float32 [B]."""
        worth: Tensor = self.worth(torch.cat([encoded.context, encoded.beside], dim=1))
        return worth.squeeze(-1)

    def _place(self, places: Tensor) -> Tensor:
        """Compute features, float32 [..., d], of places, int64 [...]."""
        turns = places.unsqueeze(-1) / 2.0 ** torch.arange(WAVES, device=places.device)
        features: Tensor = self.place(torch.cat([turns.sin(), turns.cos()], dim=-1))
        return features


def shifted(tokens: Tensor) -> Tensor:
    """Return the letter before each place of sequences, and before the place after their end.

    Args:
        tokens: int64 [B, L].

    Returns:
        int64 [B, L + 1]; START first.
    """
    return nn.functional.pad(tokens.clamp(max=START), (1, 0), value=START)


def _letters(obs: Observation) -> int:
    """Return the number V of letters of observations."""
    actions = obs["action_mask"].shape[1]
    return (actions - 1) // obs["tokens"].shape[1] if "start" in obs else actions
