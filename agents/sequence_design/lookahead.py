"""Improve designs by Gumbel AlphaZero's search in the game itself, many side by side.

The nodes of the search (muzero/search.py) are designs. The policy gives their prior. A node's value
is the proxy's value of the design that results if the letters after it are those of the present
design, replaced where they would form a banned pair or break another rule: in a game without chance
that is exact, and each such design is a candidate itself. A lane is one design; the search starts
at its first letter, and after every letter continues from the best design that the tree has met.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ...envs.sequence_design.rules import letters_at, likeliest
from ...methods.sequence_design.pool import Pool, out_of_time
from ..muzero.forest import NONE, SearchSettings, make_forest
from ..muzero.search import Leaves, search
from ..network import MASKED
from .network import START, SequencePolicy

SURE = 1e6  # noise with which the search always considers the present letter


class Bettered(NamedTuple):
    """Result of a search of B designs.

    Attributes:
        tokens: int8 [B, L]; the best design that each lane met.
        values: float64 [B]; their values by the pool's proxy.
        policy: float32 [B, L, V]; the search's improved policy at each place of them.
    """

    tokens: np.ndarray
    values: np.ndarray
    policy: np.ndarray


class Lookahead:
    """Search of several designs at once.

    Attributes:
        network: the policy.
        pool: gets every design that is met, and gives its value.
        settings: settings of the searches.
    """

    def __init__(
        self, network: SequencePolicy, pool: Pool, lanes: int, settings: SearchSettings
    ) -> None:
        """Allocate the memory of the searches.

        Args:
            network: the policy.
            pool: see the class.
            lanes: number of designs.
            settings: settings of the searches.
        """
        task, nodes = pool.task, settings.simulations + 1
        self.network, self.pool, self.settings = network, pool, settings
        self._forest = make_forest(lanes, task.letters, settings)
        # For node n of lane b: its design, the value of that, the place that is decided next, and
        # the reader's state there.
        self._tokens = np.zeros((nodes, lanes, task.length), np.int8)
        self._values = np.zeros((nodes, lanes))
        self._places = np.zeros((nodes, lanes), np.int64)
        self._states = torch.zeros(nodes, lanes, network.width)
        self._lanes = np.arange(lanes)

    @torch.inference_mode()
    def better(self, tokens: np.ndarray, rng: np.random.Generator) -> Bettered:
        """Search at every place of some designs, from left to right, while there is time.

        Args:
            tokens: int8 [B, L]; feasible designs, as many as lanes.
            rng: source of the searches' noise.

        Returns:
            The best designs met; the policy is 0 at places that were not reached.
        """
        task, lanes = self.pool.task, self._lanes
        self._tokens[0] = tokens
        self._values[0] = self.pool.add(tokens)
        policy = np.zeros((len(lanes), task.length, task.letters), np.float32)
        before, state = torch.full((len(lanes),), START), None
        for at in range(task.length):
            if out_of_time(self.pool.clock):
                break
            state, scores = self._read(before, np.full(len(lanes), at), state)
            legal = letters_at(task, self._tokens[0], at) > 0
            self._states[0], self._places[0] = state, at
            noise = rng.gumbel(size=scores.shape)
            noise[lanes, self._tokens[0, :, at]] = SURE
            self._values[1:] = -np.inf
            found = search(
                scores.numpy(), self._values[0], legal, self._expand, self.settings, noise,
                self._forest,
            )  # fmt: skip
            policy[:, at] = found.policy
            best = self._values.argmax(axis=0)
            self._tokens[0] = self._tokens[best, lanes]
            self._values[0] = self._values[best, lanes]
            before = torch.from_numpy(self._tokens[0, :, at].astype(np.int64))
        return Bettered(self._tokens[0].copy(), self._values[0].copy(), policy)

    def _read(
        self, before: Tensor, places: np.ndarray, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Read one letter in n lanes.

        Args:
            before: int64 [n]; the letter before each place, START before the first.
            places: int64 [n].
            state: float32 [n, d]; the reader's state before; None at the first place.

        Returns:
            The state after it, float32 [n, d], and scores of the letters at the places, float32 [n,
            V].
        """
        at = torch.from_numpy(places).unsqueeze(1)
        states, state = self.network.read(before.unsqueeze(1), at, state)
        return state, self.network.scores_at(states, at, self.pool.task.letters).squeeze(1)

    def _expand(self, made: int, parents: np.ndarray, actions: np.ndarray) -> Leaves:
        """See muzero.search.Expand."""
        task, lanes = self.pool.task, len(parents)
        leaves = Leaves(
            np.zeros(lanes), np.zeros(lanes), np.zeros((lanes, task.letters), np.float32),
            np.zeros(lanes, np.bool_),
        )  # fmt: skip
        rows = np.flatnonzero(parents != NONE)
        if not len(rows):
            return leaves
        up, letters = parents[rows], actions[rows]
        places = self._places[up, rows] + 1
        before = torch.from_numpy(letters)
        state, scores = self._read(
            before, np.minimum(places, task.length - 1), self._states[up, rows]
        )
        tokens = self._tokens[up, rows]
        tokens[np.arange(len(rows)), places - 1] = letters
        legal = letters_at(task, tokens, np.minimum(places, task.length - 1)) > 0
        prior = scores.masked_fill(torch.from_numpy(~legal), MASKED).softmax(1).numpy()
        if task.ruled:
            tokens = likeliest(task, np.eye(task.letters)[tokens], tokens, places)
        else:
            _go_on(tokens, places, letters, prior, task.banned)
        values = self.pool.add(tokens)
        # What the time did not do for counts as much as what it comes from.
        values = np.where(np.isneginf(values), self._values[up, rows], values)
        self._tokens[made, rows], self._values[made, rows] = tokens, values
        self._states[made, rows], self._places[made, rows] = state, places
        leaves.ended[rows] = places == task.length
        leaves.reward[rows] = np.where(leaves.ended[rows], values, 0.0)
        leaves.value[rows], leaves.prior[rows] = values, prior
        return leaves


@njit(cache=True)
def _go_on(
    tokens: np.ndarray,
    places: np.ndarray,
    letters: np.ndarray,
    prior: np.ndarray,
    banned: np.ndarray,
) -> None:
    """Set letters before places of designs, and replace the letters that may not follow them.

    A letter that may not follow is replaced by the likeliest one that may also stand before the
    next letter, or if there is none, by the likeliest one that may stand there.

    Args:
        tokens: int8 [n, L]; designs; changed in place.
        places: int64 [n]; the place after each letter set.
        letters: int64 [n].
        prior: float32 [n, V]; probabilities of the letters.
        banned: bool [V, V]; pairs that may not follow each other.
    """
    for row in range(len(tokens)):
        design, at = tokens[row], places[row]
        design[at - 1] = letters[row]
        while at < len(design) and banned[design[at - 1], design[at]]:
            best, most = 0, -1.0
            for letter in range(len(banned)):
                if not banned[design[at - 1], letter]:
                    mends = at + 1 == len(design) or not banned[letter, design[at + 1]]
                    score = prior[row, letter] + (1.0 if mends else 0.0)
                    if score > most:
                        best, most = letter, score
            design[at] = best
            at += 1
