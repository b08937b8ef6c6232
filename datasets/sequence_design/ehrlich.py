"""Ehrlich functions: landscapes in closed form whose optimum is known and whose difficulty is set
(Stanton et al. 2024, arXiv 2407.00236, section 4).

A sequence is feasible if none of its transitions is banned. A feasible one scores the product, over
c motifs, of how much of the motif it holds: k elements at fixed distances from each other, anywhere
in the sequence, counted in q steps. An infeasible one scores -inf. The best score is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import SettingError

BAND = 0.4  # of the states that stay allowed to each side, before rows are shuffled
TEMPERATURE = 0.5  # of the softmax that transition probabilities are drawn by
MOST_DRAWS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Ehrlich:
    """One function over L letters out of V.

    Attributes:
        transitions: float64 [V, V]; probabilities of the Markov chain that sequences are drawn
            from; 0 where a transition is banned.
        motifs: int64 [c, k]; elements.
        offsets: int64 [c, k]; their distances from the motif's first element, which is 0.
        quantization: q; 1 <= q <= k.
        epistasis: how much more a motif's later elements count than its first ones; 0 for alike.
    """

    transitions: np.ndarray
    motifs: np.ndarray
    offsets: np.ndarray
    quantization: int
    epistasis: float

    @property
    def banned(self) -> np.ndarray:
        """Which letter may not follow which, bool [V, V]; see DesignTask."""
        zero: np.ndarray = self.transitions == 0
        return zero

    def handle(self) -> dict[str, Any]:
        """What an oracle's handle says of the function; `from_handle` reads it."""
        return {
            "landscape": "ehrlich",
            "motifs": self.motifs.tolist(),
            "offsets": self.offsets.tolist(),
            "quantization": self.quantization,
            "epistasis": self.epistasis,
        }

    def score(self, tokens: np.ndarray) -> np.ndarray:
        """Scores float64 [n] of tokens [n, L], 0 to 1, or -inf where infeasible."""
        n, length = tokens.shape
        total = np.ones(n)
        k = self.motifs.shape[1]
        for motif, offsets in zip(self.motifs, self.offsets, strict=True):
            places = length - int(offsets[-1])
            held = np.zeros((n, places), np.int64)
            for element, offset in zip(motif, offsets, strict=True):
                held += tokens[:, offset : offset + places] == element
            share = held.max(axis=1) * self.quantization // k / self.quantization
            total *= share * (1.0 + self.epistasis * share * (share - 1.0))
        feasible = ~self.banned[tokens[:, :-1], tokens[:, 1:]].any(axis=1)
        return np.where(feasible, total, -np.inf)

    def optimum(self, length: int) -> np.ndarray:
        """A sequence int8 [length] of score 1: the motifs one after the other, each element
        repeated up to the next.
        """
        best = np.empty(length, np.int8)
        at = 0
        for motif, offsets in zip(self.motifs, self.offsets, strict=True):
            for element, offset in zip(motif, offsets, strict=True):
                best[at + offset :] = element
            at += int(offsets[-1]) + 1
        return best

    def sample(self, count: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Feasible sequences int8 [count, length], drawn from the Markov chain."""
        steps = np.cumsum(self.transitions, axis=1)
        tokens = np.empty((count, length), np.int8)
        tokens[:, 0] = rng.integers(len(steps), size=count)
        for place in range(1, length):
            draw = rng.random(count)[:, None]
            tokens[:, place] = _drawn(draw, steps[tokens[:, place - 1]])
        return tokens


def from_handle(handle: Mapping[str, Any], banned: np.ndarray) -> Ehrlich:
    """The function that a handle describes, over a task's transitions, all as likely as others."""
    allowed = (~banned).astype(np.float64)
    return Ehrlich(
        allowed / allowed.sum(axis=1, keepdims=True),
        np.asarray(handle["motifs"], np.int64),
        np.asarray(handle["offsets"], np.int64),
        int(handle["quantization"]),
        float(handle["epistasis"]),
    )


def draw_ehrlich(
    states: int,
    length: int,
    motifs: int,
    motif_length: int,
    quantization: int,
    epistasis: float,
    rng: np.random.Generator,
) -> Ehrlich:
    """A random function.

    The motifs are drawn as one walk of the Markov chain, no element twice in a row, and cut apart,
    so that a sequence that holds them all is feasible; their spacings fill up to length // motifs.

    Raises:
        SettingError: no such function exists.
    """
    if motifs * motif_length > length:
        raise SettingError(
            f"ehrlich: {motifs} motifs of {motif_length} elements need more than the length "
            f"{length}; set length={motifs * motif_length} or more"
        )
    transitions = _transitions(states, rng)
    walk = np.empty(motifs * motif_length, np.int64)
    walk[0] = rng.integers(states)
    for step in range(1, len(walk)):
        chances = transitions[walk[step - 1]].copy()
        chances[walk[step - 1]] = 0.0
        walk[step] = _drawn(rng.random(), np.cumsum(chances / chances.sum())[None])[0]
    slack = length // motifs - motif_length
    offsets = np.zeros((motifs, motif_length), np.int64)
    for row in range(motifs):
        weights = rng.random(motif_length - 1)
        gaps = 1 + np.floor(slack * weights / max(weights.sum(), 1e-12)).astype(np.int64)
        offsets[row, 1:] = np.cumsum(gaps)
    return Ehrlich(
        transitions, walk.reshape(motifs, motif_length), offsets, quantization, epistasis
    )


def _drawn(draws: np.ndarray | float, steps: np.ndarray) -> np.ndarray:
    """The columns that uniform draws fall into, by rows of cumulated probabilities."""
    below: np.ndarray = (np.asarray(draws) >= steps).sum(axis=1)
    column: np.ndarray = np.minimum(below, steps.shape[1] - 1)
    return column


def _transitions(states: int, rng: np.random.Generator) -> np.ndarray:
    """A transition matrix with bans under which every state still leads to every other."""
    width = max(1, int(BAND * states))
    for _ in range(MOST_DRAWS):
        near = (np.arange(states)[None] - np.arange(states)[:, None] + width) % states
        allowed = (near <= 2 * width)[rng.permutation(states)]
        np.fill_diagonal(allowed, True)
        chances = np.exp(rng.normal(size=(states, states)) / TEMPERATURE) * allowed
        reach = np.linalg.matrix_power(allowed.astype(np.float64) / states, states)
        if (reach > 0).all():
            normalized: np.ndarray = chances / chances.sum(axis=1, keepdims=True)
            return normalized
    raise SettingError(f"ehrlich: no ergodic chain over {states} states was found; give more")
